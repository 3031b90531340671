/**
 * Draws the root of every pair of the fleet, fresh for each pair of bootIds (WIRE, "Frames"), until the peers make it
 * themselves by EDHOC. The ordinal grows with every root of a pair, so that no two sessions of an epoch share a name.
 */

import { toHex, wipe } from '#shared/bytes.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import type { Random } from '#shared/random.js'

/** A process of a member. */
export interface Boot {
  readonly id: DeviceId
  readonly bootId: Uint8Array
}

export interface PairRoot {
  readonly ordinal: number
  /** 32 bytes; the same for both ends. */
  readonly root: Uint8Array
}

const lastOrdinal = 0xffff

export class PairRoots {
  readonly #random: Random
  readonly #pairs = new Map<string, PairRoot & { readonly boots: string }>()

  constructor(random: Random) {
    this.#random = random
  }

  /**
   * The root of a pair for the two processes that run now: drawn at the first call, the same at the next.
   * Throws `Refusal('key-exhausted')` when the pair has used up the ordinals of the epoch.
   */
  between(a: Boot, b: Boot): PairRoot {
    const [low, high] = a.id < b.id ? [a, b] : [b, a]
    const pair = `${low.id}/${high.id}`
    const boots = `${toHex(low.bootId)}/${toHex(high.bootId)}`
    const known = this.#pairs.get(pair)
    if (known !== undefined && known.boots === boots) return known
    const ordinal = known === undefined ? 0 : known.ordinal + 1
    if (ordinal > lastOrdinal) {
      throw new Refusal(
        'key-exhausted',
        `${low.id} and ${high.id} have restarted too often in this epoch: start a new one`,
      )
    }
    if (known !== undefined) wipe(known.root)
    const fresh = { ordinal, root: this.#random(32), boots }
    this.#pairs.set(pair, fresh)
    return fresh
  }

  erase(): void {
    for (const { root } of this.#pairs.values()) wipe(root)
    this.#pairs.clear()
  }
}
