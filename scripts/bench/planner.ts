/**
 * `planner`: what planning costs and how good the plans are. Seeded models and fleets, one after the other on one core; time
 * is this process's own processor time. Peers are run where the options say where they are.
 */

import type { BarSpec, Output } from './figure.js'
import { plan, sayPlans, type Bars } from './planned.js'
import { chainCase, distinct, type Case } from './planner-cases.js'
import { benchGrowth } from './planner-growth.js'
import { benchInstances, benchRows } from './planner-peers.js'

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
