/** A device: holds one stage at a time, as the hub assigns it. The hallway between link, vault and runtime. */

import { toHex } from '#shared/bytes.js'
import { every, type Cancel } from '#shared/clock.js'
import { openFile } from '#shared/crypto/stream.js'
import { Refusal, reasonOf } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { byteLength, itemBytes, type Port, type Tensor } from '#shared/onnx/tensor.js'
import type { Assigned, Assignment, StageWork } from '#shared/protocol/messages.js'
import type { BodyOf } from '#shared/protocol/topics.js'
import type { Arrival } from '#shared/session/channel.js'
import type { Effort } from '#shared/onnx/workload.js'
import type { RequestKey } from '#shared/session/requests.js'
import { Loader } from './loader.js'
import { Measuring } from './measuring.js'
import { Member, type MemberOptions } from './member.js'
import { checkRoom } from './room.js'
import { openEngine, type EngineMode, type StageEngine } from './runtime/engine.js'
import { assemblyOf, devicesOf, meetsClients } from './runtime/legs.js'
import { Stage } from './runtime/stage.js'
import type { SegmentStore } from './vault/store.js'
import type { SegmentKey } from './link/hub-session.js'

/** `auto`: inline for stages whose time and input are below these, else a worker thread (D14). */
export const inlineBelowUs = 5000
export const inlineBelowBytes = 256 << 10
/** Runs that time a stage after loading. */
const trialRuns = 5

export interface DeviceOptions extends Omit<MemberOptions, 'role'> {
  readonly store: SegmentStore
  readonly engine?: EngineMode | 'auto'
  readonly telemetryMs?: number
  /** How long measurements take; the usual unless given. */
  readonly effort?: Effort
  /** The hub orders the process to end. */
  onExit?(): void
}

export class Device {
  readonly #options: DeviceOptions
  #member!: Member
  readonly #measuring: Measuring
  #cancelTelemetry: Cancel = () => {}
  #assignment: Assignment | undefined
  #report: Assigned | undefined
  #stage: { stage: Stage; work: StageWork } | undefined
  /** Came before their stage was ready. They stay in the queue of their sender's window, which is their limit. */
  #early: Arrival[] = []
  #loader: Loader | undefined
  #isLoading = false
  readonly #segmentKeys = new Map<string, SegmentKey>()
  #refused = 0
  #isClosed = false

