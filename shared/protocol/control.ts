/**
 * What two parties say inside sealed control frames (p = 2): CBOR arrays whose first item is the type (FKE 3.9; types
 * from 64 on are ours). One table of shapes; an unknown type or a wrong field is refused.
 */

import { z } from 'zod'
import { decodeCanonical, encodeCanonical } from '../cbor.js'
import { Refusal } from '../errors.js'
import { bytes, bytesUpTo, text, uint } from './messages.js'

/** Other ends of the edges of one member, clients included: as many pair seeds fit into a control frame. */
export const maxPeers = 80

const alg = z.union([z.literal(1), z.literal(2)])
const epoch = z.int().min(0).max(0xffffffff)
const ordinal = z.int().min(0).max(0xffff)
/** Requests of one run of one client: client id, its bootId, request numbers. */
const requests = z.tuple([bytes(16), bytes(8), z.array(uint).max(1024)])

/** The largest filling of a probe: it bounds what one probe costs a link. */
export const maxProbeBytes = 1 << 20

const shapes = {
  /** Hub to device: the epoch's seeds; the pair seeds by peer. */
  seed: z.tuple([z.literal(1), epoch, uint, bytes(32), z.array(z.tuple([bytes(16), bytes(32)])).max(maxPeers)]),
  /** Hub to device: the key of a segment file, with the SHA-256 of the file that it opens. */
  dek: z.tuple([z.literal(2), text(64), uint, bytes(32), bytes(32)]),
  /** Both: the pair ratchets on; the old step is still received for 2 s. */
  ratchet: z.tuple([z.literal(6), bytes(16), uint]),
  /**
   * Hub to device, until peers run EDHOC: the PairRoot drawn for one pair and its pair of bootIds, with the peer's Ed25519
   * key. Fields: peer, peer's bootId, own bootId, epoch, ordinal, alg, PairRoot, key of the peer.
   */
  root: z.tuple([z.literal(64), bytes(16), bytes(8), bytes(8), epoch, ordinal, alg, bytes(32), bytes(32)]),
  /** First frame on a direct link, both ways: own bootId, counter of the next p = 1 frame. */
  hello: z.tuple([z.literal(65), bytes(8), uint]),
  /**
   * Receiver to sender of activations: counter below which every frame has left the receiver's queue, window in frames
   * and bytes for those at or above it, and the requests that are settled downstream.
   */
  flow: z.tuple([z.literal(66), uint, uint, uint, z.array(requests).max(256)]),
  /** Hub to device: where the relay broker is and the token that opens it. */
  relay: z.tuple([z.literal(67), text(255), z.int().min(0).max(65535), bytes(32)]),
  /** To a peer, while the hub has both measure their link: the probe's number, and bytes that only have to get there. */
  probe: z.tuple([z.literal(68), uint, bytesUpTo(maxProbeBytes)]),
  /** The answer: the probe's number, and the nanoseconds that opening it took. */
  echo: z.tuple([z.literal(69), uint, uint]),
} as const

export type ControlName = keyof typeof shapes
export type Control<N extends ControlName = ControlName> = z.infer<(typeof shapes)[N]>

export const controlType = {
  seed: 1,
  dek: 2,
  ratchet: 6,
  root: 64,
  hello: 65,
  flow: 66,
  relay: 67,
  probe: 68,
  echo: 69,
} as const

const byType = new Map<unknown, z.ZodType<Control>>(
  Object.entries(shapes).map(([name, shape]) => [controlType[name as ControlName], shape]),
)

export function encodeControl(message: Control): Uint8Array {
  return encodeCanonical(message)
}

/** Reads one control message; throws `Refusal('bad-message')` for anything that is not exactly one of the table. */
export function decodeControl(plaintext: Uint8Array): Control {
  const value = decodeCanonical(plaintext)
  const shape = Array.isArray(value) ? byType.get(value[0]) : undefined
  if (shape === undefined) throw new Refusal('bad-message', 'control message of an unknown type')
  const read = shape.safeParse(value)
  if (!read.success) {
    const issue = read.error.issues[0]!
    throw new Refusal(
      'bad-message',
      `control message ${String((value as unknown[])[0])}: field ${issue.path.join('.')} ${issue.message}`,
    )
  }
  return read.data
}
