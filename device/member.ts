/**
 * What every member of a fleet does, with a stage or without: connects to the hub, introduces itself, holds the sealed
 * session with the hub and the channels to its peers, and asks again for what it misses.
 */

import { cpus, totalmem } from 'node:os'
import { createRequire } from 'node:module'
import { equal } from '#shared/bytes.js'
import { every, type Cancel, type Clock } from '#shared/clock.js'
import type { Aeads } from '#shared/crypto/aead.js'
import type { Identity } from '#shared/crypto/identity.js'
import { newBoxKey } from '#shared/crypto/root-box.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import type { Assignment, Birth } from '#shared/protocol/messages.js'
import type { Measure } from '#shared/protocol/measuring.js'
import type { Random } from '#shared/random.js'
import { version } from '#shared/version.js'
import { defaultWindow, type Channel, type ChannelEvents, type LinkKind } from '#shared/session/channel.js'
import { connectControl, type Control } from './link/control.js'
import { HubSession, type RelayAccess, type SegmentKey } from './link/hub-session.js'
import { Peers, type LinkMode, type Unsettled } from './link/peers.js'
import { openRelayLink, type RelayLink } from './link/relay.js'
import type { Address, Transport } from './link/transport.js'
import type { Duplex } from 'node:stream'

/** How often a member looks whether it misses something that it was promised; pauses double up to the second number. */
const askAgainMs = [500, 8000] as const

export interface MemberOptions {
  readonly fleet: FleetId
  readonly id: DeviceId
  readonly identity: Identity
  /** Shown to people. */
  readonly name: string
  readonly role: Birth['role']
  readonly clock: Clock
  readonly random: Random
  readonly aeads: Aeads
  readonly link: LinkMode
  /** Byte streams to the hub's broker, to its relay broker, and between peers. */
  readonly dialHub: () => Duplex
  readonly dialRelay: (access: RelayAccess) => Duplex
  readonly transport: Transport
  readonly hubKey?: Uint8Array
  /** The hub's `host:port`, for people. */
  readonly hub?: string
  readonly keepaliveSeconds?: number
  /** What a segment may take of memory; all there is unless given. */
  readonly memoryBytes?: number
  /** Refuses the start when the hub does not answer, instead of trying on. */
  readonly failWithoutHub?: boolean
  /** Ends the waiting for the hub. */
  readonly signal?: AbortSignal
  /** Called when the member has left, or could not join. */
  onClosed?(): Promise<void>
  log(event: string, nouns: Record<string, unknown>): void
}

export interface MemberEvents extends ChannelEvents {
  onAssignment(assignment: Assignment): void
  readonly onSegmentKey: (key: SegmentKey) => void
  readonly onLink: (peer: DeviceId, link: LinkKind | 'none') => void
  onBlock(file: string, block: number, content: Uint8Array): void
  onCommand(name: 'drain' | 'exit'): void
  onMeasure(order: Measure): void
  /** Whether something else than pair keys is missing, so that the hub should be asked again. */
  isMissingSomething(): boolean
}

/** What `join` has opened. */
interface Parts {
  readonly options: MemberOptions
  readonly bootId: Uint8Array
  readonly control: Control
  readonly peers: Peers
  readonly session: HubSession
  readonly birth: Birth
  readonly events: MemberEvents
  /** Where peers reach us. */
  readonly addresses: readonly Address[]
  readonly refused: (reason: Refusal) => void
}

