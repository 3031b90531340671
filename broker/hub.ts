/** The hub: admits members, cuts models, hands out stages and keys, watches. The hallway between the broker's rooms. */

import { toHex } from '#shared/bytes.js'
import { every, type Cancel, type Clock } from '#shared/clock.js'
import type { Aeads, AlgId } from '#shared/crypto/aead.js'
import type { Identity } from '#shared/crypto/identity.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import { loadEngine } from '#shared/onnx/session.js'
import { timeKernels, type Effort } from '#shared/onnx/workload.js'
import type { Random } from '#shared/random.js'
import { Briefing } from './briefing.js'
import type { Broker } from './bus/broker.js'
import { createBus, type Bus } from './bus/bus.js'
import type { Relay } from './bus/relay.js'
import { Deployments, type Deployment, type DeployRequest } from './deployments.js'
import type { ProfileStore } from './fleet/profiles.js'
import { Registry, type Member } from './fleet/registry.js'
import { HubSessions } from './keys/sessions.js'
import { memorySeeds } from './keys/seeds.js'
import { Live, notLive } from './live.js'
import type { ModelFacts } from './models/catalogue.js'
import { Delivery } from './models/delivery.js'
import { devicesIn, type Plan } from './planner/plan.js'
import type { Cost } from './planner/problem.js'
import type { Profiles } from './planner/profile.js'
import type { Decision } from './planner/replan.js'
import { layoutOf, type Choice, type Goal } from './planning.js'

/** A desired assignment is published again until the device reports its revision. */
const republishMs = 2000
/** For all that is stale to be measured before a plan is chosen. */
const surveyedWithinMs = 300_000
const firstEpoch = 1
const aes256gcm = 1

export interface HubOptions {
  readonly fleet: FleetId
  readonly id: DeviceId
  readonly identity: Identity
  readonly clock: Clock
  readonly random: Random
  readonly aeads: Aeads
  /** Grows with every start; seconds since the Unix epoch will do. Below 2^32. */
  readonly term: number
  /**
   * The first key epoch, 1 unless given. It must rise with every start of a hub whose devices go on meanwhile: they take
   * no second secret for a session that they know. Below 2^32.
   */
  readonly epoch?: number
  /** AES-256-GCM unless given: for a fleet in which a CPU has no AES instructions, 2 is faster. */
  readonly alg?: AlgId
  readonly broker: Broker
  readonly relay: Relay
  /** Where devices find the relay broker. */
  readonly relayAddress: { readonly host: string; readonly port: number }
  /** Clients that a plan has at once; as many as an assignment can name unless given. */
  readonly maxClients?: number
  /** What is known of the fleet's speed; the hub has it measured where this is given. */
  readonly profiles?: ProfileStore<Profiles>
  /** How long the hub's own measurement takes; the usual unless given. */
  readonly effort?: Effort
  /** Cut models on the hub's own thread: for a fleet within one process. */
  readonly cutsInline?: boolean
  log(event: string, nouns: Record<string, unknown>): void
}

export class Hub {
  readonly id: DeviceId
  readonly epoch: number
  readonly #options: HubOptions
  readonly #bus: Bus
  readonly #registry = new Registry()
  readonly #sessions: HubSessions
  readonly #delivery = new Delivery()
  readonly #briefing: Briefing
  /** Measures, chooses and watches, where it is wanted. */
  readonly #live: Live | undefined
  readonly #deployments: Deployments
  #request: DeployRequest | undefined
  readonly #watchers = new Set<() => void>()
  readonly #cancelRepublish: Cancel
  #isClosed = false

