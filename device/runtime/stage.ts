/**
 * One stage of a plan: takes what belongs to a request from all that it takes from, runs its segment on it once, passes the
 * results on, and says upstream that the request is settled only after it is settled by all that they went to (D17).
 */

import type { Cancel, Clock } from '#shared/clock.js'
import { Refusal, reasonOf } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { sending, type Assembly, type Named } from '#shared/onnx/assembly.js'
import type { Tensor } from '#shared/onnx/tensor.js'
import type { Activation, WireTensor } from '#shared/protocol/tensors.js'
import type { Arrival } from '#shared/session/channel.js'
import { hopsOf } from '#shared/session/hops.js'
import { requestName, Requests, type RequestKey } from '#shared/session/requests.js'
import type { StageEngine } from './engine.js'
import { Gathering, type InHand } from './gathering.js'
import { assemblyOf, endOf, type StagePlace } from './legs.js'
import { ClientRuns, type ClientRun } from './runs.js'
import { Unclaimed, type Parcel } from './unclaimed.js'

export interface StageEvents {
  /**
   * Passes a finished activation on. Throws `Refusal('unknown-sender')` while `to` is no peer of ours, another `Refusal`
   * for an activation that no frame can carry.
   */
  send(activation: Activation, to: DeviceId): void
  /** Tells `to` that it need not keep this request. */
  settle(to: DeviceId, key: RequestKey): void
}

/** Runs handed to the engine at once: one at work and one ready, so that a worker never waits for the next. */
const runsAhead = 2
/** Finished requests kept until they are settled; at the limit the stage takes no more work, but for the first of all. */
const maxRetained = 1024
/** And the bytes of their results; one is always taken. */
export const maxRetainedBytes = 256 << 20

/** So long does a request in part wait for the rest of it where the hub has not told of its client's process. */
export const strangerMs = 10_000

export interface StageCounters {
  frames: number
  computeUs: number
  duplicates: number
  failures: number
  /** Results dropped because nobody was there to take them. */
  unclaimed: number
}

type Failure = NonNullable<Activation['failure']>

export class Stage {
  readonly place: StagePlace
  readonly counters: StageCounters = { frames: 0, computeUs: 0, duplicates: 0, failures: 0, unclaimed: 0 }
  readonly #engine: StageEngine
  readonly #events: StageEvents
  readonly #clock: Clock
  readonly #assembly: Assembly
  /** What the segment makes, and what is sent that it does not make. */
  readonly #fetches: readonly string[]
  readonly #passing: readonly string[]
  readonly #requests = new Requests()
  readonly #runs = new ClientRuns()
  readonly #gathering: Gathering
  /** Complete, and not handed to the engine. */
  #queue: InHand[] = []
  readonly #unclaimed: Unclaimed
  #cancelWatching: Cancel | undefined
  #running = 0
  #retained = 0
  #retainedBytes = 0
  #isClosed = false