  private constructor(options: DeviceOptions) {
    this.#options = {
      ...options,
      log: (event, nouns) => {
        if (event === 'refused') this.#refused++
        options.log(event, nouns)
      },
    }
    const { id, clock, random, aeads, store, engine, effort, memoryBytes } = options
    this.#measuring = new Measuring({
      self: id,
      clock,
      random,
      aeads,
      store,
      engine: engine === 'inline' ? 'inline' : 'worker',
      ...(effort === undefined ? {} : { effort }),
      memoryBytes,
      isBusy: () => this.#isBusy,
      ask: (asked) => this.#member.control.publish('blobGet', [id], asked),
      report: (measured) => this.#publish('measured', measured),
      invite: (peer, isDialled) => this.#member.invite(peer, isDialled),
      dismiss: (peer) => this.#member.dismiss(peer),
    })
  }

  /** Joins the fleet and serves until closed. Throws what `Member.join` throws. */
  static async start(options: DeviceOptions): Promise<Device> {
    const device = new Device(options)
    device.#member = await Member.join(
      { ...device.#options, role: 'device' },
      {
        onAssignment: (assignment) => device.#assigned(assignment),
        onSegmentKey: (key) => device.#keyCame(key),
        onBlock: (file, block, content) => {
          device.#loader?.blockCame(file, block, content)
          device.#measuring.blockCame(file, block, content)
        },
        onMeasure: (order) => device.#measuring.order(order),
        onActivation: (arrival) => device.#arrived(arrival),
        onSettled: (keys, by) => device.#stage?.stage.settled(keys, by),
        onLink: (peer, link) => options.log('link', { peer, link }),
        onCommand: (name) => {
          if (name === 'exit') options.onExit?.()
        },
        isMissingSomething: () => device.#loader?.isWaitingForKey === true || device.#measuring.isWaitingForKey,
      },
    )
    await device.#member.begin()
    device.#cancelTelemetry = every(options.clock, options.telemetryMs ?? 1000, () => device.#tellTelemetry())
    return device
  }

  get id(): DeviceId {
    return this.#options.id
  }

  /** What the device has made of its newest assignment. */
  get report(): Assigned | undefined {
    return this.#report
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#cancelTelemetry()
    this.#loader?.cancel()
    this.#measuring.close()
    await this.#member.close()
    await this.#stage?.stage.close()
    for (const { dek } of this.#segmentKeys.values()) dek.fill(0)
  }

  #assigned(assignment: Assignment): void {
    const known = this.#assignment
    if (known !== undefined && assignment.rev < known.rev) return
    if (known !== undefined && assignment.rev === known.rev) {
      if (this.#report !== undefined) this.#tell(this.#report)
      return
    }
    this.#assignment = assignment
    const { work } = assignment
    if (work.kind === 'client') {
      this.#fail(new Refusal('not-allowed', 'a device with a stage was assigned the work of a client'))
      return
    }
    if (work.kind === 'none') {
      this.#loader?.cancel()
      this.#drop()
      for (const arrival of this.#early.splice(0)) arrival.took()
      this.#member.setPeers(new Set(), new Set())
      this.#tell({ rev: assignment.rev, state: 'ready' })
      return
    }
    const current = this.#stage
    const unsettled = this.#member.setPeers(peersOf(work), sourcesOf(work))
    if (current !== undefined && isSameStage(current.work, work)) {
      current.work = work
      // Of clients that have left: nobody waits for these results any more.
      for (const { peer, requests } of unsettled) current.stage.settled(requests, peer)
      current.stage.serve(work.clients)
      if (this.#report !== undefined) this.#tell({ ...this.#report, rev: assignment.rev })
      return
    }
    void this.#load(assignment.rev, work)
  }

  async #load(rev: number, work: StageWork): Promise<void> {
    this.#loader?.cancel()
    this.#drop()
    const loader = new Loader({
      file: work.segment,
      store: this.#options.store,
      clock: this.#options.clock,
      ask: (asked) => this.#member.control.publish('blobGet', [this.id], asked),
      onProgress: (have, of) => this.#tell({ rev, state: 'loading', blocks: { have, of } }),
    })
    this.#loader = loader
    this.#isLoading = true
    const key = this.#segmentKeys.get(toHex(work.segment.fileHash))
    if (key !== undefined) loader.keyCame(key)
    try {
      assemblyOf(work) // a place that no request can get through is refused before anything is fetched for it
      checkRoom(work.segment, [...work.runInputs, ...work.runOutputs], this.#options.memoryBytes)
      const sealed = await loader.load()
      if (sealed === undefined) return // another assignment came
      const { engine, computeUs } = await this.#open(work, sealed.bytes, sealed.key)
      if (loader.isCancelled || this.#isClosed) {
        await engine.close()
        return
      }
      const stage = new Stage({
        place: work,
        engine,
        clock: this.#options.clock,
        events: {
          send: (activation, to) => this.#member.peers.channel(to).offer(activation),
          settle: (to, key) => this.#settle(to, key),
        },
      })
      stage.serve(work.clients)
      this.#stage = { stage, work }
      for (const arrival of this.#early.splice(0)) this.#takeEarly(arrival)
      await this.#forgetOthers(work.segment.fileHash)
      this.#options.log('stage ready', { plan: work.plan, stage: work.stage, engine: engine.mode, computeUs })
      this.#tell({
        rev,
        state: 'ready',
        blocks: { have: loader.of, of: loader.of },
        ...(computeUs === undefined ? {} : { computeUs }),
      })
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (!loader.isCancelled) this.#fail(error)
    } finally {
      if (this.#loader === loader) this.#isLoading = false
    }
  }

  /** Files of earlier segments are of no use; that they stay does no harm either. */
  async #forgetOthers(fileHash: Uint8Array): Promise<void> {
    try {
      await this.#options.store.keep([fileHash])
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.#options.log('old segments stay', { reason: error.message })
    }
  }

  /** Opens the segment: in clear only in memory, wiped when the session is made. */
  async #open(
    work: StageWork,
    sealed: Uint8Array,
    key: SegmentKey,
  ): Promise<{ engine: StageEngine; computeUs: number | undefined }> {
    const { segment } = work
    const inClear = (): Uint8Array<ArrayBuffer> =>
      openFile(
        sealed,
        key.dek,
        { model: segment.modelId, segment: segment.name, version: segment.version, device: this.id },
        this.#options.aeads,
      )
    const wanted = this.#options.engine ?? 'auto'
    const engine = await openEngine(inClear(), wanted === 'inline' ? 'inline' : 'worker')
    const computeUs = await trial(engine, work)
    const inputBytes = work.takes.flatMap(({ tensors }) => tensors).reduce((sum, port) => sum + byteLength(port), 0)
    if (wanted === 'auto' && computeUs !== undefined && computeUs < inlineBelowUs && inputBytes < inlineBelowBytes) {
      await engine.close()
      return { engine: await openEngine(inClear(), 'inline'), computeUs }
    }
    return { engine, computeUs }
  }

  #settle(to: DeviceId, key: RequestKey): void {
    try {
      this.#member.peers.channel(to).settle(key)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error // a peer of a plan that is over waits for nothing
    }
  }

  /** A frame for the plan that this device is about to serve waits; one for another plan is refused. */
  #arrived(arrival: Arrival): void {
    const { plan } = arrival.activation
    const current = this.#stage
    if (current !== undefined && plan <= current.work.plan) current.stage.arrived(arrival)
    else this.#early.push(arrival)
  }

  #takeEarly(arrival: Arrival): void {
    try {
      this.#arrived(arrival)
    } catch (error) {
      arrival.took()
      if (!(error instanceof Refusal)) throw error
      this.#options.log('refused', { code: error.code, reason: error.message, peer: arrival.from })
    }
  }

  #keyCame(key: SegmentKey): void {
    this.#segmentKeys.set(toHex(key.fileHash), key)
    this.#loader?.keyCame(key)
    this.#measuring.keyCame(key)
  }

  /** Whether a measurement would disturb, or be disturbed. */
  get #isBusy(): boolean {
    return this.#isLoading || (this.#stage !== undefined && this.#stage.stage.open > 0)
  }

  #drop(): void {
    const stage = this.#stage
    this.#stage = undefined
    for (const channel of this.#member.peers.all()) channel.clear()
    void stage?.stage.close()
  }

  #fail(reason: Refusal): void {
    this.#options.log('assignment failed', { code: reason.code, reason: reason.message })
    const rev = this.#assignment!.rev
    this.#tell({ rev, state: 'failed', reason: { code: reason.code, message: reason.message.slice(0, 512) } })
  }

  #tell(report: Assigned): void {
    this.#report = report
    this.#publish('assigned', report)
  }

  #publish<N extends 'assigned' | 'measured'>(name: N, report: BodyOf<N>): void {
    void this.#member.control.publish(name, [this.id], report).catch((error: unknown) => {
      this.#options.log('report not sent', { reason: reasonOf(error) }) // the hub asks by publishing again
    })
  }

  #tellTelemetry(): void {
    const current = this.#stage
    if (current === undefined || !this.#member.control.online) return
    const { stage, work } = current
    void this.#member.control
      .publish('telemetry', [this.id], {
        plan: work.plan,
        stage: work.stage,
        frames: stage.counters.frames,
        computeUs: stage.counters.computeUs,
        queued: stage.queued,
        retained: stage.retained,
        duplicates: stage.counters.duplicates,
        refused: this.#refused,
        links: this.#member.peers.all().map(({ peer, link, traffic }) => ({
          peer,
          kind: link,
          sentBytes: traffic.sentBytes,
          sentFrames: traffic.sentFrames,
        })),
        residentBytes: process.memoryUsage.rss(),
      })
      .catch(() => {}) // the next report says it all again
  }
}

