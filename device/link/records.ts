/** Frames on a byte stream: each after its length, 32 bits big-endian. */

import { Refusal } from '#shared/errors.js'

const lengthBytes = 4

/** The length that goes before a frame whose pieces are given. */
export function recordLength(parts: readonly Uint8Array[]): Uint8Array {
  const prefix = new Uint8Array(lengthBytes)
  new DataView(prefix.buffer).setUint32(
    0,
    parts.reduce((sum, part) => sum + part.length, 0),
  )
  return prefix
}

/** Memory for a frame under way is kept for the next one up to this size; larger frames are rare and get their own. */
const maxKeptBytes = 16 << 20

/**
 * Puts frames together again from chunks of any size: at most one copy, none where a chunk holds the whole frame. A record
 * is good until the call returns, as its memory serves the next one: fresh memory for each would keep the garbage collector
 * busier than the cipher. `limit` is asked before any memory is taken, so that a stranger cannot make us take more than it
 * allows.
 */
export class RecordReader {
  readonly #limit: () => number
  readonly #onRecord: (record: Uint8Array) => void
  readonly #prefix = new Uint8Array(lengthBytes)
  #prefixAt = 0
  #kept: Uint8Array = new Uint8Array(0)
  #record: Uint8Array | undefined
  #recordAt = 0

  constructor(limit: () => number, onRecord: (record: Uint8Array) => void) {
    this.#limit = limit
    this.#onRecord = onRecord
  }

  /** Takes the next chunk. Throws `Refusal('over-limit')` for a record longer than the limit. */
  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#record === undefined) {
        const taken = Math.min(lengthBytes - this.#prefixAt, chunk.length - at)
        this.#prefix.set(chunk.subarray(at, at + taken), this.#prefixAt)
        this.#prefixAt += taken
        at += taken
        if (this.#prefixAt < lengthBytes) return
        const length = new DataView(this.#prefix.buffer).getUint32(0)
        if (length === 0 || length > this.#limit()) {
          throw new Refusal('over-limit', `a record of ${length} bytes, the limit is ${this.#limit()}`)
        }
        this.#prefixAt = 0
        if (length <= chunk.length - at) {
          at += length
          this.#onRecord(chunk.subarray(at - length, at))
          continue
        }
        this.#record = this.#memory(length)
        this.#recordAt = 0
      }
      const record = this.#record
      const taken = Math.min(record.length - this.#recordAt, chunk.length - at)
      record.set(chunk.subarray(at, at + taken), this.#recordAt)
      this.#recordAt += taken
      at += taken
      if (this.#recordAt === record.length) {
        this.#record = undefined
        this.#onRecord(record)
      }
    }
  }

  #memory(length: number): Uint8Array {
    if (length > maxKeptBytes) return Buffer.allocUnsafeSlow(length)
    if (length > this.#kept.length) this.#kept = Buffer.allocUnsafeSlow(length)
    return this.#kept.subarray(0, length)
  }
}
