/** Looks for secrets in what was seen on a wire: any 16 bytes in a row that stand in both. */

import { asBuffer, toHex } from '#shared/bytes.js'

export const windowBytes = 16
/** Fewer different bytes than this are a pattern that stands anywhere (zeros, a repeated number), not a secret. */
const fewestDistinct = 8

/** The first window of `seen` that stands in a secret, as hex; `undefined` when there is none. */
export function sharedWindow(secrets: readonly Uint8Array[], seen: readonly Uint8Array[]): string | undefined {
  // Two bits for every window of a secret: what lacks one stands in none. What has both is compared byte by byte.
  const filter = new Uint32Array(2 ** 23)
  for (const secret of secrets) {
    slide(secret, (one, two) => {
      filter[one >>> 9]! |= 1 << (one & 31)
      filter[two >>> 9]! |= 1 << (two & 31)
    })
  }
  for (const bytes of seen) {
    let found: string | undefined
    slide(bytes, (one, two, at) => {
      if (found !== undefined) return
      if ((filter[one >>> 9]! & (1 << (one & 31))) === 0 || (filter[two >>> 9]! & (1 << (two & 31))) === 0) return
      const window = bytes.subarray(at, at + windowBytes)
      if (new Set(window).size < fewestDistinct) return
      if (secrets.some((secret) => asBuffer(secret).includes(asBuffer(window)))) found = toHex(window)
    })
    if (found !== undefined) return found
  }
  return undefined
}

const base = 0x01000193
const oldest = Array.from({ length: windowBytes }).reduce<number>((power) => Math.imul(power, base), 1)

/** Calls `each` with two hashes of every window of `bytes` and where it begins. */
function slide(bytes: Uint8Array, each: (one: number, two: number, at: number) => void): void {
  let hash = 0
  for (let i = 0; i < bytes.length; i++) {
    hash = (Math.imul(hash, base) + bytes[i]! + 1) | 0
    if (i >= windowBytes) hash = (hash - Math.imul(bytes[i - windowBytes]! + 1, oldest)) | 0
    if (i < windowBytes - 1) continue
    each(
      Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0,
      Math.imul(hash ^ (hash >>> 13), 0x297a2d39) >>> 0,
      i - windowBytes + 1,
    )
  }
}