/** Those whose frames a stage takes or gives: who holds the stages beside it, and the clients at the ends. */
export function peersOf({ takes, sends, clients }: StageWork): Set<DeviceId> {
  const peers = devicesOf([...takes, ...sends])
  if (meetsClients([...takes, ...sends])) for (const { device } of clients) peers.add(device)
  return peers
}

/** Those whose activations a stage takes. */
function sourcesOf({ takes, clients }: StageWork): Set<DeviceId> {
  const sources = devicesOf(takes)
  if (meetsClients(takes)) for (const { device } of clients) sources.add(device)
  return sources
}

function isSameStage(a: StageWork, b: StageWork): boolean {
  return a.plan === b.plan && a.stage === b.stage && toHex(a.segment.fileHash) === toHex(b.segment.fileHash)
}

/**
 * The least time of the segment on zeros, in microseconds, since what else runs only ever adds, and a fleet that starts runs
 * much else; `undefined` where zeros are no input that it can take.
 */
async function trial(engine: StageEngine, work: StageWork): Promise<number | undefined> {
  let leastUs = Infinity
  for (let run = 0; run < trialRuns; run++) {
    const feeds = Object.fromEntries(work.runInputs.map((port) => [port.name, zeros(port)]))
    try {
      const { computeUs } = await engine.run(
        feeds,
        work.runOutputs.map((port) => port.name),
      )
      leastUs = Math.min(leastUs, computeUs)
    } catch (error) {
      if (error instanceof Refusal) return undefined
      throw error
    }
  }
  return leastUs
}

function zeros({ dtype, shape }: Port): Tensor {
  const items = shape.reduce((product, dim) => product * dim, 1)
  if (dtype === 'string') return { dtype, shape, data: Array.from({ length: items }, () => '') }
  return { dtype, shape, data: new Uint8Array(items * itemBytes[dtype]) }
}
