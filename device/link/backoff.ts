/** When to try again: exponential, with full jitter, so that a fleet does not come back all at once. */

import { unitFrom, type Random } from '#shared/random.js'

const firstMs = 500
const longestMs = 30_000

/**
 * The pause before the next attempt, after `failures` in a row: anything up to 0.5 s for the first, up to twice as much
 * for each further one, never above 30 s.
 */
export function pauseMs(failures: number, random: Random): number {
  return unitFrom(random) * Math.min(longestMs, firstMs * 2 ** Math.min(failures, 16))
}
