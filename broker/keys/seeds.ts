/** Master seeds behind the one operation that is asked of them, so that they may lie in hardware (D19). */

import { createHmac } from 'node:crypto'
import { wipe } from '#shared/bytes.js'
import type { Random } from '#shared/random.js'

export interface SeedBackend {
  /** The generation that new epochs derive from. */
  readonly generation: number
  /** HMAC-SHA-256 under the master seed of a generation: 32 bytes, one derived seed. */
  hmac(generation: number, message: Uint8Array): Uint8Array
  /** Erases the seeds. */
  destroy(): void
}

/** One seed that lives and dies with the process: for a hub with temporary state, and for tests. */
export function memorySeeds(random: Random): SeedBackend {
  const seed = random(32)
  let isDestroyed = false
  return {
    generation: 1,
    hmac(generation, message) {
      if (generation !== 1) throw new RangeError(`there is no master seed of generation ${generation}`)
      if (isDestroyed) throw new Error('the master seed is destroyed') // an HMAC under zeros is everybody's
      return Uint8Array.from(createHmac('sha256', seed).update(message).digest())
    },
    destroy() {
      isDestroyed = true
      wipe(seed)
    },
  }
}
