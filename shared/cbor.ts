/** Deterministic CBOR (RFC 8949, 4.2.1): the form of everything that is hashed, signed or used as associated data. */

import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import { equal } from './bytes.js'
import { Refusal } from './errors.js'

/** The one encoding of a value: plain objects and `Map`s, arrays, strings, numbers, bigints, booleans, null, bytes. */
export function encodeCanonical(value: unknown): Uint8Array {
  return encode(value, rfc8949EncodeOptions)
}

/**
 * The value of deterministic CBOR; maps become plain objects, integers past 2^53 bigints, bytes copies.
 * Throws `Refusal('bad-message')` for anything whose re-encoding is not the same bytes: two encodings of one value
 * would be two hashes of one statement.
 */
export function decodeCanonical(bytes: Uint8Array): unknown {
  let value: unknown
  let again: Uint8Array
  try {
    value = decode(bytes, { strict: true, allowIndefinite: false, allowUndefined: false, rejectDuplicateMapKeys: true })
    again = encodeCanonical(value)
  } catch (cause) {
    // Also a stack overflow: what nests deeper than the stack is no message of ours.
    throw new Refusal('bad-message', 'the bytes are not CBOR that this program reads', { cause })
  }
  if (!equal(again, bytes))
    throw new Refusal('bad-message', 'the CBOR is not in its deterministic form (RFC 8949, 4.2.1)')
  return value
}
