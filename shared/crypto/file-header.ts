/**
 * The clear start of a weights file `.ednw` (FKE 8), and the sizes that follow from it:
 * `"EDNW" | u16 header length | header | commit (32) | chunks`, the header being deterministic CBOR
 * `[1, alg, log2 of the chunk size, model (16), segment, version, device (16), plain length, salt (32)]`.
 */

import { asBuffer, concat, equal, utf8 } from '../bytes.js'
import { decodeCanonical, encodeCanonical } from '../cbor.js'
import { Refusal, shown } from '../errors.js'
import { type DeviceId, deviceIdOf, idBytes } from '../ids.js'
import { tagBytes } from './aead.js'
import { hashBytes } from './hash.js'

/** Says for which device, and as which segment of which model and version, a file was sealed. */
export interface FileFacts {
  /** 16 bytes. */
  readonly model: Uint8Array
  /** 1 to 64 bytes of UTF-8. */
  readonly segment: string
  readonly version: number
  readonly device: DeviceId
}

export interface FileHeader extends FileFacts {
  readonly plainLength: number
  readonly salt: Uint8Array
}

/** A header as it stands in a file, with what is derived from its exact bytes. */
export interface ParsedFileHeader extends FileHeader {
  /** The CBOR alone: the key and the commitment are bound to its hash. */
  readonly encoded: Uint8Array
  readonly commit: Uint8Array
  /** Where the first chunk begins in the file. */
  readonly bodyOffset: number
}

/**
 * The file's algorithm number is 1: STREAM of ChaCha20-Poly1305. Files and frames number their algorithms apart (a frame
 * names the same cipher 2); the known answer of FKE/1 has it so.
 */
export const fileAlg = 1
export const chunkLog2 = 16
/** Plaintext bytes of every chunk but the last. */
export const chunkBytes = 2 ** chunkLog2
/** 2 GiB of weights in one segment: what one buffer holds with room to spare, and guards allocation. */
export const maxPlainBytes = 2 ** 31
export const maxSegmentNameBytes = 64
/** A header is about 90 bytes, 170 with the longest name and numbers. */
export const maxHeaderBytes = 256
export const saltBytes = 32

const format = 1
const magic = utf8('EDNW')
const lengthBytes = 2
/** So many bytes from the start of a file always hold its header and commitment. */
export const maxPrefixBytes = magic.length + lengthBytes + maxHeaderBytes + hashBytes

export function chunkCount(plainLength: number): number {
  // An empty segment still has one chunk, whose tag says that it ends there.
  return Math.max(1, Math.ceil(plainLength / chunkBytes))
}

/** Bytes of all sealed chunks together. */
export function bodyBytes(plainLength: number): number {
  return plainLength + chunkCount(plainLength) * tagBytes
}

/** Bytes of the whole file. */
export function sealedBytes(header: ParsedFileHeader): number {
  return header.bodyOffset + bodyBytes(header.plainLength)
}

/** Where chunk `index` lies in the plaintext, `[start, end)`. */
export function plainRange(plainLength: number, index: number): readonly [start: number, end: number] {
  return [index * chunkBytes, Math.min(plainLength, (index + 1) * chunkBytes)]
}

/** Where sealed chunk `index` lies in the file, `[start, end)`. */
export function chunkRange(header: ParsedFileHeader, index: number): readonly [start: number, end: number] {
  const [start, end] = plainRange(header.plainLength, index)
  return [header.bodyOffset + start + index * tagBytes, header.bodyOffset + end + (index + 1) * tagBytes]
}

/** Throws `Refusal('bad-segment')` for a header that `parseFileHeader` would refuse. */
export function encodeFileHeader(header: FileHeader): Uint8Array {
  const { model, segment, version, device, plainLength, salt } = header
  const fields = [format, fileAlg, chunkLog2, model, segment, version, idBytes(device), plainLength, salt]
  check(fields)
  return encodeCanonical(fields)
}

export function filePrefix(encodedHeader: Uint8Array, commit: Uint8Array): Uint8Array {
  const length = Uint8Array.of(encodedHeader.length >> 8, encodedHeader.length & 0xff)
  return concat([magic, length, encodedHeader, commit])
}

/**
 * The header and commitment at the start of a file; `file` may be a prefix of it (`maxPrefixBytes` suffice). Nothing is
 * verified yet: that is `SealedFile`'s. Throws `Refusal('bad-segment')`.
 */
export function parseFileHeader(file: Uint8Array): ParsedFileHeader {
  const headerAt = magic.length + lengthBytes
  if (file.length < headerAt || !equal(file.subarray(0, magic.length), magic)) {
    throw bad('does not begin with the mark of a segment file')
  }
  const headerLength = asBuffer(file).readUInt16BE(magic.length)
  if (headerLength > maxHeaderBytes) throw bad(`has a header of ${headerLength} bytes, more than ${maxHeaderBytes}`)
  const bodyOffset = headerAt + headerLength + hashBytes
  if (file.length < bodyOffset) throw bad('ends within its header')
  const encoded = file.slice(headerAt, headerAt + headerLength)
  const commit = file.slice(headerAt + headerLength, bodyOffset)
  return { ...check(decodeHeader(encoded)), encoded, commit, bodyOffset }
}

function decodeHeader(encoded: Uint8Array): unknown {
  try {
    return decodeCanonical(encoded)
  } catch (cause) {
    throw bad('has a header that cannot be read', cause)
  }
}

function check(fields: unknown): FileHeader {
  if (!Array.isArray(fields) || fields.length !== 9) throw bad('has a header of another form')
  const [version1, alg, log2, model, segment, version, device, plainLength, salt] = fields as unknown[]
  if (version1 !== format || alg !== fileAlg || log2 !== chunkLog2) {
    throw bad(
      `is of format ${shown(version1)}, algorithm ${shown(alg)}, chunk size 2^${shown(log2)}; known is 1, 1, 2^16`,
    )
  }
  if (!isBytes(model, 16)) throw bad('names its model not by 16 bytes')
  if (typeof segment !== 'string' || segment === '' || utf8(segment).length > maxSegmentNameBytes) {
    throw bad(`has a segment name that is not 1 to ${maxSegmentNameBytes} bytes of text`)
  }
  if (!isCount(version)) throw bad('has no whole number as version')
  if (!isBytes(device, 16)) throw bad('names its device not by 16 bytes')
  if (!isCount(plainLength) || plainLength > maxPlainBytes) {
    throw bad(
      `holds ${shown(plainLength)} bytes of weights, the limit is ${maxPlainBytes}: cut the model into more segments`,
    )
  }
  if (!isBytes(salt, saltBytes)) throw bad('has no salt of 32 bytes')
  return { model, segment, version, device: deviceIdOf(device), plainLength, salt }
}

function isBytes(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function bad(what: string, cause?: unknown): Refusal {
  return new Refusal('bad-segment', `the segment file ${what}: deliver it again`, { cause })
}
