/**
 * What every member is told: its work in the plan in force, the rights that go with it, and the keys. The hub's second
 * hand: it decides nothing, and tells again whoever asks or has not heard.
 */

import { equal } from '#shared/bytes.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { maxClients, type Assignment } from '#shared/protocol/messages.js'
import type { Random } from '#shared/random.js'
import type { Bus } from './bus/bus.js'
import type { Relay } from './bus/relay.js'
import type { Registry } from './fleet/registry.js'
import type { BornMember, HubSessions } from './keys/sessions.js'
import type { Delivery, SealedSegment } from './models/delivery.js'
import {
  clientWork,
  devicesIn,
  peersIn,
  roomForClients,
  stageWork,
  type Plan,
  type PlannedClient,
} from './planner/plan.js'

/** Revisions of one term: a hub that restarts counts on above all it has said. */
const revisionsPerTerm = 2 ** 20

export interface BriefingOptions {
  /** The hub's own id. */
  readonly hub: DeviceId
  readonly term: number
  readonly random: Random
  readonly bus: Bus
  readonly relay: Relay
  readonly relayAddress: { readonly host: string; readonly port: number }
  readonly registry: Registry
  readonly sessions: HubSessions
  readonly delivery: Delivery
  /** Clients that a plan has at once; as many as an assignment can name unless given. */
  readonly maxClients?: number
}

export class Briefing {
  readonly #options: BriefingOptions
  readonly #relayTokens = new Map<DeviceId, Uint8Array>()
  readonly #desired = new Map<DeviceId, Assignment>()
  #plan: Plan | undefined
  #revisions = 0
  /** Two devices that are peers beside the plan, or none. */
  #introduced: readonly DeviceId[] = []

  constructor(options: BriefingOptions) {
    this.#options = options
  }

  /** The plan in force. */
  get plan(): Plan | undefined {
    return this.#plan
  }

  /** The revision of what is wanted of a member now. */
  wantedRevision(id: DeviceId): number | undefined {
    return this.#desired.get(id)?.rev
  }

  /** Puts a plan in force: everybody is told what it wants of them, and gets the rights and keys that go with it. */
  async apply(plan: Plan): Promise<void> {
    this.#plan = plan
    const { registry, bus } = this.#options
    for (const { id } of registry.all()) this.#allow(id)
    for (const stage of plan.stages.keys()) for (const [id, work] of stageWork(plan, stage)) this.#want(id, work)
    for (const { device } of plan.clients) this.#want(device, clientWork(plan))
    // Whoever has work may still have no peer: the only stage, before the first client.
    const isIn = new Set<DeviceId>([...devicesIn(plan), ...plan.clients.map(({ device }) => device)])
    for (const [id, { work }] of this.#desired) {
      if (!isIn.has(id) && work.kind !== 'none') this.#want(id, { kind: 'none' })
    }
    for (const [id, assignment] of this.#desired) {
      await bus.publish('assignment', [id], assignment)
      await this.#tellKeys(id)
    }
  }

