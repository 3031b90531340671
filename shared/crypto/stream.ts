/**
 * Weights files `.ednw` (FKE 8): chunks of 64 KiB sealed one by one (STREAM: the nonce is the chunk's number and whether
 * it is the last), so that any chunk opens alone and none can be swapped, cut off or added.
 */

import { equal, toHex, wipe } from '../bytes.js'
import { Refusal } from '../errors.js'
import type { Random } from '../random.js'
import { type Aead, type Aeads, nonceBytes } from './aead.js'
import {
  bodyBytes,
  chunkCount,
  chunkRange,
  encodeFileHeader,
  type FileFacts,
  filePrefix,
  type ParsedFileHeader,
  parseFileHeader,
  plainRange,
  saltBytes,
  sealedBytes,
} from './file-header.js'
import { fileCommit, fileKey, filePrk } from './schedule.js'

export * from './file-header.js'

/** ChaCha20-Poly1305, whatever the frames of the fleet use: a file outlives epochs and moves between CPU classes. */
const streamCipher = 2
const noAd = new Uint8Array(0)

export interface SealFileOptions extends FileFacts {
  /** The content key (DEK), 32 bytes; one per device, segment and version. */
  readonly dek: Uint8Array
  /** For the 32-byte salt: it makes the file's key, hence all its nonces, unique even where a DEK seals twice. */
  readonly random: Random
  readonly aeads: Aeads
}

/** The whole file for `plain`. Throws `Refusal('bad-segment')` for fields or sizes that no reader would accept. */
export function sealFile(plain: Uint8Array, options: SealFileOptions): Uint8Array<ArrayBuffer> {
  const { model, segment, version, device } = options
  const plainLength = plain.length
  const salt = options.random(saltBytes)
  const encoded = encodeFileHeader({ model, segment, version, device, plainLength, salt })
  const { key, commit } = fileKeys(encoded, salt, options.dek)
  const prefix = filePrefix(encoded, commit)
  const file = new Uint8Array(prefix.length + bodyBytes(plainLength))
  file.set(prefix)
  const aead = options.aeads(streamCipher)
  const last = chunkCount(plainLength) - 1
  let at = prefix.length
  for (let index = 0; index <= last; index++) {
    const [start, end] = plainRange(plainLength, index)
    for (const piece of aead.seal(key, chunkNonce(index, index === last), noAd, [plain.subarray(start, end)])) {
      file.set(piece, at)
      at += piece.length
    }
  }
  wipe(key)
  return file
}

/** A file whose header, key and commitment were found good; opens chunks in any order. */
export class SealedFile {
  readonly header: ParsedFileHeader
  readonly chunkCount: number
  readonly #aead: Aead
  readonly #key: Uint8Array

  /**
   * `prefix` is the start of the file (or all of it). Throws `Refusal('bad-segment')` where it is not the file that was
   * expected, `Refusal('forged')` where the key or the header is not the sealer's; no chunk is touched before.
   */
  constructor(prefix: Uint8Array, dek: Uint8Array, expected: FileFacts, aeads: Aeads) {
    this.header = parseFileHeader(prefix)
    expect(this.header, expected)
    const { key, commit } = fileKeys(this.header.encoded, this.header.salt, dek)
    if (!equal(commit, this.header.commit)) throw forgedFile(expected)
    this.chunkCount = chunkCount(this.header.plainLength)
    this.#aead = aeads(streamCipher)
    this.#key = key
  }

  /** The plaintext of chunk `index`; `sealed` are its bytes by `chunkRange`. Throws `Refusal('forged')`. */
  openChunk(index: number, sealed: Uint8Array): Uint8Array<ArrayBuffer> {
    const [start, end] = chunkRange(this.header, index)
    const isChunk = Number.isInteger(index) && index >= 0 && index < this.chunkCount
    if (!isChunk || sealed.length !== end - start) throw forgedFile(this.header)
    try {
      return this.#aead.open(this.#key, chunkNonce(index, index === this.chunkCount - 1), noAd, sealed)
    } catch {
      throw forgedFile(this.header)
    }
  }

  /** Wipes the file's key: nothing opens any more. */
  erase(): void {
    wipe(this.#key)
  }
}

/**
 * The plaintext of a whole file, in one buffer of its own. Refuses by name a file cut short, lengthened, changed anywhere,
 * or sealed for another device, segment, version, model or key; on refusal what was opened so far is wiped.
 */
export function openFile(
  file: Uint8Array,
  dek: Uint8Array,
  expected: FileFacts,
  aeads: Aeads,
): Uint8Array<ArrayBuffer> {
  const sealed = new SealedFile(file, dek, expected, aeads)
  const { header } = sealed
  if (file.length !== sealedBytes(header)) {
    const why = `is ${file.length} bytes long, not ${sealedBytes(header)} as its header says: deliver it again`
    throw new Refusal('bad-segment', `the file of segment '${header.segment}' ${why}`)
  }
  const plain = new Uint8Array(header.plainLength)
  try {
    for (let index = 0; index < sealed.chunkCount; index++) {
      const [start, end] = chunkRange(header, index)
      const chunk = sealed.openChunk(index, file.subarray(start, end))
      plain.set(chunk, plainRange(header.plainLength, index)[0])
      wipe(chunk)
    }
  } catch (refusal) {
    wipe(plain)
    throw refusal
  } finally {
    sealed.erase()
  }
  return plain
}

/** 11 bytes of big-endian chunk number, 1 byte that is 1 in the last chunk only. Unique, as a key seals one file. */
function chunkNonce(index: number, isLast: boolean): Uint8Array {
  const nonce = new Uint8Array(nonceBytes)
  new DataView(nonce.buffer).setUint32(7, index)
  nonce[11] = isLast ? 1 : 0
  return nonce
}

function fileKeys(
  encodedHeader: Uint8Array,
  salt: Uint8Array,
  dek: Uint8Array,
): { key: Uint8Array; commit: Uint8Array } {
  const prk = filePrk(salt, dek)
  const keys = { key: fileKey(prk, encodedHeader), commit: fileCommit(prk, encodedHeader) }
  wipe(prk)
  return keys
}

function expect(header: FileFacts, expected: FileFacts): void {
  const differs = (what: string, found: unknown, wanted: unknown): Refusal =>
    new Refusal(
      'bad-segment',
      `the segment file is of ${what} ${String(found)}, wanted is ${String(wanted)}: deliver the right one`,
    )
  if (!equal(header.model, expected.model)) throw differs('model', toHex(header.model), toHex(expected.model))
  if (header.segment !== expected.segment) throw differs('segment', header.segment, expected.segment)
  if (header.version !== expected.version) throw differs('version', header.version, expected.version)
  if (header.device !== expected.device) throw differs('device', header.device, expected.device)
}

/** One sentence for a wrong key, a wrong commitment and a changed chunk: which it was helps only a forger. */
function forgedFile({ segment, version }: FileFacts): Refusal {
  return new Refusal('forged', `the file of segment '${segment}' version ${version} does not open: deliver it again`)
}
