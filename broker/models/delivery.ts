/** Segment files ready for their devices: sealed once per device and deployment, handed out block by block. */

import { createHash } from 'node:crypto'
import { concat, toHex } from '#shared/bytes.js'
import type { Aeads } from '#shared/crypto/aead.js'
import { sealFile } from '#shared/crypto/stream.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { blocksAsked, maxSegmentBytes } from '#shared/protocol/blocks.js'
import type { BlobGet, SegmentFile } from '#shared/protocol/messages.js'
import type { Random } from '#shared/random.js'

/** Size of a block; larger for files so big that their hashes would not fit into an assignment. */
export const blockBytes = 64 << 10
export const maxBlockBytes = 1 << 20
export const maxBlocks = 8192
/** Header and tags of the largest file. */
const maxFileOverhead = 1 << 20
/** Blocks sent for one request at most; the device asks for the rest. */
export const maxBlocksPerAsk = 64

/** A sealed file with the key that opens it on its device. */
export interface SealedSegment {
  readonly device: DeviceId
  readonly file: SegmentFile
  readonly bytes: Uint8Array
  /** 32 bytes; goes to the device inside the hub session only. */
  readonly dek: Uint8Array
}

export interface SealRequest {
  readonly device: DeviceId
  readonly name: string
  readonly version: number
  readonly modelId: Uint8Array
  readonly plain: Uint8Array
}

/** Seals one segment for one device under a fresh key. Throws `Refusal('bad-segment')` for one over `maxSegmentBytes`. */
export function sealSegment(request: SealRequest, random: Random, aeads: Aeads): SealedSegment {
  const { device, name, version, modelId, plain } = request
  if (plain.length > maxSegmentBytes - maxFileOverhead) {
    throw new Refusal(
      'bad-segment',
      `segment '${name}' has ${plain.length} bytes, a device takes ${maxSegmentBytes}: cut the model into more segments`,
    )
  }
  const dek = random(32)
  const bytes = sealFile(plain, { dek, model: modelId, segment: name, version, device, random, aeads })
  let size = blockBytes
  while (size < maxBlockBytes && bytes.length / size > maxBlocks / 4) size *= 2
  const hashes: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += size) hashes.push(sha256(bytes.subarray(at, at + size)))
  const file = {
    name,
    version,
    modelId,
    fileBytes: bytes.length,
    fileHash: sha256(bytes),
    blockBytes: size,
    blockHashes: concat(hashes),
  }
  return { device, file, bytes, dek }
}

export class Delivery {
  readonly #files = new Map<string, SealedSegment>()
  /** Besides those of the plan: to be measured only. */
  readonly #lent = new Map<string, SealedSegment>()

  /** Offers these files from now on, and no others. */
  offer(segments: readonly SealedSegment[]): void {
    for (const [hash, { dek }] of this.#files) {
      if (!this.#lent.has(hash) && !segments.some((kept) => kept.dek === dek)) dek.fill(0)
    }
    this.#files.clear()
    for (const segment of segments) this.#files.set(toHex(segment.file.fileHash), segment)
  }

  /** Offers one file more, until it is taken back. */
  lend(segment: SealedSegment): void {
    this.#lent.set(toHex(segment.file.fileHash), segment)
  }

  /** Offers a lent file no longer, unless it is the plan's by now; its key is wiped then. */
  takeBack({ file, dek }: SealedSegment): void {
    const hash = toHex(file.fileHash)
    if (this.#lent.delete(hash) && !this.#files.has(hash)) dek.fill(0)
  }

  /** All that is offered to a device. */
  segmentsOf(device: DeviceId): SealedSegment[] {
    const all = new Set([...this.#files.values(), ...this.#lent.values()])
    return [...all].filter((segment) => segment.device === device)
  }

  /**
   * The blocks that `device` asks for. Throws `Refusal('not-allowed')` for a file that is not for it.
   */
  blocks(device: DeviceId, asked: BlobGet): { block: number; content: Uint8Array }[] {
    const hash = toHex(asked.file)
    const segment = this.#files.get(hash) ?? this.#lent.get(hash)
    if (segment === undefined || segment.device !== device) {
      throw new Refusal('not-allowed', `${device} asked for blocks of a file that is not for it`)
    }
    const { file, bytes } = segment
    return blocksAsked(asked)
      .filter((block) => block * file.blockBytes < file.fileBytes)
      .slice(0, maxBlocksPerAsk)
      .map((block) => ({ block, content: bytes.subarray(block * file.blockBytes, (block + 1) * file.blockBytes) }))
  }

  close(): void {
    for (const segment of this.#lent.values()) this.takeBack(segment)
    this.offer([])
  }
}

function sha256(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(createHash('sha256').update(bytes).digest())
}
