/** Choices from a seed: the same for the same seed. */

import { seededRandom, unitFrom, type Random } from '#shared/random.js'

export class Dice {
  readonly #random: Random

  constructor(seed: string | number) {
    this.#random = seededRandom(seed)
  }

  /** A number in `[0, 1)`. */
  unit(): number {
    return unitFrom(this.#random)
  }

  /** A whole number in `[from, to]`. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.unit() * (to - from + 1))
  }

  /** True so often, of 1. */
  chance(share: number): boolean {
    return this.unit() < share
  }

  pick<T>(of: readonly T[]): T {
    if (of.length === 0) throw new RangeError('nothing to pick from')
    return of[this.whole(0, of.length - 1)]!
  }
}
