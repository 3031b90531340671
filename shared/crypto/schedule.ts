/**
 * The key schedule of FKE/1 (section 3.4): every derived key of Tessera, each with its label and the facts it is bound
 * to. What comes in as `prk` is 32 uniform bytes, so that one call of `kdf` is one HMAC: an HSM can make it.
 */

import { utf8 } from '../bytes.js'
import { encodeCanonical } from '../cbor.js'
import { type DeviceId, type FleetId, idBytes } from '../ids.js'
import { expand, extract, hmac, sha256 } from './hash.js'

export { extract } from './hash.js'

/** Every label there is. On the wire and in the hashes they carry the protocol's prefix, which never changes. */
export const labels = {
  devSeed: 'ednn/1/dev-seed',
  pairSeed: 'ednn/1/pair-seed',
  escrow: 'ednn/1/escrow',
  traffic: 'ednn/1/traffic',
  trafficIv: 'ednn/1/traffic-iv',
  ratchet: 'ednn/1/ratchet',
  contribution: 'ednn/1/nbr',
  shareBox: 'ednn/1/share-box',
  zz: 'ednn/1/zz',
  kek: 'ednn/1/kek',
  kekCommit: 'ednn/1/kek-commit',
  file: 'ednn/1/file',
  fileCommit: 'ednn/1/file-commit',
  proximity: 'ednn/1/prox',
} as const

export type Label = (typeof labels)[keyof typeof labels]

/** HKDF-Expand bound to a label, a context and the length: `KDF` of FKE/1. `length` in bytes. */
export function kdf(prk: Uint8Array, label: Label, context: readonly unknown[], length = 32): Uint8Array {
  return expand(prk, encodeCanonical([label, context, length]), length)
}

/** The message whose HMAC under `prk` is `kdf(prk, label, context)`: what a `SeedBackend` is asked to authenticate. */
function kdfMessage(label: Label, context: readonly unknown[]): Uint8Array {
  return Uint8Array.of(...encodeCanonical([label, context, 32]), 1)
}

// Seeds: made by the hub's seed back end, one HMAC each under the master seed.

export interface DevSeedFacts {
  readonly fleet: FleetId
  readonly device: DeviceId
  readonly epoch: number
  /** The zone the hub has registered for the device. */
  readonly zone: string
}

export function devSeedMessage({ fleet, device, epoch, zone }: DevSeedFacts): Uint8Array {
  return kdfMessage(labels.devSeed, [idBytes(fleet), idBytes(device), epoch, zone])
}

export function devSeed(masterSeed: Uint8Array, facts: DevSeedFacts): Uint8Array {
  return hmac(masterSeed, devSeedMessage(facts))
}

export interface PairSeedFacts {
  readonly fleet: FleetId
  /** The two ends, in any order: the lower id goes first into the derivation. */
  readonly devices: readonly [DeviceId, DeviceId]
  readonly epoch: number
}

export function pairSeedMessage({ fleet, devices: [a, b], epoch }: PairSeedFacts): Uint8Array {
  const [low, high] = a < b ? [a, b] : [b, a]
  return kdfMessage(labels.pairSeed, [idBytes(fleet), idBytes(low), idBytes(high), epoch])
}

export function pairSeed(masterSeed: Uint8Array, facts: PairSeedFacts): Uint8Array {
  return hmac(masterSeed, pairSeedMessage(facts))
}

export interface EscrowFacts {
  readonly fleet: FleetId
  readonly device: DeviceId
  readonly segment: string
  readonly version: number
}

export function escrowKekMessage({ fleet, device, segment, version }: EscrowFacts): Uint8Array {
  return kdfMessage(labels.escrow, [idBytes(fleet), idBytes(device), segment, version])
}

export function escrowKek(masterSeed: Uint8Array, facts: EscrowFacts): Uint8Array {
  return hmac(masterSeed, escrowKekMessage(facts))
}

// Pair sessions.

/** Both the hub's seed and the handshake's root (with the ML-KEM secret, where used) must fall to lose this. */
export function pairPrk(seed: Uint8Array, pairRoot: Uint8Array, mlkemSecret?: Uint8Array): Uint8Array {
  return mlkemSecret === undefined ? extract(seed, pairRoot) : extract(seed, pairRoot, mlkemSecret)
}

/** The same for a device and its hub, which share the enrolment secret in place of a seed. */
export function hubPrk(enrolPsk: Uint8Array, pairRoot: Uint8Array): Uint8Array {
  return extract(enrolPsk, pairRoot)
}

