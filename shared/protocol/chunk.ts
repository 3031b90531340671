/**
 * Frames in pieces, for the relay (WIRE: at most 256 KiB each, one frame at a time for each sender). The body of a chunk
 * is `frame: uint32, part: uint16, parts: uint16`, big-endian, then the data; all parts but the last are full.
 */

import { concat, equal, lengthOf } from '../bytes.js'
import { Refusal } from '../errors.js'

export const chunkBytes = 256 * 1024
const headBytes = 8

export interface Chunk {
  /** Number of the frame, counted by its sender; wraps at 2^32. */
  readonly frame: number
  /** Which part, from 0. */
  readonly part: number
  readonly parts: number
  readonly data: Uint8Array
}

/** The bodies of the chunks of one frame, made one by one. Throws `Refusal('over-limit')` above 65,535 parts (16 GiB). */
export function* chunksOf(frame: number, pieces: readonly Uint8Array[]): Generator<Uint8Array> {
  const total = lengthOf(pieces)
  const parts = partsFor(total)
  if (parts > 0xffff) throw new Refusal('over-limit', `a frame of ${total} bytes does not fit the relay's 65,535 parts`)
  let piece = 0
  let offset = 0
  for (let part = 0; part < parts; part++) {
    const body = new Uint8Array(headBytes + Math.min(chunkBytes, total - part * chunkBytes))
    const view = new DataView(body.buffer)
    view.setUint32(0, frame >>> 0)
    view.setUint16(4, part)
    view.setUint16(6, parts)
    for (let at = headBytes; at < body.length;) {
      const taken = pieces[piece]!.subarray(offset, offset + body.length - at)
      body.set(taken, at)
      at += taken.length
      offset += taken.length
      if (offset === pieces[piece]!.length) {
        piece++
        offset = 0
      }
    }
    yield body
  }
}

/** An empty frame is one empty part. */
function partsFor(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / chunkBytes))
}

/** Reads a chunk; `data` is a view of `body`. Throws `Refusal('bad-message')`. */
export function readChunk(body: Uint8Array): Chunk {
  if (body.length < headBytes) throw new Refusal('bad-message', `a chunk has at least 8 bytes, not ${body.length}`)
  const view = new DataView(body.buffer, body.byteOffset, body.length)
  const chunk = {
    frame: view.getUint32(0),
    part: view.getUint16(4),
    parts: view.getUint16(6),
    data: body.subarray(headBytes),
  }
  const { part, parts, data } = chunk
  if (part >= parts) throw new Refusal('bad-message', `chunk ${part} of a frame of ${parts}`)
  const isLast = part === parts - 1
  if (isLast ? data.length > chunkBytes || (data.length === 0 && parts > 1) : data.length !== chunkBytes) {
    throw new Refusal('bad-message', `chunk ${part} of ${parts} has ${data.length} bytes: all but the last are full`)
  }
  return chunk
}

interface OpenFrame {
  readonly boot: Uint8Array
  readonly frame: number
  readonly parts: number
  readonly pieces: Uint8Array[]
  atMs: number
}

/**
 * Puts frames together again: one at a time for each sender. The relay keeps the order but may drop, so a part that is
 * not the next one ends its frame, and only that.
 */
export class Assembler {
  readonly #maxFrameBytes: number
  readonly #staleMs: number
  readonly #partials = new Map<string, OpenFrame>()
  /** Frames that were begun and never finished. */
  lost = 0

  constructor(options: { readonly maxFrameBytes: number; readonly staleMs: number }) {
    this.#maxFrameBytes = options.maxFrameBytes
    this.#staleMs = options.staleMs
  }

  /** Frames begun and not finished yet. */
  get open(): number {
    return this.#partials.size
  }

  /**
   * Takes a chunk of `sender` and its `boot`; gives the frame that it completes. A frame of one part is a view of `body`,
   * any other a new array. Throws `Refusal('bad-message' | 'over-limit')`, which also ends the sender's open frame.
   */
  take(sender: string, boot: Uint8Array, body: Uint8Array, nowMs: number): Uint8Array | undefined {
    const open = this.#partials.get(sender)
    this.#partials.delete(sender)
    if (open !== undefined) this.lost++ // until this chunk turns out to be its next
    const { frame, part, parts, data } = readChunk(body)
    if ((parts - 1) * chunkBytes + (part === parts - 1 ? data.length : 1) > this.#maxFrameBytes) {
      throw new Refusal('over-limit', `a relayed frame of ${parts} chunks is above ${this.#maxFrameBytes} bytes`)
    }
    if (part === 0) {
      if (parts === 1) return data
      this.#partials.set(sender, { boot: Uint8Array.from(boot), frame, parts, pieces: [data], atMs: nowMs })
      return undefined
    }
    const isNext =
      open !== undefined &&
      open.frame === frame &&
      open.parts === parts &&
      open.pieces.length === part &&
      equal(open.boot, boot)
    if (!isNext) return undefined
    this.lost--
    open.pieces.push(data)
    open.atMs = nowMs
    if (open.pieces.length === parts) return concat(open.pieces)
    this.#partials.set(sender, open)
    return undefined
  }

  /** Drops what has waited too long for its next part. */
  sweep(nowMs: number): void {
    for (const [sender, { atMs }] of this.#partials) {
      if (nowMs - atMs < this.#staleMs) continue
      this.#partials.delete(sender)
      this.lost++
    }
  }

  /** Drops the open frame of a sender that is no peer any more. */
  forget(sender: string): void {
    if (this.#partials.delete(sender)) this.lost++
  }
}
