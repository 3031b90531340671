/**
 * The peers of a member: who they are by the live plan, the keys shared with each, and the way frames take to each: the
 * direct link where the two reach each other, else the relay (D4).
 */

import type { Clock } from '#shared/clock.js'
import type { Aeads } from '#shared/crypto/aead.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import type { Window } from '#shared/session/backlog.js'
import { Channel, type ChannelEvents, type LinkKind } from '#shared/session/channel.js'
import type { KeySource } from '#shared/session/key-source.js'
import type { PairMaterial } from '#shared/session/pair.js'
import { Keyring } from '#shared/session/keyring.js'
import { DirectLinks } from './direct.js'
import type { RelayLink } from './relay.js'
import { RelayCarrier } from './relay-carrier.js'
import type { Address, Transport } from './transport.js'

/** `auto`: direct where it works, relay meanwhile and elsewhere. */
export type LinkMode = 'auto' | 'direct' | 'relay'

/** In `auto`, frames take the relay after so many failures to dial; direct is still tried, and taken when it works. */
export const relayAfterFailures = 2
/** In `auto`, a peer that should dial us gets so long before frames take the relay. */
export const relayAfterMs = 1000

export interface PeersOptions {
  readonly fleet: FleetId
  readonly self: DeviceId
  readonly bootId: Uint8Array
  readonly clock: Clock
  readonly aeads: Aeads
  readonly mode: LinkMode
  readonly transport: Transport
  readonly keySource: KeySource
  readonly window: Window
  readonly events: ChannelEvents
  readonly onRefused: (reason: Refusal, peer: DeviceId | undefined) => void
  readonly onLink: (peer: DeviceId, link: LinkKind | 'none') => void
}

interface Peer {
  readonly channel: Channel
  readonly keyring: Keyring
  readonly unsubscribe: () => void
  hasKeys: boolean
  addresses: readonly Address[]
}

export class Peers {
  readonly #options: PeersOptions
  readonly #peers = new Map<DeviceId, Peer>()
  readonly #direct: DirectLinks
  #relay: RelayLink | undefined
  #ownAddresses: readonly Address[] = []

  constructor(options: PeersOptions) {
    this.#options = options
    this.#direct = new DirectLinks({
      self: options.self,
      bootId: options.bootId,
      clock: options.clock,
      transport: options.transport,
      channelOf: (peer) => this.#peers.get(peer)?.channel,
      onRefused: options.onRefused,
      onChange: (peer, isUp) => {
        if (!isUp) this.#takeRelay(peer)
        this.#tellLink(peer)
      },
      onFailure: (peer, failures) => {
        if (failures >= relayAfterFailures) this.#takeRelay(peer)
      },
    })
  }

  /** Starts to take direct connections, unless only the relay is wanted; returns the addresses to tell peers. */
  async listen(): Promise<readonly Address[]> {
    if (this.#options.mode === 'relay') return []
    this.#ownAddresses = await this.#direct.listen()
    return this.#ownAddresses
  }

  /** The peers of the live plan are these: channels to others end. */
  set(peers: ReadonlySet<DeviceId>): void {
    for (const [id, peer] of this.#peers) {
      if (peers.has(id)) continue
      this.#peers.delete(id)
      this.#direct.hangUp(id)
      peer.unsubscribe()
      peer.channel.close()
    }
    for (const id of peers) {
      if (this.#peers.has(id)) continue
      const { fleet, self, clock, aeads, window, events } = this.#options
      const keyring = new Keyring({ fleet, self, peer: id, clock, aeads })
      const channel = new Channel({ peer: id, keyring, clock, window, events })
      const peer: Peer = { channel, keyring, unsubscribe: () => unsubscribe(), hasKeys: false, addresses: [] }
      this.#peers.set(id, peer)
      const unsubscribe = this.#options.keySource.subscribe(id, (material) => this.#install(peer, material))
    }
  }

  /** The channel to a peer of the live plan; throws `Refusal('unknown-sender')` for anybody else. */
  channel(peer: DeviceId): Channel {
    const known = this.#peers.get(peer)
    if (known === undefined) throw new Refusal('unknown-sender', `${peer} is no peer of this plan`)
    return known.channel
  }

  all(): Channel[] {
    return [...this.#peers.values()].map((peer) => peer.channel)
  }

  /** Peers of the live plan with which no keys are shared yet. */
  withoutKeys(): DeviceId[] {
    return [...this.#peers].filter(([, peer]) => !peer.hasKeys).map(([id]) => id)
  }

  /** A peer says where it can be reached. */
  reachableAt(id: DeviceId, addresses: readonly Address[]): void {
    const peer = this.#peers.get(id)
    if (peer === undefined) return
    peer.addresses = addresses
    this.#connect(id, peer)
  }

  /** The relay connection is there; frames take it where no direct link does. */
  useRelay(relay: RelayLink): void {
    this.#relay = relay
    relay.onFrame((from, frame) => this.#receive(from, frame))
    relay.onOk((from, frame) => this.#receive(from, frame))
    for (const id of this.#peers.keys()) if (this.#options.mode === 'relay') this.#takeRelay(id)
  }

  async close(): Promise<void> {
    const peers = [...this.#peers.values()]
    this.#peers.clear() // a link that ends now is replaced by no other
    for (const peer of peers) {
      peer.unsubscribe()
      peer.channel.close()
    }
    await this.#direct.close()
    await this.#relay?.close()
  }

  #install(peer: Peer, material: PairMaterial): void {
    peer.keyring.add(material)
    peer.keyring.use(material.epoch)
    peer.hasKeys = true
    peer.channel.renewed()
    this.#direct.renew(material.peer)
    this.#connect(material.peer, peer)
  }

  /** Of two that can both be dialled the lower id dials, so that they do not meet half-way. */
  #connect(id: DeviceId, peer: Peer): void {
    const { mode, self, clock } = this.#options
    if (!peer.hasKeys) return
    if (mode === 'relay') {
      this.#takeRelay(id)
      return
    }
    const dialsUs = this.#ownAddresses.length > 0 && (peer.addresses.length === 0 || id < self)
    if (!dialsUs) {
      this.#direct.dial(id, peer.addresses)
    } else if (mode === 'auto') {
      clock.after(relayAfterMs, () => this.#takeRelay(id))
    }
  }

  #takeRelay(id: DeviceId): void {
    const peer = this.#peers.get(id)
    const { mode } = this.#options
    if (peer === undefined || this.#relay === undefined || mode === 'direct') return
    if (this.#direct.isUp(id) || peer.channel.link === 'relay') return
    peer.channel.attach(new RelayCarrier(this.#relay, id, peer.channel))
    this.#tellLink(id)
  }

  #tellLink(id: DeviceId): void {
    const peer = this.#peers.get(id)
    if (peer !== undefined) this.#options.onLink(id, peer.channel.link)
  }

  #receive(from: DeviceId, frame: Uint8Array): void {
    try {
      this.channel(from).receive(frame)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.#options.onRefused(error, from)
    }
  }
}
