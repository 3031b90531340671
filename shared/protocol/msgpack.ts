/**
 * Just enough of msgpack to find where a value ends without reading it: so that the large body of a message is never
 * handed to a decoder, and that nothing but plain msgpack (no extension types) reaches it.
 */

import { Refusal } from '../errors.js'

export type Kind = 'atom' | 'text' | 'bytes' | 'array' | 'map'

/** The head of one value. */
export interface Head {
  readonly kind: Kind
  /** Bytes of a text or of bytes, elements of an array, pairs of a map; 0 for an atom. */
  readonly length: number
  /** Where the content begins: the offset after the head. For an atom, after the value. */
  readonly next: number
}

/** The head at offset `at`. Throws `Refusal('bad-message')` past the end and for extension types. */
export function headAt(bytes: Uint8Array, at: number): Head {
  const token = bytes[at]
  if (token === undefined) throw short()
  if (token < 0x80 || token >= 0xe0) return atom(bytes, at, 0)
  if (token < 0x90) return { kind: 'map', length: token & 0x0f, next: at + 1 }
  if (token < 0xa0) return { kind: 'array', length: token & 0x0f, next: at + 1 }
  if (token < 0xc0) return sized(bytes, 'text', token & 0x1f, at + 1)
  switch (token) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return atom(bytes, at, 0)
    case 0xcc: // uint 8 to 64
    case 0xcd:
    case 0xce:
    case 0xcf:
      return atom(bytes, at, 1 << (token - 0xcc))
    case 0xd0: // int 8 to 64
    case 0xd1:
    case 0xd2:
    case 0xd3:
      return atom(bytes, at, 1 << (token - 0xd0))
    case 0xca: // float 32, 64
    case 0xcb:
      return atom(bytes, at, token === 0xca ? 4 : 8)
    case 0xc4: // bin 8 to 32
    case 0xc5:
    case 0xc6:
      return sized(bytes, 'bytes', uintAt(bytes, at + 1, 1 << (token - 0xc4)), at + 1 + (1 << (token - 0xc4)))
    case 0xd9: // str 8 to 32
    case 0xda:
    case 0xdb:
      return sized(bytes, 'text', uintAt(bytes, at + 1, 1 << (token - 0xd9)), at + 1 + (1 << (token - 0xd9)))
    case 0xdc: // array 16, 32
    case 0xdd:
      return {
        kind: 'array',
        length: uintAt(bytes, at + 1, token === 0xdc ? 2 : 4),
        next: at + (token === 0xdc ? 3 : 5),
      }
    case 0xde: // map 16, 32
    case 0xdf:
      return { kind: 'map', length: uintAt(bytes, at + 1, token === 0xde ? 2 : 4), next: at + (token === 0xde ? 3 : 5) }
    default:
      throw new Refusal('bad-message', `msgpack of type 0x${token.toString(16)} does not occur in our messages`)
  }
}

/** The offset after the value at `at`. Throws `Refusal('bad-message')` where it does not end within the bytes. */
export function endOf(bytes: Uint8Array, at: number): number {
  let values = 1
  let offset = at
  while (values > 0) {
    const { kind, length, next } = headAt(bytes, offset)
    values--
    offset = next
    if (kind === 'array') values += length
    else if (kind === 'map') values += 2 * length
    else offset += length
    // Each value takes a byte at least: a promise of more is refused here and not by running out of them.
    if (values > bytes.length - offset) throw short()
  }
  return offset
}

function atom(bytes: Uint8Array, at: number, contentBytes: number): Head {
  if (at + 1 + contentBytes > bytes.length) throw short()
  return { kind: 'atom', length: 0, next: at + 1 + contentBytes }
}

function sized(bytes: Uint8Array, kind: Kind, length: number, next: number): Head {
  if (next + length > bytes.length) throw short()
  return { kind, length, next }
}

function uintAt(bytes: Uint8Array, at: number, width: number): number {
  if (at + width > bytes.length) throw short()
  let value = 0
  for (let i = at; i < at + width; i++) value = value * 256 + bytes[i]!
  return value
}

function short(): Refusal {
  return new Refusal('bad-message', 'the msgpack ends within a value')
}
