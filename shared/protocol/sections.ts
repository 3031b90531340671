/**
 * Plain msgpack with one large body: `{meta: {…}, pad: bin, body: bin}`, in this order. The pad puts the body at a multiple
 * of 16 bytes, and the body is written and read without passing through an encoder.
 */

import { Packr, Unpackr } from 'msgpackr'
import { utf8 } from '../bytes.js'
import { Refusal } from '../errors.js'
import { endOf, headAt } from './msgpack.js'

/** The body's offset, and that of everything in it, is a multiple of this. */
export const alignment = 16
/** 4 MiB: names, shapes, hops and all string tensors of a frame. Bounds what a decoder builds objects of. */
export const maxMetaBytes = 4 * 2 ** 20

const packr = new Packr({ useRecords: false, moreTypes: false })
const unpackr = new Unpackr({ useRecords: false, moreTypes: false, int64AsType: 'number' })

const mapOf3 = 0x83
const metaKey = Uint8Array.of(0xa4, ...utf8('meta'))
const padKey = Uint8Array.of(0xa3, ...utf8('pad'), 0xc4)
const bodyKey = Uint8Array.of(0xa4, ...utf8('body'), 0xc6)
/** All before the body but meta and padding: keys, and the lengths of pad (u8) and body (u32). */
const framingBytes = 1 + metaKey.length + padKey.length + 1 + bodyKey.length + 4

/** What goes before a body of `bodyLength` bytes, its own length a multiple of 16. Throws `Refusal('over-limit')`. */
export function prefixOf(meta: object, bodyLength: number): Uint8Array {
  const packed = packr.pack(meta)
  if (packed.length > maxMetaBytes) {
    const why = `${packed.length} bytes of names, shapes and strings, the limit is ${maxMetaBytes}`
    throw new Refusal('over-limit', `a frame has ${why}: send fewer strings at once`)
  }
  const padding = -(framingBytes + packed.length) & (alignment - 1)
  const prefix = new Uint8Array(framingBytes + packed.length + padding)
  let at = 0
  const put = (bytes: Uint8Array): void => {
    prefix.set(bytes, at)
    at += bytes.length
  }
  prefix[at++] = mapOf3
  put(metaKey)
  put(packed)
  put(padKey)
  prefix[at++] = padding
  at += padding
  put(bodyKey)
  new DataView(prefix.buffer).setUint32(at, bodyLength)
  return prefix
}

/** Meta, decoded, and the body as a view. Throws `Refusal('bad-message')` for anything of another form. */
export function sectionsOf(bytes: Uint8Array): { meta: Record<string, unknown>; body: Uint8Array } {
  const whole = headAt(bytes, 0)
  if (whole.kind !== 'map' || whole.length !== 3) throw bad('another form than {meta, pad, body}')
  const metaAt = afterKey(bytes, whole.next, 'meta')
  const metaEnd = endOf(bytes.subarray(0, metaAt + maxMetaBytes), metaAt)
  const pad = headAt(bytes, afterKey(bytes, metaEnd, 'pad'))
  if (pad.kind !== 'bytes' || pad.length >= alignment) throw bad('a pad that is not 0 to 15 bytes')
  const body = headAt(bytes, afterKey(bytes, pad.next + pad.length, 'body'))
  if (body.kind !== 'bytes' || body.next + body.length !== bytes.length) throw bad('a body that is not the rest')
  const meta = unpack(bytes.subarray(metaAt, metaEnd))
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta)) throw bad('meta that is no map')
  return { meta: meta as Record<string, unknown>, body: bytes.subarray(body.next) }
}

/** The offset after the text `key`, which must stand at `at`. */
function afterKey(bytes: Uint8Array, at: number, key: string): number {
  const { kind, length, next } = headAt(bytes, at)
  let isKey = kind === 'text' && length === key.length
  for (let i = 0; isKey && i < length; i++) isKey = bytes[next + i] === key.charCodeAt(i)
  if (!isKey) throw bad(`no '${key}' in its place`)
  return next + length
}

function unpack(bytes: Uint8Array): unknown {
  try {
    return unpackr.unpack(bytes) as unknown
  } catch (cause) {
    // A map with keys that are no text, or lists nested deeper than the stack.
    throw new Refusal('bad-message', 'a plaintext has meta that cannot be read', { cause })
  }
}

function bad(what: string): Refusal {
  return new Refusal('bad-message', `a plaintext has ${what}`)
}
