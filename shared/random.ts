/** Randomness as an argument: the system's for secrets, a seeded one for tests and for reproducible inputs. */

import { createHash, randomBytes } from 'node:crypto'

/** Gives `length` fresh bytes at each call. */
export type Random = (length: number) => Uint8Array<ArrayBuffer>

/** Cryptographically strong bytes; the only source that keys may come from outside a test. */
export const systemRandom: Random = (length) => Uint8Array.from(randomBytes(length))

/** The same bytes for the same seed: SHA-256 in counter mode. Never for keys outside a test. */
export function seededRandom(seed: string | number): Random {
  let block = 0
  let pool = new Uint8Array(0)
  return (length) => {
    const out = new Uint8Array(length)
    for (let at = 0; at < length;) {
      if (pool.length === 0) pool = Uint8Array.from(createHash('sha256').update(`${seed}/${block++}`).digest())
      const taken = Math.min(pool.length, length - at)
      out.set(pool.subarray(0, taken), at)
      pool = pool.subarray(taken)
      at += taken
    }
    return out
  }
}

/** A number in `[0, 1)` with 32 bits of randomness. */
export function unitFrom(random: Random): number {
  return new DataView(random(4).buffer).getUint32(0) / 2 ** 32
}
