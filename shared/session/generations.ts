/**
 * What opens frames before, at and after the present ratchet of one session: each ratchet is one hash on, for all purposes
 * and both directions, and has no way back (FKE 3.4).
 */

import { wipe } from '../bytes.js'
import type { Cancel, Clock } from '../clock.js'
import { ratchet } from '../crypto/schedule.js'
import type { DeviceId, FleetId } from '../ids.js'
import { purposes } from '../protocol/frame.js'
import { ReceiveKey } from './traffic.js'

/** So long are frames from before a ratchet still opened. */
export const oldRatchetMs = 2000
/** How many ratchets a frame or a notice may be ahead of what this end knows; bounds the work a forged header causes. */
export const maxRatchetsAhead = 8
/** How many old ratchets are held at most: who ratchets faster than 8 times in 2 s loses its oldest early. */
export const maxOldRatchets = 8

/** What one number of ratchets stands for. */
export interface Generation {
  readonly ratchet: number
  /** The secret: for the keys that seal and for the next ratchet. Wiped when that one is in force. */
  readonly prk: Uint8Array
  /** The keys that open, one per purpose. */
  readonly receive: readonly ReceiveKey[]
}

export interface GenerationsOptions {
  readonly fleet: FleetId
  readonly self: DeviceId
  readonly peer: DeviceId
  readonly epoch: number
  /** The pair secret; copied. */
  readonly prk: Uint8Array
  readonly clock: Clock
}

export class Generations {
  readonly #options: Omit<GenerationsOptions, 'prk'>
  #current: Generation
  #old: { readonly generation: Generation; readonly cancel: Cancel }[] = []
  /** Those after the current one, in order, as far as they were asked for. */
  #ahead: Generation[] = []

  constructor({ prk, ...options }: GenerationsOptions) {
    this.#options = options
    this.#current = this.#generation(0, Uint8Array.from(prk))
  }

  get current(): Generation {
    return this.#current
  }

  /** The generation a header means, never by trial: its number mod 256 is unique among those held and just ahead. */
  find(ratchetByte: number): Generation | undefined {
    const ahead = (ratchetByte - this.#current.ratchet) & 255
    if (ahead === 0) return this.#current
    if (ahead <= maxRatchetsAhead) return this.#reach(ahead)
    return this.#old.find(({ generation }) => (generation.ratchet & 255) === ratchetByte)?.generation
  }

  /** Makes `number` the current one; what was before opens for 2 s more, then is erased. Not for going back. */
  advanceTo(number: number): void {
    while (this.#current.ratchet < number) {
      const next = this.#reach(1)
      this.#retire(this.#current)
      this.#current = next
      this.#ahead.shift()
    }
  }

  erase(): void {
    for (const { generation, cancel } of this.#old) {
      cancel()
      eraseGeneration(generation)
    }
    for (const generation of [this.#current, ...this.#ahead]) eraseGeneration(generation)
    this.#old = []
    this.#ahead = []
  }

  #reach(ahead: number): Generation {
    while (this.#ahead.length < ahead) {
      const last = this.#ahead.at(-1) ?? this.#current
      const next = last.ratchet + 1
      this.#ahead.push(this.#generation(next, ratchet(last.prk, { ...this.#options, next })))
    }
    return this.#ahead[ahead - 1]!
  }

  #retire(generation: Generation): void {
    wipe(generation.prk)
    const cancel = this.#options.clock.after(oldRatchetMs, () => {
      eraseGeneration(generation)
      this.#old = this.#old.filter((old) => old.generation !== generation)
    })
    this.#old.push({ generation, cancel })
    if (this.#old.length <= maxOldRatchets) return
    const oldest = this.#old.shift()!
    oldest.cancel()
    eraseGeneration(oldest.generation)
  }

  #generation(number: number, prk: Uint8Array): Generation {
    const { fleet, self, peer, epoch } = this.#options
    const way = { fleet, epoch, ratchet: number, from: peer, to: self }
    return { ratchet: number, prk, receive: purposes.map((purpose) => new ReceiveKey(prk, { ...way, purpose })) }
  }
}

function eraseGeneration({ prk, receive }: Generation): void {
  wipe(prk)
  for (const key of receive) key.erase()
}
