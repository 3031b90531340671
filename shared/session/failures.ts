/** Notices when frames fail to authenticate more often than noise explains (FKE 3.5). */

import type { Clock } from '../clock.js'

export const alertFailures = 64
export const alertWindowMs = 60_000

export class Failures {
  readonly #clock: Clock
  /** Milliseconds, monotonic, of those since the last alert; the last 63 at most. */
  #timesMs: number[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts one; whether it is the 64th within a minute. They are counted anew from there: a flood alerts once per 64. */
  add(): boolean {
    const nowMs = this.#clock.monotonicMs()
    this.#timesMs.push(nowMs)
    if (this.#timesMs.length < alertFailures) return false
    if (nowMs - this.#timesMs.shift()! >= alertWindowMs) return false
    this.#timesMs = []
    return true
  }
}
