/** Results whose client is no peer: it may become one in a moment, when the plan that says so comes. */

import type { Cancel, Clock } from '#shared/clock.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import type { Activation } from '#shared/protocol/tensors.js'

const askAgainMs = 250
/** So long is a result kept for somebody who does not come. */
export const unclaimedMs = 10_000

/** A finished activation on its way out. */
export interface Parcel {
  readonly activation: Activation
  readonly to: DeviceId
}

export interface UnclaimedEvents {
  /** Throws `Refusal` while there is nobody to take it. */
  send(parcel: Parcel): void
  onGivenUp(parcel: Parcel): void
}

export class Unclaimed {
  readonly #clock: Clock
  readonly #events: UnclaimedEvents
  #parcels: { parcel: Parcel; sinceMs: number }[] = []
  #cancelAsking: Cancel | undefined

  constructor(clock: Clock, events: UnclaimedEvents) {
    this.#clock = clock
    this.#events = events
  }

  add(parcel: Parcel): void {
    this.#parcels.push({ parcel, sinceMs: this.#clock.monotonicMs() })
    this.#askLater()
  }

  close(): void {
    this.#cancelAsking?.()
    this.#parcels = []
  }

  #askLater(): void {
    this.#cancelAsking ??= this.#clock.after(askAgainMs, () => {
      this.#cancelAsking = undefined
      const nowMs = this.#clock.monotonicMs()
      for (const { parcel, sinceMs } of this.#parcels.splice(0)) this.#askAgain(parcel, sinceMs, nowMs)
      if (this.#parcels.length > 0) this.#askLater()
    })
  }

  #askAgain(parcel: Parcel, sinceMs: number, nowMs: number): void {
    try {
      this.#events.send(parcel)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (nowMs - sinceMs < unclaimedMs) this.#parcels.push({ parcel, sinceMs })
      else this.#events.onGivenUp(parcel)
    }
  }
}
