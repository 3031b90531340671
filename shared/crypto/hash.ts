/** SHA-256, HMAC (RFC 2104) and the two halves of HKDF (RFC 5869), by `node:crypto`. */

import { createHash, createHmac } from 'node:crypto'

export const hashBytes = 32

/** SHA-256 of the parts, one after the other. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

/** HMAC-SHA-256 of the parts, one after the other. */
export function hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const mac = createHmac('sha256', key)
  for (const part of parts) mac.update(part)
  return mac.digest()
}

/** HKDF-Extract: one uniform 32-byte key from input key material, given in parts (SP 800-56C: secrets one after the other). */
export function extract(salt: Uint8Array, ...inputKeyMaterial: readonly Uint8Array[]): Uint8Array {
  return hmac(salt, ...inputKeyMaterial)
}

/** HKDF-Expand to `length` bytes; throws `RangeError` for more than 255 hashes, the most the RFC allows. */
export function expand(prk: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  if (length > 255 * hashBytes) throw new RangeError(`HKDF gives at most ${255 * hashBytes} bytes, not ${length}`)
  const out = new Uint8Array(length)
  let block: Uint8Array = new Uint8Array(0)
  for (let at = 0, index = 1; at < length; at += hashBytes, index++) {
    block = hmac(prk, block, info, Uint8Array.of(index))
    out.set(block.subarray(0, length - at), at)
  }
  return out
}
