/**
 * The 16 clear bytes before every sealed frame (FKE 3.5), authenticated as associated data:
 * `E1 | purpose | alg | ratchet mod 256 | epoch u32 | seq u64`, big-endian; the top 16 bits of `seq` are the pair session's
 * ordinal within the epoch (WIRE, "Frames"), the other 48 its counter. Then ciphertext and a 16-byte tag.
 */

import { Refusal } from '../errors.js'

/** What a frame carries, and so which key it is under: 1 activations, 2 control, 3 unlock. */
export type Purpose = 1 | 2 | 3

export const purposes = [1, 2, 3] as const

export interface FrameHeader {
  readonly purpose: Purpose
  /** 1 AES-256-GCM, 2 ChaCha20-Poly1305. */
  readonly alg: 1 | 2
  /** How often the session was ratcheted, modulo 256. */
  readonly ratchet: number
  /** The key epoch, 32 bits. */
  readonly epoch: number
  /** Which of the sessions of this pair in this epoch, 16 bits. */
  readonly ordinal: number
  /** Counts the frames of one session, direction and purpose from 0; 48 bits; never goes back. */
  readonly counter: number
}

export const headerBytes = 16
/** Header and tag: what a frame is longer than its plaintext. */
export const frameOverhead = headerBytes + 16
/** 64 MiB: the largest frame that is sealed, sent or read; bounds what one sender can make a receiver hold. */
export const maxFrameBytes = 64 * 2 ** 20
export const maxEpoch = 2 ** 32 - 1
export const maxOrdinal = 2 ** 16 - 1
export const maxCounter = 2 ** 48 - 1

const mark = 0xe1

/** The header's bytes, in a fresh array. Throws `RangeError`, as only a bug can be the cause, for a field out of range. */
export function encodeHeader(header: FrameHeader): Uint8Array<ArrayBuffer> {
  const { purpose, alg, ratchet, epoch, ordinal, counter } = header
  if (!isPurpose(purpose) || !isAlg(alg)) throw new RangeError(`no frame has purpose ${purpose} and algorithm ${alg}`)
  checkRange('ratchet', ratchet, 255)
  checkRange('epoch', epoch, maxEpoch)
  checkRange('ordinal', ordinal, maxOrdinal)
  checkRange('counter', counter, maxCounter)
  const bytes = new Uint8Array(headerBytes)
  const view = new DataView(bytes.buffer)
  bytes[0] = mark
  bytes[1] = purpose
  bytes[2] = alg
  bytes[3] = ratchet
  view.setUint32(4, epoch)
  view.setUint16(8, ordinal)
  view.setUint16(10, Math.floor(counter / 2 ** 32))
  view.setUint32(12, counter % 2 ** 32)
  return bytes
}

/**
 * The header of a frame, of which at least the overhead must be there. Nothing is authentic yet.
 * Throws `Refusal('bad-message')` for bytes that are no frame, `Refusal('over-limit')` for a frame of more than 64 MiB.
 */
export function decodeHeader(frame: Uint8Array): FrameHeader {
  if (frame.length > maxFrameBytes) {
    throw new Refusal('over-limit', `a frame has ${frame.length} bytes, the limit is ${maxFrameBytes}: cut elsewhere`)
  }
  const [start, purpose, alg, ratchet] = frame
  if (frame.length < frameOverhead || start !== mark || !isPurpose(purpose) || !isAlg(alg) || ratchet === undefined) {
    throw new Refusal('bad-message', `${frame.length} bytes that do not begin as a frame does`)
  }
  const view = new DataView(frame.buffer, frame.byteOffset, headerBytes)
  return {
    purpose,
    alg,
    ratchet,
    epoch: view.getUint32(4),
    ordinal: view.getUint16(8),
    counter: view.getUint16(10) * 2 ** 32 + view.getUint32(12),
  }
}

function isPurpose(value: number | undefined): value is Purpose {
  return value === 1 || value === 2 || value === 3
}

function isAlg(value: number | undefined): value is 1 | 2 {
  return value === 1 || value === 2
}

function checkRange(name: string, value: number, max: number): void {
  if (!(Number.isInteger(value) && value >= 0 && value <= max)) {
    throw new RangeError(`${name} ${value} is no whole number up to ${max}`)
  }
}

/** The counter in a header that we made ourselves: its last 48 bits. */
export function counterOf(header: Uint8Array): number {
  const view = new DataView(header.buffer, header.byteOffset)
  return view.getUint16(10) * 2 ** 32 + view.getUint32(12)
}