  /** Throws the `Refusal` of `assemblyOf` for a place that no request can get through. */
  constructor(options: { place: StagePlace; engine: StageEngine; events: StageEvents; clock: Clock }) {
    this.place = options.place
    this.#engine = options.engine
    this.#events = options.events
    this.#clock = options.clock
    this.#assembly = assemblyOf(options.place)
    const { runOutputs, sends } = options.place
    this.#fetches = runOutputs.map(({ name }) => name)
    const sent = new Set(sends.flatMap(({ tensors }) => tensors.map(({ name }) => name)))
    this.#passing = [...sent].filter((name) => !this.#fetches.includes(name))
    this.#gathering = new Gathering(options.place.takes.length)
    this.#unclaimed = new Unclaimed(options.clock, {
      send: ({ activation, to }) => this.#events.send(activation, to),
      onGivenUp: ({ activation, to }) => {
        this.counters.unclaimed++
        this.settled([activation], to)
      },
    })
  }

  /** Requests that wait for the engine, or for the rest of what belongs to them. */
  get queued(): number {
    return this.#queue.length + this.#gathering.incomplete
  }

  /** Finished requests that those they went to have not settled. */
  get retained(): number {
    return this.#retained
  }

  /** Requests that came and are not settled. */
  get open(): number {
    return this.#gathering.size
  }

  /** The clients as the hub knows them now. What an earlier process of one asked is settled: nobody waits for it. */
  serve(clients: readonly ClientRun[]): void {
    this.#runs.set(clients)
    for (const inHand of this.#gathering.incompleteWhere((key) => this.#runs.isOver(key))) this.#giveUp(inHand)
  }

  /** Takes in an activation. Throws `Refusal` when it is not for this stage; duplicates are sorted out here. */
  arrived(arrival: Arrival): void {
    const { activation, from } = arrival
    const leg = this.#check(activation, from)
    const admission = this.#requests.admit(activation, activation.low)
    for (const passed of this.#gathering.passed(activation, activation.low)) this.#giveUp(passed)
    const name = requestName(activation)
    const known = this.#gathering.get(name)
    const isWanted = admission === 'new' && !this.#runs.isOver(activation)
    const inHand = known ?? (isWanted ? this.#gathering.begin(name, activation, this.#clock.monotonicMs()) : undefined)
    const added = inHand === undefined ? 'copy' : this.#gathering.add(inHand, leg, arrival)
    if (added === 'copy') {
      this.counters.duplicates++
      if (inHand === undefined) this.#events.settle(from, activation)
      arrival.took()
    } else if (added === 'complete') this.#enqueue(inHand!)
    else if (!this.#runs.isCurrent(activation)) this.#watchStrangers()
  }

  /** `by` has settled these requests, or is no peer any more. */
  settled(keys: readonly RequestKey[], by: DeviceId): void {
    for (const key of keys) {
      const inHand = this.#gathering.get(requestName(key))
      if (inHand?.retainedBytes === undefined) continue
      inHand.unsettled = inHand.unsettled.filter((leg) => endOf(this.place.sends[leg]!, key) !== by)
      if (inHand.unsettled.length === 0) this.#settle(inHand)
    }
    this.#work()
  }

  /** Takes nothing more; resolves when the engine has ended. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelWatching?.()
    this.#unclaimed.close()
    for (const { took } of this.#gathering.waiting()) took()
    for (const { arrivals } of this.#queue.splice(0)) for (const arrival of arrivals) arrival?.took()
    await this.#engine.close()
  }

  /** The leg that the frame came by. */
  #check(activation: Activation, from: DeviceId): number {
    const { place } = this
    const { plan, stage, hops } = activation
    if (plan !== place.plan || stage !== place.stage) {
      throw new Refusal(
        'not-allowed',
        `a frame for stage ${stage} of plan ${plan} came to stage ${place.stage} of plan ${place.plan}`,
      )
    }
    if (hops.some((hop, i) => hop.stage >= stage || hop.stage <= (hops[i - 1]?.stage ?? -1))) {
      throw new Refusal(
        'bad-message',
        `a frame for stage ${stage} with hops that are no ascending row of earlier stages`,
      )
    }
    // A client speaks for itself only: else it could end the requests of another. A replica speaks when it is its turn.
    const leg = place.takes.findIndex((one) => endOf(one, activation) === from)
    if (leg === -1) {
      const expected = place.takes.map((one) => endOf(one, activation)).join(' or ')
      throw new Refusal('not-allowed', `a frame that should come from ${expected} came from ${from}`)
    }
    return leg
  }

  #enqueue(inHand: InHand): void {
    inHand.sinceMs = this.#clock.monotonicMs()
    this.#queue.push(inHand)
    this.#work()
  }

  /** Of a process that the hub has not named the rest may never come: it is of an earlier start, before ours. */
  #watchStrangers(): void {
    this.#cancelWatching ??= this.#clock.after(strangerMs / 4, () => {
      this.#cancelWatching = undefined
      const nowMs = this.#clock.monotonicMs()
      const strange = this.#gathering.incompleteWhere((key) => !this.#runs.isCurrent(key))
      const late = strange.filter(({ sinceMs }) => nowMs - sinceMs >= strangerMs)
      for (const inHand of late) {
        const message = `stage ${this.place.stage}: the rest of the request did not come, and its client is unknown here`
        this.#gathering.fail(inHand, { code: 'timed-out', message })
        this.#enqueue(inHand)
      }
      if (late.length < strange.length) this.#watchStrangers()
    })
  }

  #work(): void {
    while (!this.#isClosed && this.#running < runsAhead) {
      const next = this.#next()
      if (next === undefined) return
      this.#running++
      void this.#run(next).finally(() => {
        this.#running--
        this.#work()
      })
    }
  }

  /** The request to run now. The first of all never waits for room: see `precedes`. */
  #next(): InHand | undefined {
    if (this.#queue.length === 0) return undefined
    if (this.#retained + this.#running < maxRetained && this.#retainedBytes < maxRetainedBytes)
      return this.#queue.shift()
    const at = this.#queue.indexOf(this.#gathering.first!)
    return at === -1 ? undefined : this.#queue.splice(at, 1)[0]
  }

  async #run(inHand: InHand): Promise<void> {
    const arrivals = inHand.arrivals.filter((arrival) => arrival !== undefined)
    inHand.arrivals = []
    const took = (): void => {
      for (const arrival of arrivals) arrival.took()
    }
    const activations = arrivals.map(({ activation }) => activation)
    const queuedUs = Math.round((this.#clock.monotonicMs() - inHand.sinceMs) * 1000)
    let computeUs = 0
    let tensors: readonly (readonly WireTensor[])[] = []
    let failure = inHand.failure ?? activations.find((activation) => activation.failure !== undefined)?.failure
    if (failure === undefined) {
      try {
        const given = this.#given(activations)
        const running = this.#engine.run(given.feeds, this.#fetches)
        took()
        const ran = await running
        computeUs = ran.computeUs
        const made = (name: string): Tensor | undefined => ran.outputs[name] ?? given.passed.get(name)
        tensors = this.place.sends.map((leg) => sending(made, leg.tensors))
      } catch (error) {
        failure = this.#failureOf(error)
      }
    }
    took()
    if (this.#isClosed) return
    this.counters.frames++
    this.counters.computeUs += computeUs
    const sealUs = arrivals.reduce((sum, { openUs }) => sum + openUs, 0)
    const hops = [...hopsOf(activations), { stage: this.place.stage, queuedUs, computeUs, sealUs }]
    this.#retain(inHand, failure === undefined ? tensors : [])
    const low = activations.reduce((most, activation) => Math.max(most, activation.low), 0)
    for (const [index, { stage }] of this.place.sends.entries()) {
      const { client, run, request } = inHand.key
      const head = { plan: this.place.plan, client, run, request, low, stage, hops }
      const activation = Object.assign(
        head,
        failure === undefined ? { tensors: tensors[index]! } : { tensors: [], failure },
      )
      this.#send({ activation, to: endOf(this.place.sends[index]!, inHand.key) })
    }
    if (this.place.sends.length === 0) this.#settle(inHand) // nobody needs what it makes
  }

  #retain(inHand: InHand, legs: readonly (readonly WireTensor[])[]): void {
    // What goes to several is held once.
    const seen = new Set<WireTensor['data']>()
    for (const tensors of legs) for (const { data } of tensors) seen.add(data)
    let bytes = 0
    for (const { length } of seen) bytes += length
    inHand.retainedBytes = bytes
    this.#retained++
    this.#retainedBytes += bytes
    inHand.unsettled = [...this.place.sends.keys()]
  }

  #send({ activation, to }: Parcel): void {
    try {
      this.#events.send(activation, to)
    } catch (error) {
      if (error instanceof Refusal && error.code === 'unknown-sender') {
        this.#unclaimed.add({ activation, to })
      } else if (activation.failure === undefined) {
        this.#send({ activation: { ...activation, tensors: [], failure: this.#failureOf(error) }, to })
      } else throw error
    }
  }

  /** All to whom its results went are done with the request: those that sent it can be told. */
  #settle(inHand: InHand): void {
    this.#retained--
    this.#retainedBytes -= inHand.retainedBytes!
    this.#gathering.end(inHand)
    this.#requests.settle(inHand.key)
    for (const leg of this.place.takes) this.#events.settle(endOf(leg, inHand.key), inHand.key)
  }

  /** Nobody waits for the result: it has come already, or its client has ended. What came of the request is settled. */
  #giveUp(inHand: InHand): void {
    this.#gathering.end(inHand)
    this.#requests.settle(inHand.key)
    for (const arrival of inHand.arrivals) {
      if (arrival === undefined) continue
      this.#events.settle(arrival.from, inHand.key)
      arrival.took()
    }
  }

  #failureOf(error: unknown): Failure {
    if (!(error instanceof Refusal)) throw error
    this.counters.failures++
    return { code: error.code, message: `stage ${this.place.stage}: ${reasonOf(error)}` }
  }

  /** Checks what came, and parts it into what the engine gets and what only passes through. */
  #given(activations: readonly Activation[]): { feeds: Record<string, Tensor>; passed: Map<string, Tensor> } {
    const came = this.#assembly.assemble(activations.map(({ tensors }) => tensors as readonly Named[]))
    const passed = new Map<string, Tensor>()
    // The engine takes the memory of its feeds over, so what travels on gets its own.
    for (const name of this.#passing) passed.set(name, copyOf(came.get(name)!))
    const feeds: Record<string, Tensor> = {}
    for (const { name } of this.place.runInputs) {
      const { dtype, shape, data } = came.get(name)!
      feeds[name] = { dtype, shape, data }
    }
    return { feeds, passed }
  }
}

function copyOf({ dtype, shape, data }: Tensor): Tensor {
  return { dtype, shape, data: data instanceof Uint8Array ? Uint8Array.from(data) : data }
}
