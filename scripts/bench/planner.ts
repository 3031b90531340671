/**
 * `planner`: what planning costs and how good the plans are. Seeded models and fleets, one after the other on one core; time
 * is this process's own processor time. Peers are run where the options say where they are.
 */

import { optimise, type Optimum } from '#broker/planner/optimise.js'
import type { Problem } from '#broker/planner/problem.js'
import { figureOf, type BarSpec, type Output } from './figure.js'
import { ownCpuMs } from './machine.js'
import { chainCase, distinct, type Case } from './planner-cases.js'
import { benchGrowth } from './planner-growth.js'
import { benchInstances, benchRows } from './planner-peers.js'
import { percentile } from './statistics.js'

export interface Planned extends Optimum {
  readonly cpuMs: number
}

interface Bars {
  readonly cpuS?: BarSpec
  readonly gap?: BarSpec
}

interface ChainCase extends Case {
  readonly name: string
  readonly seeds: number
  readonly quickSeeds: number
  readonly budgetMs?: number
  readonly bars: Bars
}

const proven: BarSpec = { atMost: 0 }
/** The bars are those of the issue, in seconds of one core and per cent. */
const cases: readonly ChainCase[] = [
  {
    name: '12 distinct x 60',
    nodes: 60,
    classes: distinct(12),
    seeds: 5,
    quickSeeds: 1,
    bars: { cpuS: { atMost: 0.3 }, gap: proven },
  },
  {
    name: '16 distinct x 48',
    nodes: 48,
    classes: distinct(16),
    seeds: 5,
    quickSeeds: 1,
    bars: { cpuS: { atMost: 5 }, gap: proven },
  },
  {
    name: '24 in 4 classes x 200',
    nodes: 200,
    classes: [6, 6, 6, 6],
    seeds: 5,
    quickSeeds: 1,
    bars: { cpuS: { atMost: 5 }, gap: proven },
  },
  {
    name: '100 distinct x 1,000',
    nodes: 1000,
    classes: distinct(100),
    seeds: 20,
    quickSeeds: 0,
    budgetMs: 9500,
    bars: { cpuS: { atMost: 10 }, gap: { atMost: 2 } },
  },
]

export interface PlannerFlags {
  readonly quick: boolean
  readonly pipeedge?: string
  readonly dnnPartitioning?: string
  readonly svg?: string
}

export async function benchPlanner(output: Output, flags: PlannerFlags): Promise<void> {
  for (const chain of cases) benchChain(output, chain, flags.quick)
  await benchGrowth(output, flags)
  if (flags.pipeedge === undefined) {
    output.absent('PipeEdge', '--pipeedge DIR, where github.com/usc-isi/PipeEdge is, with sched-pipeline built in it')
  } else {
    await benchRows(output, flags.pipeedge, flags.quick)
  }
  if (flags.dnnPartitioning === undefined) {
    const remedy = '--dnn-partitioning DIR, where github.com/msr-fiddle/dnn-partitioning is, with dp.exe built in it'
    output.absent('dnn-partitioning', remedy)
  } else {
    await benchInstances(output, flags.dnnPartitioning, flags.quick)
  }
}

/** Plans for throughput; with a budget it gives up proving after so many milliseconds. */
export function plan(problem: Problem, budgetMs?: number): Planned {
  const before = ownCpuMs()
  const optimum = optimise(
    problem,
    { kind: 'throughput' },
    budgetMs === undefined ? {} : { budgetMs, clock: () => performance.now() },
  )
  return { ...optimum, cpuMs: ownCpuMs() - before }
}

function benchChain(
  output: Output,
  { name, seeds, quickSeeds, budgetMs, bars, ...size }: ChainCase,
  quick: boolean,
): void {
  const count = quick ? quickSeeds : seeds
  if (count === 0) return
  const plans = Array.from({ length: count }, (_, seed) => {
    process.stderr.write(`planner: ${name}, seed ${seed}\n`)
    return plan(chainCase(`${name}/${seed}`, size), budgetMs)
  })
  sayPlans(output, name, plans, bars)
}

/** Seconds, and the gaps of the plans' own certificates. */
export function sayPlans(output: Output, name: string, plans: readonly Planned[], bars: Bars): void {
  const what = { bench: 'planner', case: name }
  const gaps = plans.map(({ certificate }) => certificate.gap * 100)
  const bar = (spec: BarSpec | undefined): { bar?: BarSpec } => (spec === undefined ? {} : { bar: spec })
  const seconds = plans.map(({ cpuMs }) => cpuMs / 1000)
  output.figure(figureOf({ ...what, figure: 'planning', unit: 's CPU' }, seconds, bar(bars.cpuS)))
  output.figure(figureOf({ ...what, figure: 'gap', unit: '%' }, gaps, bar(bars.gap)))
  if (plans.length > 1) {
    output.figure(figureOf({ ...what, figure: 'worst gap', unit: '%' }, [percentile(gaps, 1)]))
    output.figure(
      figureOf({ ...what, figure: 'longest planning', unit: 's CPU' }, [percentile(seconds, 1)], bar(bars.cpuS)),
    )
  }
}
