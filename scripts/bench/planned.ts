/** A plan that was timed, and what is said of some of them. */

import { optimise, type Optimum } from '#broker/planner/optimise.js'
import type { Problem } from '#broker/planner/problem.js'
import { figureOf, type BarSpec, type Output } from './figure.js'
import { ownCpuMs } from './machine.js'
import { percentile } from './statistics.js'

export interface Planned extends Optimum {
  readonly cpuMs: number
}

export interface Bars {
  readonly cpuS?: BarSpec
  readonly gap?: BarSpec
}

/** Plans for throughput; with a budget it gives up proving after so many milliseconds of processor time. */
export function plan(problem: Problem, budgetMs?: number): Planned {
  const before = ownCpuMs()
  const optimum = optimise(problem, { kind: 'throughput' }, budgetMs === undefined ? {} : { budgetMs, clock: ownCpuMs })
  return { ...optimum, cpuMs: ownCpuMs() - before }
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
    // The first plan of a process pays for compiling the planner as well.
    output.figure(figureOf({ ...what, figure: 'longest planning', unit: 's CPU' }, [percentile(seconds, 1)]))
  }
}