export class Member {
  readonly options: MemberOptions
  readonly bootId: Uint8Array
  readonly control: Control
  readonly peers: Peers
  readonly #cancelAsking: Cancel
  readonly #parts: Parts
  #planned: { readonly peers: ReadonlySet<DeviceId>; readonly sources: ReadonlySet<DeviceId> } = {
    peers: new Set(),
    sources: new Set(),
  }
  /** Peers beside those of the plan: for as long as the link to them is measured. */
  readonly #guests = new Map<DeviceId, { readonly isDialled: boolean }>()
  #isClosed = false

  private constructor(parts: Parts) {
    const { options, peers, events } = parts
    this.options = options
    this.bootId = parts.bootId
    this.control = parts.control
    this.peers = peers
    this.#parts = parts
    let pauseMs: number = askAgainMs[0]
    let dueMs = options.clock.monotonicMs() + pauseMs
    this.#cancelAsking = every(options.clock, askAgainMs[0], () => {
      const isMissing = peers.withoutKeys().length > 0 || events.isMissingSomething()
      if (!isMissing) pauseMs = askAgainMs[0]
      else if (options.clock.monotonicMs() >= dueMs) {
        pauseMs = Math.min(pauseMs * 2, askAgainMs[1])
        dueMs = options.clock.monotonicMs() + pauseMs
        this.#introduceAgain()
      }
    })
  }

  /**
   * Joins the fleet. Throws `Refusal`: `hub-unreachable` and `not-allowed` where that was asked for, `port-in-use` for a
   * taken port, `cancelled` by the signal.
   */
  static async join(options: MemberOptions, events: MemberEvents): Promise<Member> {
    try {
      return await Member.#join(options, events)
    } catch (error) {
      await options.onClosed?.()
      throw error
    }
  }

  static async #join(options: MemberOptions, events: MemberEvents): Promise<Member> {
    const { fleet, id, identity, clock, random, aeads } = options
    const bootId = random(8)
    const refused = (reason: Refusal, peer?: DeviceId): void =>
      options.log('refused', { code: reason.code, reason: reason.message, ...(peer === undefined ? {} : { peer }) })
    const session = new HubSession({ fleet, self: id, bootId, clock, aeads }, newBoxKey(), {
      onPeerKey: (peer, key) => control?.pinKey(peer, key),
      onSegmentKey: events.onSegmentKey,
      onRelay: (access) => openRelay(access),
    })
    let control: Control | undefined
    const peers = new Peers({
      fleet,
      self: id,
      bootId,
      clock,
      aeads,
      mode: options.link,
      transport: options.transport,
      keySource: session,
      window: defaultWindow,
      events,
      onRefused: refused,
      onLink: events.onLink,
    })
    let relay: { link: RelayLink; access: RelayAccess } | undefined
    const openRelay = (access: RelayAccess): void => {
      if (options.link === 'direct') return
      if (relay === undefined) {
        const connect = (): Duplex => options.dialRelay((relay ?? { access }).access)
        const { token } = access
        relay = { access, link: openRelayLink({ fleet, id, bootId, clock, random, token, connect }) }
        peers.useRelay(relay.link)
      } else if (!isSameRelay(relay.access, access)) {
        relay.access = access // the hub has started anew
        relay.link.renew(access.token)
      }
    }
    const addresses = await peers.listen()
    control = await connectControl({
      fleet,
      id,
      identity,
      bootId,
      clock,
      random,
      connect: options.dialHub,
      ...(options.hubKey === undefined ? {} : { hubKey: options.hubKey }),
      ...(options.keepaliveSeconds === undefined ? {} : { keepaliveSeconds: options.keepaliveSeconds }),
      ...(options.hub === undefined ? {} : { where: options.hub }),
      onWaiting: (reason) => options.log('waiting for the hub', { reason }),
      waitForHub: options.failWithoutHub !== true,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      onRefused: ({ reason, topic, message }) => options.log('refused', { code: reason, topic, reason: message }),
    }).catch(async (error: unknown) => {
      await peers.close()
      throw error
    })
    control.onOffline((reason) => options.log('hub lost', { reason }))
    control.onOnline(() => options.log('hub found again', {}))
    const birth = birthOf(options, session.boxKey.publicKey)
    return new Member({ options, bootId, control, peers, session, birth, events, addresses, refused })
  }

  /**
   * Begins to hear the hub, which keeps an assignment for those who return, and introduces itself. Apart from `join`, so
   * that whoever joined has the member in hand before the first event.
   */
  async begin(): Promise<void> {
    const { control } = this
    const { events, refused, addresses } = this.#parts
    const { id } = this.options
    const guarded =
      <A extends unknown[]>(handler: (...given: A) => void) =>
      (...given: A): void => {
        try {
          handler(...given)
        } catch (error) {
          if (!(error instanceof Refusal)) throw error
          refused(error)
        }
      }
    control.on(
      'root',
      guarded(({ envelope, body }) => this.#parts.session.opened(envelope.from, body)),
    )
    control.on(
      'peer',
      guarded(({ body }) => this.#parts.session.receive(body)),
    )
    control.on(
      'assignment',
      guarded(({ body }) => events.onAssignment(body)),
    )
    control.on('endpoint', ({ envelope, body }) => this.peers.reachableAt(envelope.from, body.addresses))
    control.on(
      'blob',
      guarded(({ body }, levels) => events.onBlock(levels[1]!, Number(levels[2]), body)),
    )
    control.on('measure', ({ body }) => events.onMeasure(body))
    control.on('command', ({ body }) => {
      if (body.name === 'rebirth') this.#introduceAgain()
      else events.onCommand(body.name)
    })
    // Said again by the control link on every connection, with the status.
    await this.introduce()
    await control.publish('endpoint', [id], { addresses: addresses.map(({ host, port }) => ({ host, port })) })
  }

  /**
   * The peers of the live plan, and those of them whose activations we take; returns the requests that those no longer
   * among them had not settled.
   */
  setPeers(peers: ReadonlySet<DeviceId>, sources: ReadonlySet<DeviceId>): Unsettled[] {
    this.#planned = { peers, sources }
    return this.#meet()
  }

  /**
   * Makes a device a peer beside those of the plan, until `dismiss`; gives the channel to it. Of the two, one has to dial
   * the other.
   */
  invite(guest: DeviceId, isDialled: boolean): Channel {
    this.#guests.set(guest, { isDialled })
    this.#meet()
    return this.peers.channel(guest)
  }

  dismiss(guest: DeviceId): void {
    if (this.#guests.delete(guest) && !this.#isClosed) this.#meet()
  }

  #meet(): Unsettled[] {
    const { peers, sources } = this.#planned
    const all = new Set([...peers, ...this.#guests.keys()])
    const dialled = [...this.#guests].flatMap(([id, { isDialled }]) => (isDialled ? [id] : []))
    const unsettled = this.peers.set(all, new Set([...sources, ...dialled]))
    this.control.setPeers(all)
    return unsettled
  }

  /** Says who we are; the hub answers with everything that it has for us. */
  async introduce(): Promise<void> {
    if (this.#isClosed) return
    await this.control.publish('birth', [this.options.id], this.#parts.birth)
  }

  #introduceAgain(): void {
    this.introduce().catch((error: unknown) => {
      if (!(error instanceof Refusal)) throw error // closed meanwhile, or too much is waiting: there is a next time
    })
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#cancelAsking()
    await this.peers.close()
    await this.control.close()
    this.#parts.session.close()
    await this.options.onClosed?.()
  }
}

function isSameRelay(a: RelayAccess, b: RelayAccess): boolean {
  return a.host === b.host && a.port === b.port && equal(a.token, b.token)
}

const require = createRequire(import.meta.url)

function versionOf(module: string): string {
  try {
    return (require(`${module}/package.json`) as { version: string }).version
  } catch {
    return 'unknown'
  }
}

function birthOf(options: MemberOptions, boxKey: Uint8Array): Birth {
  const processors = cpus()
  return {
    role: options.role,
    name: options.name,
    key: options.identity.publicKey,
    boxKey,
    versions: { tessera: version, node: process.version, onnxRuntime: versionOf('onnxruntime-node') },
    cpu: {
      arch: process.arch,
      model: (processors[0]?.model ?? 'unknown').slice(0, 128),
      cores: processors.length,
      // Every 64-bit part that ONNX Runtime has a binary for may have them; OpenSSL uses them where they are.
      aesInstructions: process.arch === 'x64' || process.arch === 'arm64',
    },
    memoryBytes: Math.min(totalmem(), options.memoryBytes ?? Infinity),
  }
}
