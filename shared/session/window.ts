/** Which of the last 1024 counters were taken: a sliding window against replay that tolerates reordering (RFC 4303, 3.4.3). */

/** How far behind the highest counter a late frame may be. */
export const windowSize = 1024

export class ReplayWindow {
  /** The highest counter taken. */
  #top = -1
  /** One bit per counter in `(top - windowSize, top]`, at its place modulo the size. */
  readonly #taken = new Uint32Array(windowSize / 32)

  /** Whether `counter` is neither taken nor so old that nobody can say. */
  admits(counter: number): boolean {
    if (counter > this.#top) return true
    if (counter <= this.#top - windowSize) return false
    const place = counter % windowSize
    return (this.#taken[place >>> 5]! & (1 << (place & 31))) === 0
  }

  /** Marks `counter` as taken. Only after the frame was found authentic: else a forger could move the window. */
  take(counter: number): void {
    if (counter > this.#top) {
      if (counter - this.#top >= windowSize) this.#taken.fill(0)
      else for (let passed = this.#top + 1; passed < counter; passed++) this.#clear(passed)
      this.#top = counter
    }
    const place = counter % windowSize
    this.#taken[place >>> 5]! |= 1 << (place & 31)
  }

  #clear(counter: number): void {
    const place = counter % windowSize
    this.#taken[place >>> 5]! &= ~(1 << (place & 31))
  }
}
