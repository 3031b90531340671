/**
 * The sealed session with the hub, and what comes through it: seeds, segment keys, and the roots of the pairs that
 * the hub has drawn (WIRE, "Frames").
 */

import { toHex, wipe } from '#shared/bytes.js'
import type { Clock } from '#shared/clock.js'
import { openRoot, type BoxKey } from '#shared/crypto/root-box.js'
import type { Aeads } from '#shared/crypto/aead.js'
import { hubPrk, pairPrk } from '#shared/crypto/schedule.js'
import { Refusal } from '#shared/errors.js'
import { deviceIdOf, idBytes, type DeviceId, type FleetId } from '#shared/ids.js'
import { controlType, decodeControl, type Control } from '#shared/protocol/control.js'
import type { Root } from '#shared/protocol/messages.js'
import { Keyring } from '#shared/session/keyring.js'
import type { KeySource } from '#shared/session/key-source.js'
import type { PairMaterial } from '#shared/session/pair.js'
import { adopt } from './adopt.js'

/** The salt of the device-hub session while no enrolment has given the two a secret of their own. */
export const noEnrolPsk = new Uint8Array(32)

const noSeed = new Uint8Array(0)

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
  readonly onPeerKey: (peer: DeviceId, key: Uint8Array) => void
  readonly onSegmentKey: (key: SegmentKey) => void
  readonly onRelay: (access: RelayAccess) => void
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
    const prk = hubPrk(noEnrolPsk, secret)
    if (this.#hub !== hub || this.#keyring === undefined) {
      this.#keyring?.erase()
      this.#keyring = new Keyring({ fleet, self, peer: hub, clock, aeads })
      this.#hub = hub
    }
    try {
      adopt(this.#keyring, { peer: hub, epoch: root.epoch, ordinal: root.ordinal, alg: root.alg, prk })
    } finally {
      wipe(secret, prk)
    }
    this.#box = box
  }

  /** A control frame from the hub. Throws `Refusal` when it does not open or is none that a hub sends. */
  receive(frame: Uint8Array): void {
    if (this.#keyring === undefined) {
      throw new Refusal('stale-epoch', 'a frame from the hub came before the session with it was opened')
    }
    const { purpose, plaintext } = this.#keyring.open(frame)
    if (purpose !== 2) throw new Refusal('not-allowed', 'the hub sends control frames only')
    const message = decodeControl(plaintext) // with copies of all bytes
    wipe(plaintext)
    this.#obey(message)
  }

  #obey(message: Control): void {
    switch (message[0]) {
      case controlType.seed: {
        const [, , , devSeed, pairs] = message
        wipe(devSeed) // nothing is bound to it yet
        for (const [id, seed] of pairs) {
          const peer = deviceIdOf(id)
          wipe(this.#pairSeeds.get(peer) ?? noSeed)
          this.#pairSeeds.set(peer, seed)
        }
        return
      }
      case controlType.root: {
        this.#takeRoot(message)
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
      case controlType.ratchet:
      case controlType.hello:
      case controlType.flow:
      case controlType.probe:
      case controlType.echo:
        throw new Refusal('not-allowed', `control message ${message[0]}, which a hub does not send`)
    }
  }

  /** A root that is for another boot of ours, or no newer than the newest, changes nothing. */
  #takeRoot([, peerBytes, , ownBoot, epoch, ordinal, alg, root, peerKey]: Control<'root'>): void {
    const peer = deviceIdOf(peerBytes)
    const known = this.#newest.get(peer)
    const isNewer = known === undefined || epoch > known.epoch || (epoch === known.epoch && ordinal > known.ordinal)
    try {
      if (toHex(ownBoot) !== toHex(this.#options.bootId) || !isNewer) return
      const seed = this.#pairSeeds.get(peer)
      if (seed === undefined) throw new Refusal('bad-message', `a pair root for ${peer} without the seed of the pair`)
      this.#newest.set(peer, { peer, epoch, ordinal, alg, prk: pairPrk(seed, root) })
    } finally {
      wipe(root)
    }
    if (known !== undefined) wipe(known.prk)
    this.#events.onPeerKey(peer, peerKey)
    for (const take of this.#takers.get(peer) ?? []) take(this.#newest.get(peer)!)
  }

  close(): void {
    this.#keyring?.erase()
    for (const seed of this.#pairSeeds.values()) wipe(seed)
    for (const { prk } of this.#newest.values()) wipe(prk)
    this.#takers.clear()
    this.#newest.clear()
    this.#pairSeeds.clear()
  }
}