  private constructor(options: HubOptions) {
    const { fleet, id, identity, clock, random, aeads, broker } = options
    this.#options = options
    this.id = id
    this.epoch = options.epoch ?? firstEpoch
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
      alg: options.alg ?? aes256gcm,
      seeds: memorySeeds(random),
      random,
      clock,
      aeads,
    })
    this.#briefing = new Briefing({
      ...options,
      hub: id,
      bus: this.#bus,
      registry: this.#registry,
      sessions: this.#sessions,
      delivery: this.#delivery,
    })
    this.#deployments = new Deployments({ ...options, registry: this.#registry, delivery: this.#delivery })
    const { profiles } = options
    this.#live =
      profiles &&
      new Live({
        ...options,
        bus: this.#bus,
        registry: this.#registry,
        briefing: this.#briefing,
        delivery: this.#delivery,
        store: profiles,
        isInline: options.cutsInline === true,
        timeHub: async () => (await timeKernels(await loadEngine(), options.effort)).least,
        onChange: () => this.#changed(),
      })
    this.#cancelRepublish = every(clock, republishMs, () => {
      this.#briefing.repeat().catch((error: unknown) => this.#refuse(error, id))
    })
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

  /** What is known of the fleet's speed; `undefined` for a hub that has nothing measured. */
  get profiles(): Profiles | undefined {
    return this.#options.profiles?.value
  }

  /** The plan in force as it was chosen for an objective, and the last decision on whether to leave it. */
  get choice(): Choice | undefined {
    return this.#live?.choice
  }

  get decision(): Decision | undefined {
    return this.#live?.decision
  }

  /** What the plan that was chosen costs by what is known now; `undefined` where a device of it is not here. */
  get predicted(): Cost | undefined {
    return this.#live?.predicted
  }

  /** Resolves when all that is stale was measured. */
  async surveyed(timeoutMs: number): Promise<void> {
    this.#live?.survey.look()
    await this.until(() => this.#live?.survey.isDone !== false, timeoutMs, 'that the fleet is measured')
  }

  get plan(): Plan | undefined {
    return this.#briefing.plan
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
   * Cuts a model for the devices that are here and assigns the stages to them; takes the place of the plan in force. For an
   * objective, stages and devices are the planner's choice. Throws `Refusal`: what the model refuses, `cannot-cut`,
   * `device-lost` for too few devices, `cannot-plan` where the objective cannot be had.
   */
  async deploy(request: DeployRequest): Promise<Deployment> {
    return this.#deploy(request, (model, goal) => this.#live!.choose(model, goal))
  }

  /** Puts the plan in force that the last decision is for; `undefined` where it is to stay. Throws what `deploy` throws. */
  async changeOver(): Promise<Deployment | undefined> {
    const next = this.#live?.next
    if (next === undefined || this.#request === undefined) return undefined
    return this.#deploy(this.#request, () => Promise.resolve(next))
  }

  async #deploy(
    request: DeployRequest,
    choose: (facts: ModelFacts, goal: Goal) => Promise<Choice>,
  ): Promise<Deployment> {
    const { objective, maxReplicas } = request
    if (objective !== undefined) await this.#beMeasured()
    let choice: Choice | undefined
    const deployment = await this.#deployments.make(request, async (facts, goal) => {
      choice = await choose(facts, { objective: goal, ...(maxReplicas === undefined ? {} : { maxReplicas }) })
      return layoutOf(choice)
    })
    const { plan } = deployment
    const [stages, devices] = [plan.stages.length, devicesIn(plan)]
    this.#options.log('plan made', { plan: plan.plan, model: plan.model, stages, devices })
    this.#request = request
    this.#live?.adopted(choice)
    await this.#briefing.apply(plan)
    return deployment
  }

  /** Resolves when every stage of the plan in force is ready. Throws the `Refusal` of a device that cannot be. */
  async ready(timeoutMs: number): Promise<void> {
    await this.until(() => this.#isReady(), timeoutMs, 'that every stage is ready')
  }

  /**
   * Has the segments of the plan in force timed where they are, so that the next choice knows them. Not while requests flow.
   * Throws `Refusal`: `cannot-plan` for a hub that has nothing measured, what a device says, `timed-out`.
   */
  async timeStages(): Promise<void> {
    if (this.#live === undefined) throw notLive()
    const stages = (this.plan?.stages ?? []).flatMap(({ holders, runInputs, runOutputs }) =>
      holders.flatMap(({ device, segment }) => {
        const sealed = this.#delivery.segmentsOf(device).find(({ file }) => file === segment)
        return sealed === undefined ? [] : [{ sealed, runInputs, runOutputs }]
      }),
    )
    await this.#live.timeStages(stages)
  }

  /**
   * Looks whether another plan is worth changing over to, as the hub does by itself every 5 s while something is uneasy;
   * `undefined` where no plan was chosen for an objective. Changes nothing: `changeOver` does.
   */
  async reconsider(): Promise<Decision | undefined> {
    return this.#live?.reconsider()
  }

  /** While requests flow nothing is measured: then a plan is chosen by what is known. */
  async #beMeasured(): Promise<void> {
    if (this.#live === undefined) throw notLive()
    const { survey } = this.#live
    survey.look()
    await this.until(() => survey.isDone || survey.isFlowing, surveyedWithinMs, 'that the fleet is measured')
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#cancelRepublish()
    this.#live?.close()
    this.#sessions.close()
    this.#delivery.close()
    this.#briefing.close()
    await this.#bus.close()
    await this.#options.relay.close()
    await this.#options.broker.close()
    await this.#options.profiles?.close()
  }

  #isReady(): boolean {
    const { plan } = this
    if (plan === undefined) return false
    return plan.stages.every(({ holders }, index) => holders.every(({ device }) => this.#isReadyFor(device, index)))
  }

  #isReadyFor(device: DeviceId, stage: number): boolean {
    const report = this.#registry.get(device)?.assigned
    if (report === undefined || report.rev !== this.#briefing.wantedRevision(device)) return false
    if (report.state === 'failed') {
      throw new Refusal(
        'bad-segment',
        `device ${device} cannot take stage ${stage}: ${report.reason?.message ?? 'no reason given'}`,
      )
    }
    return report.state === 'ready'
  }

  #listen(): void {
    const bus = this.#bus
    bus.on('birth', ({ envelope, body }) => {
      const boot = this.#registry.born(envelope.from, body, envelope.bootId)
      if (boot !== 'known')
        this.#options.log('member born', { member: envelope.from, role: body.role, name: body.name, boot })
      this.#live?.born(envelope.from, body.role, boot)
      void this.#welcome(envelope.from, boot).then(() => {
        if (boot !== 'known') this.#live?.welcomed()
      })
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
      if (known.birth.role === 'device' && known.state !== body.state) this.#live?.changed(envelope.from, body.state)
      this.#changed()
    })
    bus.on('endpoint', ({ envelope, body }) => this.#registry.note(envelope.from, { endpoint: body }))
    bus.on('assigned', ({ envelope, body }) => {
      this.#registry.note(envelope.from, { assigned: body })
      if (body.rev === this.#briefing.wantedRevision(envelope.from)) this.#live?.loaded(envelope.from, body)
      if (body.state === 'failed') {
        this.#options.log('assignment failed', { member: envelope.from, reason: body.reason?.message })
      }
      this.#changed()
    })
    bus.on('telemetry', ({ envelope, body }) => {
      this.#registry.note(envelope.from, { telemetry: body })
      this.#live?.told(envelope.from, body)
      this.#changed()
    })
    bus.on('measured', ({ envelope, body }) => this.#live?.measured(envelope.from, body))
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

  async #welcome(id: DeviceId, boot: 'new' | 'restarted' | 'known'): Promise<void> {
    try {
      await this.#briefing.welcome(id, boot)
    } catch (error) {
      this.#refuse(error, id)
    }
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
