/**
 * The peers of a member: who they are by the live plan, the keys shared with each, and the way frames take to each: the
 * direct link where the two reach each other, else the relay (D4).
 */

import type { Cancel, Clock } from '#shared/clock.js'
import type { Aeads } from '#shared/crypto/aead.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import type { Window } from '#shared/session/backlog.js'
import { Channel, type ChannelEvents, type LinkKind } from '#shared/session/channel.js'
import type { KeySource } from '#shared/session/key-source.js'
import type { PairMaterial } from '#shared/session/pair.js'
import { Keyring } from '#shared/session/keyring.js'
import type { RequestKey } from '#shared/session/requests.js'
import { adopt } from './adopt.js'
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

/** What a peer that is one no longer had not settled. */
export interface Unsettled {
  readonly peer: DeviceId
  readonly requests: readonly RequestKey[]
}

interface Peer {
  readonly channel: Channel
  readonly keyring: Keyring
  readonly unsubscribe: () => void
  hasKeys: boolean
  addresses: readonly Address[]
  cancelRelay: Cancel
}

export class Peers {
  readonly #options: PeersOptions
  readonly #peers = new Map<DeviceId, Peer>()
  /**
   * By everybody who ever was a peer of this process: who becomes one again goes on with the same counters, or a nonce
   * would serve twice.
   */
  readonly #keyrings = new Map<DeviceId, Keyring>()
  readonly #direct: DirectLinks
  #relay: RelayLink | undefined
  #ownAddresses: readonly Address[] = []
  #sources: ReadonlySet<DeviceId> = new Set()

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

  /**
   * The peers of the live plan are these: channels to others end. Returns the requests that those had not settled, for a
   * stage that goes on without them.
   */
  set(peers: ReadonlySet<DeviceId>, sources: ReadonlySet<DeviceId>): Unsettled[] {
    this.#sources = sources
    const unsettled: Unsettled[] = []
    for (const [id, peer] of this.#peers) {
      if (peers.has(id)) continue
      this.#peers.delete(id)
      this.#direct.hangUp(id)
      unsettled.push({ peer: id, requests: end(peer) })
    }
    for (const id of peers) if (!this.#peers.has(id)) this.#add(id)
    return unsettled
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

  /** There is a relay; frames take it where no direct link does. */
  useRelay(relay: RelayLink): void {
    this.#relay = relay
    relay.onFrame((from, frame) => this.#receive(from, frame))
    relay.onOk((from, frame) => this.#receive(from, frame))
    relay.onOnline(() => {
      // What the connection before had under way may be lost.
      for (const [id, { channel }] of this.#peers) if (channel.link === 'relay') this.#attachRelay(id, relay, channel)
    })
    for (const [id, peer] of this.#peers) this.#connect(id, peer)
  }

  async close(): Promise<void> {
    const peers = [...this.#peers.values()]
    this.#peers.clear() // a link that ends now is replaced by no other
    for (const peer of peers) end(peer)
    for (const keyring of this.#keyrings.values()) keyring.erase()
    await this.#direct.close()
    await this.#relay?.close()
  }

  #add(id: DeviceId): void {
    const { fleet, self, clock, aeads, window, events, keySource } = this.#options
    const keyring = this.#keyrings.get(id) ?? new Keyring({ fleet, self, peer: id, clock, aeads })
    this.#keyrings.set(id, keyring)
    const channel = new Channel({ peer: id, keyring, clock, window, events })
    let unsubscribe = (): void => {}
    const peer: Peer = {
      channel,
      keyring,
      unsubscribe: () => unsubscribe(),
      hasKeys: false,
      addresses: [],
      cancelRelay: () => {},
    }
    this.#peers.set(id, peer)
    unsubscribe = keySource.subscribe(id, (material) => this.#install(peer, material))
  }

  #install(peer: Peer, material: PairMaterial): void {
    adopt(peer.keyring, material)
    peer.hasKeys = true
    this.#direct.renew(material.peer)
    peer.channel.renewed(material)
    this.#connect(material.peer, peer)
  }

  /** Of two that can both be dialled the one that takes the other's activations dials: see the transport. */
  #connect(id: DeviceId, peer: Peer): void {
    const { mode, clock } = this.#options
    peer.cancelRelay()
    if (!peer.hasKeys) return
    if (mode === 'relay') {
      this.#takeRelay(id)
      return
    }
    const dialsUs = this.#ownAddresses.length > 0 && (peer.addresses.length === 0 || !this.#sources.has(id))
    if (!dialsUs) this.#direct.dial(id, peer.addresses)
    if (mode === 'auto' && (dialsUs || peer.addresses.length === 0)) {
      peer.cancelRelay = clock.after(relayAfterMs, () => this.#takeRelay(id))
    }
  }

  #takeRelay(id: DeviceId): void {
    const peer = this.#peers.get(id)
    const { mode } = this.#options
    if (peer === undefined || this.#relay === undefined || mode === 'direct') return
    if (this.#direct.isUp(id) || peer.channel.link === 'relay') return
    this.#attachRelay(id, this.#relay, peer.channel)
    this.#tellLink(id)
  }

  #attachRelay(id: DeviceId, relay: RelayLink, channel: Channel): void {
    channel.attach(new RelayCarrier(relay, id, channel))
  }

  #tellLink(id: DeviceId): void {
    const peer = this.#peers.get(id)
    if (peer !== undefined) this.#options.onLink(id, peer.channel.link)
  }

  #receive(from: DeviceId, frame: Uint8Array): void {
    try {
      const unwanted = this.channel(from).receive(frame)
      if (unwanted !== undefined) this.#options.onRefused(unwanted, from)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.#options.onRefused(error, from)
    }
  }
}

function end(peer: Peer): RequestKey[] {
  peer.cancelRelay()
  peer.unsubscribe()
  return peer.channel.close()
}
