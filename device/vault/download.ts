/**
 * A sealed segment file on its way: which blocks are here and good, which to ask for next. Pure state; where the bytes
 * rest is the store's matter.
 */

import { createHash } from 'node:crypto'
import { equal } from '#shared/bytes.js'
import { Refusal } from '#shared/errors.js'
import { askFor, maxSegmentBytes } from '#shared/protocol/blocks.js'
import type { BlobGet, SegmentFile } from '#shared/protocol/messages.js'

/** Blocks asked for at once: what may be under way without a word from us. */
export const blocksPerAsk = 32

export type Verdict = 'good' | 'bad' | 'repeated'

/** Blocks of a file. Throws `Refusal('bad-segment')` for a manifest that contradicts itself or is over the limit. */
export function blockCount({ name, fileBytes, blockBytes, blockHashes }: SegmentFile): number {
  const blocks = Math.ceil(fileBytes / blockBytes)
  if (fileBytes > 0 && fileBytes <= maxSegmentBytes && blockHashes.length === blocks * 32) return blocks
  throw new Refusal(
    'bad-segment',
    `the manifest of segment '${name}' names ${fileBytes} bytes and ${blockHashes.length / 32} block hashes, which cannot be: deploy it again`,
  )
}

export class Download {
  readonly file: SegmentFile
  /** The file as far as it is here; blocks that are missing hold anything. */
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly of: number
  readonly #have: boolean[]
  #count = 0

  /**
   * Starts from what an earlier, broken transfer has left in `bytes` (same length as the file): each block is checked
   * against its hash. Throws what `blockCount` throws.
   */
  constructor(file: SegmentFile, bytes: Uint8Array<ArrayBuffer>) {
    const of = blockCount(file)
    if (bytes.length !== file.fileBytes) throw new RangeError('a download starts from as many bytes as the file has')
    this.file = file
    this.bytes = bytes
    this.of = of
    this.#have = Array.from({ length: of }, () => false)
    for (let block = 0; block < of; block++) if (this.#isGood(block, this.#slot(block))) this.#mark(block)
  }

  get have(): number {
    return this.#count
  }

  get isComplete(): boolean {
    return this.#count === this.of
  }

  /** A block came. Only one whose hash is the manifest's is taken. */
  accept(block: number, content: Uint8Array): Verdict {
    if (!Number.isInteger(block) || block < 0 || block >= this.of || !this.#isGood(block, content)) return 'bad'
    if (this.#have[block] === true) return 'repeated'
    this.#slot(block).set(content)
    this.#mark(block)
    return 'good'
  }

  /** Where in the file a block begins. */
  offsetOf(block: number): number {
    return block * this.file.blockBytes
  }

  /** The next blocks to ask for; `undefined` when all are here. */
  ask(): BlobGet | undefined {
    return askFor(this.file.fileHash, this.#have, blocksPerAsk)
  }

  #slot(block: number): Uint8Array {
    return this.bytes.subarray(this.offsetOf(block), Math.min(this.offsetOf(block + 1), this.file.fileBytes))
  }

  #isGood(block: number, content: Uint8Array): boolean {
    if (content.length !== this.#slot(block).length) return false
    return equal(
      createHash('sha256').update(content).digest(),
      this.file.blockHashes.subarray(block * 32, block * 32 + 32),
    )
  }

  #mark(block: number): void {
    this.#have[block] = true
    this.#count++
  }
}
