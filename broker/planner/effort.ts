/** How much the planner tries: counted, so that the same problem gets the same plan on every machine; and an optional deadline. */

export interface Effort {
  /** Ideals that are enumerated at most. */
  readonly ideals: number
  /** Stages (device class, first and last border) that are kept at most: 12 bytes each. */
  readonly segments: number
  /** Rows of stages that the beam carries on, round by round. */
  readonly beamWidths: readonly number[]
  /** Word operations that one exact threshold search may take, about. */
  readonly operations: number
  /** States that a search with labels may open. */
  readonly labels: number
  /** Stages that branch and bound may try. */
  readonly tries: number
  /** Pairs of ideals, about, that may be looked at where they are not kept. */
  readonly pairs: number
  readonly isLate: () => boolean
}

export interface EffortOptions {
  /** Give up proving after so many milliseconds by `clock`, and say so. Without it the effort is counted only. */
  readonly budgetMs?: number
  /** A clock that never goes back, in milliseconds. */
  readonly clock?: () => number
}

export function effortOf({ budgetMs, clock }: EffortOptions): Effort {
  const deadline = clock === undefined || budgetMs === undefined ? Infinity : clock() + budgetMs
  return {
    ideals: 100_000,
    segments: 12_000_000,
    beamWidths: [32, 256],
    operations: 4e9,
    labels: 1_000_000,
    tries: 1_000_000,
    pairs: 3e9,
    isLate: () => deadline !== Infinity && clock!() >= deadline,
  }
}