export interface TrafficFacts {
  /** 1 activations, 2 control, 3 unlock. */
  readonly purpose: number
  readonly fleet: FleetId
  readonly epoch: number
  /** How many times the session was ratcheted; whole, not mod 256 as in the frame. */
  readonly ratchet: number
  readonly from: DeviceId
  readonly to: DeviceId
}

/** The 32-byte key of one direction and purpose. */
export function trafficKey(prk: Uint8Array, facts: TrafficFacts): Uint8Array {
  return kdf(prk, labels.traffic, trafficContext(facts))
}

/** The 12 bytes that the sequence number is XORed into to give a frame's nonce. */
export function trafficIv(prk: Uint8Array, facts: TrafficFacts): Uint8Array {
  return kdf(prk, labels.trafficIv, trafficContext(facts), 12)
}

function trafficContext({ purpose, fleet, epoch, ratchet, from, to }: TrafficFacts): readonly unknown[] {
  return [purpose, idBytes(fleet), epoch, ratchet, idBytes(from), idBytes(to)]
}

/** The PRK after one more ratchet, `next` being its number (from 1). There is no way back: erase the old one. */
export function ratchet(prk: Uint8Array, facts: { fleet: FleetId; epoch: number; next: number }): Uint8Array {
  return kdf(prk, labels.ratchet, [idBytes(facts.fleet), facts.epoch, facts.next])
}

/** The context that binds both ends' evidence into the key by EDHOC_KeyUpdate (FKE 3.3, step 5). */
export function proximityContext(facts: {
  fleet: FleetId
  epoch: number
  /** CBOR of the evidence of the initiator and of the responder. */
  evidenceI: Uint8Array
  evidenceR: Uint8Array
}): Uint8Array {
  const bound = encodeCanonical([idBytes(facts.fleet), facts.epoch, facts.evidenceI, facts.evidenceR])
  return sha256(utf8(labels.proximity), bound)
}

// Unlock (FKE 5).

/** What a neighbour gives to `requester`, and to nobody else, from its own secret `neighbourKey` (NK). */
export function contribution(
  neighbourKey: Uint8Array,
  facts: {
    fleet: FleetId
    requester: DeviceId
    segment: string
    version: number
    epoch: number
    /** The zone the neighbour vouches for. */
    zone: string
    bindId: Uint8Array
  },
): Uint8Array {
  const { fleet, requester, segment, version, epoch, zone, bindId } = facts
  const context = [idBytes(fleet), idBytes(requester), segment, version, epoch, zone, bindId]
  return kdf(neighbourKey, labels.contribution, context)
}

/** Seals one Shamir share: used once, hence with a zero nonce. */
export function shareBoxKey(given: Uint8Array, bindHeader: Uint8Array): Uint8Array {
  return kdf(given, labels.shareBox, [sha256(bindHeader)])
}

/** The message whose HMAC under the device's root key is `zz`: what a TPM is asked for. */
export function zzMessage(facts: { fleet: FleetId; device: DeviceId; epoch: number }): Uint8Array {
  return encodeCanonical([labels.zz, idBytes(facts.fleet), idBytes(facts.device), facts.epoch])
}

/** The device's own factor of its key-encryption key. */
export function zz(deviceRoot: Uint8Array, facts: { fleet: FleetId; device: DeviceId; epoch: number }): Uint8Array {
  return hmac(deviceRoot, zzMessage(facts))
}

/** The three factors of an unlock in one: the hub's seed, the device's root, the neighbours' secret `S`. */
export function kekPrk(seed: Uint8Array, deviceFactor: Uint8Array, neighbourSecret: Uint8Array): Uint8Array {
  return extract(seed, deviceFactor, neighbourSecret)
}

/** Wraps the content key (DEK) of a segment. */
export function kek(prk: Uint8Array, bindHeader: Uint8Array): Uint8Array {
  return kdf(prk, labels.kek, [sha256(bindHeader)])
}

/** Commits to the KEK: the ciphers used here do not commit to their keys. */
export function kekCommit(prk: Uint8Array, bindHeader: Uint8Array): Uint8Array {
  return kdf(prk, labels.kekCommit, [sha256(bindHeader)])
}

// Weights files (FKE 8).

export function filePrk(salt: Uint8Array, contentKey: Uint8Array): Uint8Array {
  return extract(salt, contentKey)
}

/** Seals the chunks of one file. `header` is its encoded header, magic and length excluded. */
export function fileKey(prk: Uint8Array, header: Uint8Array): Uint8Array {
  return kdf(prk, labels.file, [sha256(header)])
}

/** Commits to the file's key and header; stands in clear before the chunks. */
export function fileCommit(prk: Uint8Array, header: Uint8Array): Uint8Array {
  return kdf(prk, labels.fileCommit, [sha256(header)])
}
