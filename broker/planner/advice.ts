/** The next best change to a plan: every change is planned anew and compared. */

import { Refusal } from '#shared/errors.js'
import type { Change } from './changes.js'
import type { Certificate, Objective, Problem } from './problem.js'

/** Plans; throws `Refusal('cannot-plan')` where there is no plan. */
export type Solve = (problem: Problem, objective: Objective) => { readonly certificate: Certificate }

export interface Advice extends Omit<Change, 'problem'> {
  /** Its place among the changes: of two about one thing, the lower is the cheaper. */
  readonly rank: number
  /** Of the plan with the change, in the objective's unit; `undefined` where there is none. */
  readonly value: number | undefined
  /**
   * What it brings: for `throughput` the results per second that come more, as a fraction of today's; else the fraction by
   * which the time, or the memory's share, is less. -1 where nothing would run any more.
   */
  readonly gain: number
}

/** Smaller differences are nothing to act on. */
const leastGain = 0.01

export interface Trial {
  readonly objective: Objective
  /** Of the plan without any change. */
  readonly value: number
  readonly solve: Solve
  /** When it is, no further change is tried. */
  readonly isLate: () => boolean
  /** Hears of each change that has been tried. */
  readonly onDone: (done: number) => void
}

/** What each change brings, the best first; of those that there was time for. */
export function adviceFor(changes: readonly Change[], { objective, value, solve, isLate, onDone }: Trial): Advice[] {
  const found: Advice[] = []
  for (const [rank, { problem, ...change }] of changes.entries()) {
    if (isLate()) break
    const after = valueOf(problem, objective, solve)
    found.push({ ...change, rank, value: after, gain: after === undefined ? -1 : gainOf(objective, value, after) })
    onDone(found.length)
  }
  return found.sort((a, b) => b.gain - a.gain)
}

/** The changes that are worth saying, best first: of the alternatives about one thing the first that is about the best. */
export function worthwhile(advice: readonly Advice[], most = 3): Advice[] {
  const gains = advice.filter(({ kind, gain }) => kind !== 'without' && gain >= leastGain)
  const best = new Map<string, Advice>()
  for (const one of gains) {
    const known = best.get(one.about)
    const isAsGood = known === undefined || one.gain >= known.gain - leastGain
    if (isAsGood && (known === undefined || one.rank < known.rank)) best.set(one.about, one)
  }
  return [...best.values()].sort((a, b) => b.gain - a.gain).slice(0, most)
}

/** What the loss of a device of the plan costs, the dearest first. */
export function losses(advice: readonly Advice[]): Advice[] {
  return advice.filter(({ kind, gain }) => kind === 'without' && gain <= 0).sort((a, b) => a.gain - b.gain)
}

function valueOf(problem: Problem, objective: Objective, solve: Solve): number | undefined {
  try {
    return solve(problem, objective).certificate.value
  } catch (error) {
    if (error instanceof Refusal && error.code === 'cannot-plan') return undefined
    throw error
  }
}

function gainOf(objective: Objective, before: number, after: number): number {
  return objective.kind === 'throughput' ? before / after - 1 : 1 - after / before
}
