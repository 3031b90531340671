/** Deterministic CBOR (RFC 8949 4.2.1) for all that is hashed, signed or used as associated data. */

import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import { equal } from './bytes.js'
import { Refusal } from './errors.js'

/** The one encoding of `value`: shortest forms, map keys in bytewise order. */
export function encodeCanonical(value: unknown): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(encode(value, rfc8949EncodeOptions))
}

/**
 * The value of exactly one canonical item; throws `Refusal('bad-message')` for anything else, so that two byte strings
 * never mean the same value.
 */
export function decodeCanonical(bytes: Uint8Array): unknown {
  let value: unknown
  try {
    value = decode(bytes, { allowUndefined: false, rejectDuplicateMapKeys: true })
    if (equal(encodeCanonical(value), bytes)) return value
  } catch {
    throw new Refusal('bad-message', 'bytes are no CBOR item')
  }
  throw new Refusal('bad-message', 'CBOR item is not in its deterministic encoding (RFC 8949 4.2.1)')
}
