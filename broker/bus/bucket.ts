/** A token bucket: how much somebody may use at once, and how fast it comes back. */

export class TokenBucket {
  readonly #capacity: number
  readonly #perSecond: number
  #tokens: number
  #atMs: number

  constructor(options: { readonly capacity: number; readonly perSecond: number; readonly nowMs: number }) {
    this.#capacity = options.capacity
    this.#perSecond = options.perSecond
    this.#tokens = options.capacity
    this.#atMs = options.nowMs
  }

  /** Takes `amount`, into debt if need be; gives the milliseconds until the debt is paid, 0 for none. */
  take(amount: number, nowMs: number): number {
    const earned = (Math.max(0, nowMs - this.#atMs) / 1000) * this.#perSecond
    this.#tokens = Math.min(this.#capacity, this.#tokens + earned) - amount
    this.#atMs = nowMs
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.#perSecond) * 1000
  }
}
