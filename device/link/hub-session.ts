/**
 * The sealed session with the hub, and what comes through it: seeds, segment keys, and for now the roots of the pairs
 * (WIRE, "Frames"). It is the first source of pair keys; the handshake between peers will be the next.
 */

import { toHex } from '#shared/bytes.js'
import type { Clock } from '#shared/clock.js'
import { openRoot, type BoxKey } from '#shared/crypto/root-box.js'
import type { Aeads } from '#shared/crypto/aead.js'
import { hubPrk, pairPrk } from '#shared/crypto/schedule.js'
import { Refusal } from '#shared/errors.js'
import { deviceIdOf, idBytes, type DeviceId, type FleetId } from '#shared/ids.js'
import { controlType, decodeControl } from '#shared/protocol/control.js'
import type { Root } from '#shared/protocol/messages.js'
import { Keyring } from '#shared/session/keyring.js'
import type { KeySource } from '#shared/session/key-source.js'
import type { PairMaterial } from '#shared/session/pair.js'

/** The salt of the device-hub session while no enrolment has given the two a secret of their own. */
export const noEnrolPsk = new Uint8Array(32)

/** The key of one segment file. */
export interface SegmentKey {
  readonly name: string
  readonly version: number
  readonly dek: Uint8Array
  readonly fileHash: Uint8Array
}

export interface RelayAccess {
  readonly host: string
  readonly port: number
  readonly token: Uint8Array
}

export interface HubSessionEvents {
  /** A peer's identity key became known. */
  onPeerKey(peer: DeviceId, key: Uint8Array): void
  onSegmentKey(key: SegmentKey): void
  onRelay(access: RelayAccess): void
}

export class HubSession implements KeySource {
  readonly boxKey: BoxKey
  readonly #options: { fleet: FleetId; self: DeviceId; bootId: Uint8Array; clock: Clock; aeads: Aeads }
  readonly #events: HubSessionEvents
  #keyring: Keyring | undefined
  #hub: DeviceId | undefined
  #box = ''
  readonly #pairSeeds = new Map<DeviceId, Uint8Array>()
  readonly #takers = new Map<DeviceId, Set<(material: PairMaterial) => void>>()
  readonly #newest = new Map<DeviceId, PairMaterial>()

  constructor(
    options: { fleet: FleetId; self: DeviceId; bootId: Uint8Array; clock: Clock; aeads: Aeads },
    boxKey: BoxKey,
    events: HubSessionEvents,
  ) {
    this.#options = options
    this.boxKey = boxKey
    this.#events = events
  }

  subscribe(peer: DeviceId, take: (material: PairMaterial) => void): () => void {
    const takers = this.#takers.get(peer) ?? new Set()
    this.#takers.set(peer, takers.add(take))
    const known = this.#newest.get(peer)
    if (known !== undefined) take(known)
    return () => takers.delete(take)
  }

  /** The hub opens (or opens again) the session with this boot of ours. Throws `Refusal` for a box that is not for it. */
  opened(hub: DeviceId, root: Root): void {
    const { fleet, self, bootId, clock, aeads } = this.#options
    if (toHex(root.bootId) !== toHex(bootId)) return // for an earlier boot of this device
    const box = toHex(root.box)
    if (box === this.#box) return
    const secret = openRoot(root.box, root.ephemeral, this.boxKey, {
      fleet: idBytes(fleet),
      device: idBytes(self),
      bootId,
      epoch: root.epoch,
      ordinal: root.ordinal,
    })
    if (this.#hub !== hub) this.#keyring?.erase()
    if (this.#hub !== hub || this.#keyring === undefined) {
      this.#keyring = new Keyring({ fleet, self, peer: hub, clock, aeads })
      this.#hub = hub
    }
    this.#keyring.add({
      peer: hub,
      epoch: root.epoch,
      ordinal: root.ordinal,
      alg: root.alg,
      prk: hubPrk(noEnrolPsk, secret),
    })
    this.#keyring.use(root.epoch)
    secret.fill(0)
    this.#box = box
  }

  /** A control frame from the hub. Throws `Refusal` when it does not open or is none that a hub sends. */
  receive(frame: Uint8Array): void {
    if (this.#keyring === undefined) {
      throw new Refusal('stale-epoch', 'a frame from the hub came before the session with it was opened')
    }
    const { purpose, plaintext } = this.#keyring.open(frame)
    if (purpose !== 2) throw new Refusal('not-allowed', 'the hub sends control frames only')
    const message = decodeControl(plaintext)
    switch (message[0]) {
      case controlType.seed: {
        const [, , , , pairs] = message
        for (const [peer, seed] of pairs) this.#pairSeeds.set(deviceIdOf(peer), seed)
        return
      }
      case controlType.root: {
        const [, peerBytes, , ownBoot, epoch, ordinal, alg, root, peerKey] = message
        if (toHex(ownBoot) !== toHex(this.#options.bootId)) return
        const peer = deviceIdOf(peerBytes)
        const seed = this.#pairSeeds.get(peer)
        if (seed === undefined) throw new Refusal('bad-message', `a pair root for ${peer} without the seed of the pair`)
        const known = this.#newest.get(peer)
        if (known !== undefined && known.epoch === epoch && known.ordinal === ordinal) return
        const material: PairMaterial = { peer, epoch, ordinal, alg, prk: pairPrk(seed, root) }
        root.fill(0)
        known?.prk.fill(0)
        this.#newest.set(peer, material)
        this.#events.onPeerKey(peer, peerKey)
        for (const take of this.#takers.get(peer) ?? []) take(material)
        return
      }
      case controlType.dek: {
        const [, name, version, dek, fileHash] = message
        this.#events.onSegmentKey({ name, version, dek, fileHash })
        return
      }
      case controlType.relay: {
        const [, host, port, token] = message
        this.#events.onRelay({ host, port, token })
        return
      }
      default:
        throw new Refusal('not-allowed', `control message ${message[0]}, which a hub does not send`)
    }
  }

  close(): void {
    this.#keyring?.erase()
    for (const seed of this.#pairSeeds.values()) seed.fill(0)
    for (const { prk } of this.#newest.values()) prk.fill(0)
  }
}
