/** Messages of QoS 1 on their way out: in order, kept until they are acknowledged, with a limit. */

import { Refusal } from '#shared/errors.js'
import type { Sealed } from '#shared/protocol/outbox.js'

export interface Letter {
  readonly sealed: Sealed
  readonly flags: { readonly qos: 0 | 1; readonly retain: boolean }
  /**
   * Letters of a rank replace the earlier ones of the same rank and go before those of a higher one; those without go
   * last, in order, all of them.
   */
  readonly rank: number | undefined
  readonly waiters: { resolve: () => void; reject: (error: Refusal) => void }[]
}

/** Letters that may wait, and that may be on their way without an acknowledgement. */
const waitingLimit = 256
const unacknowledgedLimit = 16

export class Postbox {
  #waiting: Letter[] = []
  #sent: Letter[] = []
  #isClosed = false

  /** Adds a letter; resolves when it, or the one that replaced it, was acknowledged. Rejects with a `Refusal`. */
  add(sealed: Sealed, flags: Letter['flags'], rank?: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new Refusal('cancelled', `nothing is sent any more on ${sealed.topic}`))
      const replaced = this.#waiting.filter((letter) => rank !== undefined && letter.rank === rank)
      if (replaced.length === 0 && this.#waiting.length >= waitingLimit) {
        return reject(
          new Refusal('over-limit', `${waitingLimit} messages wait for the hub already: ${sealed.topic} is not sent`),
        )
      }
      const waiters = [...replaced.flatMap((letter) => letter.waiters), { resolve, reject }]
      const others = this.#waiting.filter((letter) => !replaced.includes(letter))
      const before = others.filter((letter) => placeOf(letter.rank) <= placeOf(rank))
      const after = others.filter((letter) => placeOf(letter.rank) > placeOf(rank))
      this.#waiting = [...before, { sealed, flags, rank, waiters }, ...after]
    })
  }

  /** The next letter to send now; `undefined` while there is none or enough are on their way. */
  next(): Letter | undefined {
    if (this.#sent.length >= unacknowledgedLimit) return undefined
    const letter = this.#waiting.shift()
    if (letter !== undefined) this.#sent.push(letter)
    return letter
  }

  delivered(letter: Letter): void {
    if (!this.#sent.includes(letter)) return // recalled before
    this.#sent = this.#sent.filter((other) => other !== letter)
    for (const { resolve } of letter.waiters) resolve()
  }

  /**
   * The connection ended: what has no acknowledgement waits again, in order. The hub refuses the second copy of what it
   * did get, by its number.
   */
  recall(): void {
    this.#waiting = [...this.#sent, ...this.#waiting]
    this.#sent = []
  }

  /** Rejects all that waits, and whatever is added later. */
  close(): void {
    this.#isClosed = true
    const letters = [...this.#sent, ...this.#waiting]
    this.#sent = []
    this.#waiting = []
    for (const letter of letters) {
      const refusal = new Refusal('cancelled', `the connection was closed before ${letter.sealed.topic} was sent`)
      for (const { reject } of letter.waiters) reject(refusal)
    }
  }
}

function placeOf(rank: number | undefined): number {
  return rank ?? Infinity
}
