/** Notices that a stage takes longer, or shorter, than was expected of it; and not that it did so once. Pure. */

/** So far off a time may be. */
export const tolerance = 0.2
/** And for so long, in so many looks at least, before the expectation is given up. */
export const forMs = 10_000
export const fewestLooks = 4

/** Since when the times of a stage have been off, and to which side. */
export interface Drift {
  readonly sinceMs: number
  readonly looks: number
  readonly isSlower: boolean
}

/** One look: the drift so far and what was seen give the drift from now on; `undefined` where all is as expected. */
export function look(drift: Drift | undefined, expectedUs: number, seenUs: number, nowMs: number): Drift | undefined {
  const ratio = seenUs / expectedUs
  if (!(expectedUs > 0) || Math.abs(ratio - 1) <= tolerance) return undefined
  const isSlower = ratio > 1
  if (drift === undefined || drift.isSlower !== isSlower) return { sinceMs: nowMs, looks: 1, isSlower }
  return { ...drift, looks: drift.looks + 1 }
}

/** Whether what was expected is contradicted. */
export function isLasting(drift: Drift | undefined, nowMs: number): boolean {
  return drift !== undefined && drift.looks >= fewestLooks && nowMs - drift.sinceMs >= forMs
}
