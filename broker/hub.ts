/** The hub: admits members, cuts models, hands out stages and keys, watches. The hallway between the broker's rooms. */

import { fromHex, toHex } from '#shared/bytes.js'
import { every, type Cancel, type Clock } from '#shared/clock.js'
import type { Aeads, AlgId } from '#shared/crypto/aead.js'
import type { Identity } from '#shared/crypto/identity.js'
import { Refusal } from '#shared/errors.js'
import { isDeviceId, type DeviceId, type FleetId } from '#shared/ids.js'
import type { Feeds, Level } from '#shared/onnx/session.js'
import { maxClients, type Assignment } from '#shared/protocol/messages.js'
import type { Random } from '#shared/random.js'
import type { Broker } from './bus/broker.js'
import { createBus, type Bus } from './bus/bus.js'
import type { Relay } from './bus/relay.js'
import { Registry, type Member } from './fleet/registry.js'
import { HubSessions, type BornMember } from './keys/sessions.js'
import { memorySeeds } from './keys/seeds.js'
import { cutModel, cutModelInWorker, type CutModel } from './models/catalogue.js'
import { Delivery, sealSegment } from './models/delivery.js'
import { partition } from './planner/partition.js'
import { clientWork, peersIn, stageWork, type Plan } from './planner/plan.js'

/** A desired assignment is published again until the device reports its revision. */
const republishMs = 2000
/** Revisions of one term: a hub that restarts counts on above all it has said. */
const revisionsPerTerm = 2 ** 20
/** Plans of one term likewise: a member tells by the number which of two plans is the later one. Below 2^48 in all. */
const plansPerTerm = 2 ** 14

export interface HubOptions {
  readonly fleet: FleetId
  readonly id: DeviceId
  readonly identity: Identity
  readonly clock: Clock
  readonly random: Random
  readonly aeads: Aeads
  /** The key epoch of this process; grows with every start of the same hub. 1 unless given. */
  readonly epoch?: number
  /** Grows with every start; seconds since the Unix epoch will do. Below 2^32. */
  readonly term: number
  readonly broker: Broker
  readonly relay: Relay
  /** Where devices find the relay broker. */
  readonly relayAddress: { readonly host: string; readonly port: number }
  /** Clients that a plan has at once; as many as an assignment can name unless given. */
  readonly maxClients?: number
  /** Cut models on the hub's own thread: for a fleet within one process. */
  readonly cutsInline?: boolean
  log(event: string, nouns: Record<string, unknown>): void
}

export interface DeployRequest {
  /** The model's name, for people; part of the segments' names. At most 48 characters. */
  readonly name: string
  readonly model: Uint8Array
  /** Inputs that give the shape signature; needed for models with dynamic shapes. */
  readonly sample?: Feeds
  /** Where external data of the model may lie. */
  readonly folder?: string
  readonly level?: Level
  readonly stages: number
  /** Cuts before these nodes of the canonical order, `stages - 1` of them, in place of the planner's choice. */
  readonly at?: readonly number[]
  /** Requests on their way at once, in the whole pipeline. */
  readonly windowFrames?: number
}

export interface Deployment {
  readonly plan: Plan
  readonly cut: CutModel
  /** Sizes of the sealed segment files, in order. */
  readonly segmentBytes: readonly number[]
}

export class Hub {
  readonly id: DeviceId
  readonly epoch: number
  readonly #options: HubOptions
  readonly #bus: Bus
  readonly #registry = new Registry()
  readonly #sessions: HubSessions
  readonly #delivery = new Delivery()
  readonly #relayTokens = new Map<DeviceId, Uint8Array>()
  readonly #desired = new Map<DeviceId, Assignment>()
  readonly #watchers = new Set<() => void>()
  readonly #cancelRepublish: Cancel
  #plan: Plan | undefined
  #plans = 0
  #revisions = 0
  #isClosed = false