  /**
   * A member introduced itself: it gets all that there is for it, and its peers hear of its new process.
   * Throws `Refusal('over-limit')` for a client for which the plan has no room.
   */
  async welcome(id: DeviceId, boot: 'new' | 'restarted' | 'known'): Promise<void> {
    const { bus, sessions, registry } = this.#options
    await bus.publish('root', [id], sessions.open(this.#born(id)))
    await this.#tellRelay(id)
    const plan = this.#plan
    if (plan !== undefined && registry.get(id)!.birth.role === 'client') {
      const { bootId } = registry.get(id)!
      const known = plan.clients.find(({ device }) => device === id)
      if (known === undefined || !equal(known.run, bootId)) {
        await this.apply({ ...plan, clients: [...this.#clientsBeside(plan, id), { device: id, run: bootId }] })
        return
      }
    }
    await this.#tellKeys(id)
    const desired = this.#desired.get(id)
    if (desired !== undefined) await bus.publish('assignment', [id], desired)
    if (boot === 'restarted') for (const peer of this.#peersOf(id)) await this.#tellKeys(peer)
  }

  /** Makes two devices peers beside the plan, so that they can measure the link between them, until `part`. */
  async introduce(a: DeviceId, b: DeviceId): Promise<void> {
    this.#introduced = [a, b]
    for (const id of this.#introduced) {
      this.#allow(id)
      await this.#tellKeys(id)
    }
  }

  /** Ends the last `introduce`. */
  part(): void {
    const apart = this.#introduced
    this.#introduced = []
    for (const id of apart) this.#allow(id)
  }

  /** The key of a segment to the device that it is sealed for. */
  tellSegmentKey({ device, file, dek }: SealedSegment): Promise<void> {
    return this.#say(device, this.#options.sessions.sealDek(device, { ...file, dek }))
  }

  /** Publishes again what devices have not reported as theirs. */
  async repeat(): Promise<void> {
    const { registry, bus } = this.#options
    for (const [id, assignment] of this.#desired) {
      const member = registry.get(id)
      if (member === undefined || member.state === 'offline' || member.birth.role === 'client') continue
      if (member.assigned?.rev !== assignment.rev) await bus.publish('assignment', [id], assignment)
    }
  }

  close(): void {
    for (const token of this.#relayTokens.values()) token.fill(0)
  }

  /** The clients of the plan that stay when one more comes. Throws `Refusal('over-limit')` where there is no room. */
  #clientsBeside(plan: Plan, id: DeviceId): readonly PlannedClient[] {
    const limit = Math.min(this.#options.maxClients ?? maxClients, roomForClients(plan))
    const others = plan.clients.filter(({ device }) => device !== id)
    if (others.length < limit) return others
    const here = others.filter(({ device }) => this.#options.registry.get(device)?.state !== 'offline')
    if (here.length < limit) return here
    throw new Refusal('over-limit', `${limit} clients are here: ${id} gets no pipeline until one of them leaves`)
  }

  async #tellRelay(id: DeviceId): Promise<void> {
    const { random, relay, relayAddress, sessions } = this.#options
    const token = this.#relayTokens.get(id) ?? random(32)
    this.#relayTokens.set(id, token)
    relay.allow(id, { token, peers: this.#peersOf(id) })
    await this.#say(id, sessions.sealRelay(id, relayAddress.host, relayAddress.port, token))
  }

  /** Seeds, the roots shared with each peer that runs, and the key of its segment. */
  async #tellKeys(id: DeviceId): Promise<void> {
    const { registry, sessions, delivery } = this.#options
    if (registry.get(id) === undefined) return
    const peers = [...this.#peersOf(id)].filter((peer) => registry.get(peer) !== undefined)
    await this.#say(id, sessions.sealSeeds(id, peers))
    for (const peer of peers) await this.#say(id, sessions.sealPairRoot(this.#born(id), this.#born(peer)))
    for (const segment of delivery.segmentsOf(id)) await this.tellSegmentKey(segment)
  }

  #say(id: DeviceId, frame: Uint8Array): Promise<void> {
    return this.#options.bus.publish('peer', [id, this.#options.hub], frame)
  }

  #want(id: DeviceId, work: Assignment['work']): void {
    this.#desired.set(id, { rev: this.#options.term * revisionsPerTerm + ++this.#revisions, work })
  }

  /** Whom a member may write to, on both brokers. */
  #allow(id: DeviceId): void {
    const { bus, relay } = this.#options
    const peers = this.#peersOf(id)
    bus.setPeers(id, peers)
    const token = this.#relayTokens.get(id)
    if (token !== undefined) relay.allow(id, { token, peers })
  }

  #peersOf(id: DeviceId): Set<DeviceId> {
    const peers = new Set(this.#plan === undefined ? [] : peersIn(this.#plan).get(id))
    if (this.#introduced.includes(id)) for (const other of this.#introduced) if (other !== id) peers.add(other)
    return peers
  }

  #born(id: DeviceId): BornMember {
    const { birth, bootId } = this.#options.registry.get(id)!
    return { id, bootId, boxKey: birth.boxKey, key: birth.key }
  }
}
