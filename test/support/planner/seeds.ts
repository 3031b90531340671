/** Seeds for property tests: the same every time, then some that nobody has seen. A failure must print its seed. */

import { systemRandom, unitFrom } from '#shared/random.js'

/** Of these, so many are fresh. */
const freshShare = 0.25

export function* seeds(name: string, count: number): Generator<string> {
  const fresh = Math.floor(unitFrom(systemRandom) * 2 ** 32)
  const known = Math.ceil(count * (1 - freshShare))
  for (let i = 0; i < count; i++) yield i < known ? `${name} ${i}` : `${name} ${fresh}.${i}`
}