  private constructor(options: HubOptions) {
    const { fleet, id, identity, clock, random, aeads, broker } = options
    this.#options = options
    this.id = id
    this.epoch = options.epoch ?? 1
    const bootId = random(8)
    this.#bus = createBus({
      fleet,
      id,
      identity,
      bootId,
      clock,
      broker,
      onRefused: (refused) => options.log('refused', { ...refused }),
    })
    this.#sessions = new HubSessions({
      fleet,
      hub: { id, bootId },
      epoch: this.epoch,
      alg: this.#alg(),
      seeds: memorySeeds(random),
      random,
      clock,
      aeads,
    })
    this.#cancelRepublish = every(clock, republishMs, () => this.#republish())
  }

  /** Opens the hub on a broker that is already safe and listening. */
  static async start(options: HubOptions): Promise<Hub> {
    const hub = new Hub(options)
    hub.#listen()
    await hub.#bus.publish('hub', [], {
      state: 'online',
      id: hub.id,
      key: options.identity.publicKey,
      term: options.term,
    })
    return hub
  }

  /** AES-256-GCM until a member says that its CPU has no AES instructions (then the next epoch changes it). */
  #alg(): AlgId {
    return 1
  }

  members(): Member[] {
    return this.#registry.all()
  }

  get fleet(): FleetId {
    return this.#options.fleet
  }

  /** Devices that can hold a stage now. */
  online(): Member[] {
    return this.#registry.available()
  }

  get plan(): Plan | undefined {
    return this.#plan
  }

  /** Messages refused so far, by reason. */
  get refused(): ReadonlyMap<string, number> {
    return this.#bus.refused
  }

  /** Calls `watcher` after whatever changes in the fleet; returns how to stop it. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  /** Resolves when `condition` holds; looks again after every change in the fleet. */
  async until(condition: () => boolean, timeoutMs: number, what: string): Promise<void> {
    if (condition()) return
    await new Promise<void>((resolve, reject) => {
      const end = (settle: () => void): void => {
        cancel()
        unwatch()
        settle()
      }
      const cancel = this.#options.clock.after(timeoutMs, () =>
        end(() => reject(new Refusal('timed-out', `${what} did not happen within ${timeoutMs / 1000} s`))),
      )
      const unwatch = this.watch(() => {
        try {
          if (condition()) end(resolve)
        } catch (error) {
          end(() => reject(error))
        }
      })
    })
  }

  /**
   * Cuts a model for the devices that are here and assigns a stage to each of the first `stages` of them; takes the place
   * of the plan in force. Throws `Refusal`: what the model refuses, `cannot-cut`, and `device-lost` for too few devices.
   */
  async deploy(request: DeployRequest): Promise<Deployment> {
    const { name, model, sample, folder, level = 'all', stages, at, windowFrames = 2 * stages + 2 } = request
    const { random, aeads } = this.#options
    const devices = this.#registry.available().slice(0, stages)
    if (devices.length < stages) {
      throw new Refusal(
        'device-lost',
        `${stages} devices are needed for ${stages} segments, ${devices.length} are online: start more or ask for fewer`,
      )
    }
    const cutting = this.#options.cutsInline === true ? cutModel : cutModelInWorker
    const cut = await cutting(
      {
        model,
        level,
        stages,
        ...(sample === undefined ? {} : { sample }),
        ...(folder === undefined ? {} : { folder }),
      },
      at === undefined ? partition : () => [...at],
    )
    const plan = this.#options.term * plansPerTerm + ++this.#plans
    const modelId = fromHex(cut.hash).subarray(0, 16)
    const sealed = cut.segments.map((segment, index) => {
      const made = sealSegment(
        { device: devices[index]!.id, name: `${name}/seg-${index}`, version: plan, modelId, plain: segment.model },
        random,
        aeads,
      )
      segment.model.fill(0)
      return made
    })
    this.#delivery.offer(sealed)
    this.#plan = {
      plan,
      model: name,
      inputs: cut.inputs,
      outputs: cut.outputs,
      windowFrames,
      clients: this.#registry.clients().map((client) => client.id),
      stages: cut.segments.map((segment, index) => ({
        ...segment,
        device: devices[index]!.id,
        segment: sealed[index]!.file,
      })),
    }
    this.#options.log('plan made', { plan, model: name, stages, devices: devices.map((device) => device.id) })
    await this.#applyPlan()
    return { plan: this.#plan, cut, segmentBytes: sealed.map(({ bytes }) => bytes.length) }
  }

  /** Resolves when every stage of the plan in force is ready. Throws the `Refusal` of a device that cannot be. */
  async ready(timeoutMs: number): Promise<void> {
    await this.until(() => this.#isReady(), timeoutMs, 'that every stage is ready')
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#cancelRepublish()
    this.#sessions.close()
    this.#delivery.close()
    for (const token of this.#relayTokens.values()) token.fill(0)
    await this.#bus.close()
    await this.#options.relay.close()
    await this.#options.broker.close()
  }

  #isReady(): boolean {
    const plan = this.#plan
    if (plan === undefined) return false
    return plan.stages.every(({ device }, index) => {
      const report = this.#registry.get(device)?.assigned
      if (report === undefined || report.rev !== this.#desired.get(device)?.rev) return false
      if (report.state === 'failed') {
        throw new Refusal(
          'bad-segment',
          `device ${device} cannot take stage ${index}: ${report.reason?.message ?? 'no reason given'}`,
        )
      }
      return report.state === 'ready'
    })
  }

  #listen(): void {
    const bus = this.#bus
    bus.on('birth', ({ envelope, body }) => {
      const boot = this.#registry.born(envelope.from, body, envelope.bootId)
      if (boot !== 'known')
        this.#options.log('member born', { member: envelope.from, role: body.role, name: body.name, boot })
      void this.#welcome(envelope.from, boot)
      this.#changed()
    })
    bus.on('status', ({ envelope, body }) => {
      const known = this.#registry.get(envelope.from)
      // A late word of an earlier process says nothing about the one that runs now.
      if (known === undefined || toHex(known.bootId) !== toHex(envelope.bootId)) return
      if (known.state !== body.state) {
        this.#options.log('member changed', { member: envelope.from, name: known.birth.name, state: body.state })
      }
      this.#registry.note(envelope.from, { state: body.state })
      this.#changed()
    })
    bus.on('endpoint', ({ envelope, body }) => this.#registry.note(envelope.from, { endpoint: body }))
    bus.on('assigned', ({ envelope, body }) => {
      this.#registry.note(envelope.from, { assigned: body })
      if (body.state === 'failed') {
        this.#options.log('assignment failed', { member: envelope.from, reason: body.reason?.message })
      }
      this.#changed()
    })
    bus.on('telemetry', ({ envelope, body }) => {
      this.#registry.note(envelope.from, { telemetry: body })
      this.#changed()
    })
    bus.on('blobGet', ({ envelope, body }) => void this.#deliver(envelope.from, body))
  }

  async #deliver(device: DeviceId, asked: Parameters<Delivery['blocks']>[1]): Promise<void> {
    try {
      for (const { block, content } of this.#delivery.blocks(device, asked)) {
        await this.#bus.publish('blob', [device, toHex(asked.file.subarray(0, 8)), block], content)
      }
    } catch (error) {
      this.#refuse(error, device)
    }
  }

  /** A member introduced itself: it gets all that we have for it, and its peers hear of its new process. */
  async #welcome(id: DeviceId, boot: 'new' | 'restarted' | 'known'): Promise<void> {
    try {
      const member = this.#bornMember(id)
      await this.#bus.publish('root', [id], this.#sessions.open(member))
      await this.#tellRelay(id)
      const isNewClient = member.role === 'client' && this.#plan !== undefined && !this.#plan.clients.includes(id)
      if (isNewClient) {
        this.#plan = { ...this.#plan!, clients: [...this.#clientsBeside(id), id] }
        await this.#applyPlan()
        return
      }
      await this.#tellKeys(id)
      const desired = this.#desired.get(id)
      if (desired !== undefined) await this.#bus.publish('assignment', [id], desired)
      if (boot === 'restarted') for (const peer of this.#peersOf(id)) await this.#tellKeys(peer)
    } catch (error) {
      this.#refuse(error, id)
    }
  }

  /** The clients of the plan that stay when one more comes. Throws `Refusal('over-limit')` where there is no room. */
  #clientsBeside(id: DeviceId): readonly DeviceId[] {
    const { clients } = this.#plan!
    const limit = this.#options.maxClients ?? maxClients
    if (clients.length < limit) return clients
    const here = clients.filter((client) => this.#registry.get(client)?.state !== 'offline')
    if (here.length < limit) return here
    throw new Refusal('over-limit', `${limit} clients are here: ${id} gets no pipeline until one of them leaves`)
  }

  async #tellRelay(id: DeviceId): Promise<void> {
    let token = this.#relayTokens.get(id)
    if (token === undefined) {
      token = this.#options.random(32)
      this.#relayTokens.set(id, token)
    }
    this.#options.relay.allow(id, { token, peers: this.#peersOf(id) })
    const { host, port } = this.#options.relayAddress
    await this.#say(id, this.#sessions.sealRelay(id, host, port, token))
  }

  /** Seeds, the roots shared with each peer that runs, and the key of its segment. */
  async #tellKeys(id: DeviceId): Promise<void> {
    const member = this.#registry.get(id)
    if (member === undefined) return
    const peers = [...this.#peersOf(id)].filter((peer) => this.#registry.get(peer) !== undefined)
    await this.#say(id, this.#sessions.sealSeeds(id, peers))
    const born = this.#bornMember(id)
    for (const peer of peers) await this.#say(id, this.#sessions.sealPairRoot(born, this.#bornMember(peer)))
    const segment = this.#delivery.segmentOf(id)
    if (segment !== undefined) await this.#say(id, this.#sessions.sealDek(id, { ...segment.file, dek: segment.dek }))
  }

  #say(id: DeviceId, frame: Uint8Array): Promise<void> {
    return this.#bus.publish('peer', [id, this.id], frame)
  }

  /** Tells everybody what the plan in force wants of them, and gives the rights and keys that go with it. */
  async #applyPlan(): Promise<void> {
    const plan = this.#plan!
    const peers = peersIn(plan)
    for (const { id } of this.#registry.all()) {
      const own = peers.get(id) ?? new Set()
      this.#bus.setPeers(id, own)
      const token = this.#relayTokens.get(id)
      if (token !== undefined) this.#options.relay.allow(id, { token, peers: own })
    }
    plan.stages.forEach(({ device }, index) => this.#want(device, stageWork(plan, index)))
    for (const client of plan.clients) this.#want(client, clientWork(plan))
    // Whoever has work may still have no peer: the only stage, before the first client.
    const isIn = new Set<DeviceId>([...plan.stages.map(({ device }) => device), ...plan.clients])
    for (const [id, { work }] of this.#desired)
      if (!isIn.has(id) && work.kind !== 'none') this.#want(id, { kind: 'none' })
    for (const [id, assignment] of this.#desired) {
      await this.#bus.publish('assignment', [id], assignment)
      await this.#tellKeys(id)
    }
  }

  #want(id: DeviceId, work: Assignment['work']): void {
    this.#desired.set(id, { rev: this.#options.term * revisionsPerTerm + ++this.#revisions, work })
  }

  #republish(): void {
    for (const [id, assignment] of this.#desired) {
      const member = this.#registry.get(id)
      if (member === undefined || member.state === 'offline' || member.birth.role === 'client') continue
      if (member.assigned?.rev !== assignment.rev) void this.#bus.publish('assignment', [id], assignment)
    }
  }

  #peersOf(id: DeviceId): Set<DeviceId> {
    return this.#plan === undefined ? new Set() : (peersIn(this.#plan).get(id) ?? new Set())
  }

  #bornMember(id: DeviceId): BornMember & { readonly role: 'device' | 'client' } {
    const { birth, bootId } = this.#registry.get(id)!
    return { id, bootId, boxKey: birth.boxKey, key: birth.key, role: birth.role }
  }

  #refuse(error: unknown, member: DeviceId): void {
    if (this.#isClosed) return
    if (!(error instanceof Refusal)) throw error
    this.#options.log('refused', { reason: error.code, message: error.message, member })
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher()
  }
}

/** Throws `Refusal('bad-message')` for text that is no device id. */
export function asDeviceId(text: string): DeviceId {
  if (!isDeviceId(text)) throw new Refusal('bad-message', `'${text}' is no device id`)
  return text
}
