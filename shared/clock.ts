/** Time as an argument: the system's, or one that a test steps by hand. */

/** A pending timer; cancelling twice, or after it fired, does nothing. */
export type Cancel = () => void

export interface Clock {
  /** Milliseconds since the Unix epoch; for humans and for expiry. May jump. */
  nowMs(): number
  /** Milliseconds from an arbitrary origin, never going back; for durations. */
  monotonicMs(): number
  /** Calls `action` once, `delayMs` from now. */
  after(delayMs: number, action: () => void): Cancel
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs)
    return () => clearTimeout(timer)
  },
}

/** Calls `action` every `periodMs` until cancelled; the next call is set only after the last one returned. */
export function every(clock: Clock, periodMs: number, action: () => void): Cancel {
  let cancel: Cancel = () => {}
  let stopped = false
  const arm = (): void => {
    cancel = clock.after(periodMs, () => {
      action()
      if (!stopped) arm()
    })
  }
  arm()
  return () => {
    stopped = true
    cancel()
  }
}

/** A clock that moves only when told; timers fire in the order of their due time, then of their creation. */
export class SteppedClock implements Clock {
  #nowMs: number
  readonly #originMs: number
  #timers: { dueMs: number; order: number; action: () => void }[] = []
  #order = 0

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs
    this.#originMs = startMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#nowMs - this.#originMs
  }

  after(delayMs: number, action: () => void): Cancel {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, action }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  /** Moves time forward by `ms`, firing on the way what falls due, timers set on the way included. */
  step(ms: number): void {
    const untilMs = this.#nowMs + ms
    for (;;) {
      const due = this.#timers
        .filter((timer) => timer.dueMs <= untilMs)
        .sort((a, b) => a.dueMs - b.dueMs || a.order - b.order)[0]
      if (due === undefined) break
      this.#timers = this.#timers.filter((timer) => timer !== due)
      this.#nowMs = due.dueMs
      due.action()
    }
    this.#nowMs = untilMs
  }
}
