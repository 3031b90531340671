/**
 * One stage of a pipeline: takes activations, runs its segment on each once, passes the result on, and says upstream that
 * a request is settled only after it is settled downstream (D17).
 */

import type { Cancel, Clock } from '#shared/clock.js'
import { Refusal, reasonOf } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { checkTensor, type Port, type Tensor } from '#shared/onnx/tensor.js'
import type { Activation, WireTensor } from '#shared/protocol/tensors.js'
import type { Arrival } from '#shared/session/channel.js'
import { requestName, Requests, type RequestKey } from '#shared/session/requests.js'
import type { StageEngine } from './engine.js'

/** The stage's place in its plan and the ports of its segment. */
export interface StagePlace {
  readonly plan: number
  readonly stage: number
  readonly stages: number
  /** The stage before; absent for the first one, which takes from clients. */
  readonly upstream?: DeviceId | undefined
  readonly receives: readonly Port[]
  readonly sends: readonly Port[]
  readonly runInputs: readonly Port[]
  readonly runOutputs: readonly Port[]
}

export interface StageEvents {
  /**
   * Passes a finished activation to the next stage, or to its client after the last. Throws `Refusal('unknown-sender')`
   * while that is no peer of ours, another `Refusal` for an activation that no frame can carry.
   */
  send(activation: Activation): void
  /** Tells `to` that it need not keep this request. */
  settle(to: DeviceId, key: RequestKey): void
}

/** Runs handed to the engine at once: one at work and one ready, so that a worker never waits for the next. */
const runsAhead = 2
/** Finished activations kept for their acknowledgement; at the limit the stage takes no more work. */
const maxRetained = 1024
/** And their bytes; one is always taken. */
export const maxRetainedBytes = 256 << 20
/** A result whose client is no peer: it may become one in a moment, when the plan that says so comes. */
const askAgainMs = 250
export const unclaimedMs = 10_000

export interface StageCounters {
  frames: number
  computeUs: number
  duplicates: number
  failures: number
  /** Results dropped because nobody was there to take them. */
  unclaimed: number
}

/** A request that came and is not settled. */
interface InHand {
  /** The one to tell when it is settled: the last that sent it. */
  sender: DeviceId
  /** Bytes of its finished activation; `undefined` before. */
  retainedBytes: number | undefined
}

export class Stage {
  readonly place: StagePlace
  readonly counters: StageCounters = { frames: 0, computeUs: 0, duplicates: 0, failures: 0, unclaimed: 0 }
  readonly #engine: StageEngine
  readonly #events: StageEvents
  readonly #clock: Clock
  readonly #queue: { arrival: Arrival; queuedMs: number }[] = []
  readonly #requests = new Requests()
  readonly #inHand = new Map<string, InHand>()
  /** Finished, but their client is no peer. */
  #unclaimed: { activation: Activation; sinceMs: number }[] = []
  #cancelAsking: Cancel | undefined
  #running = 0
  #retained = 0
  #retainedBytes = 0
  #isClosed = false

  constructor(options: { place: StagePlace; engine: StageEngine; events: StageEvents; clock: Clock }) {
    this.place = options.place
    this.#engine = options.engine
    this.#events = options.events
    this.#clock = options.clock
  }

  /** Activations that wait for the engine. */
  get queued(): number {
    return this.#queue.length
  }

  /** Finished activations that the next hop has not settled. */
  get retained(): number {
    return this.#retained
  }

  /** Requests that came and are not settled. */
  get open(): number {
    return this.#inHand.size
  }

  /** Takes in an activation. Throws `Refusal` when it is not for this stage; duplicates are sorted out here. */
  arrived(arrival: Arrival): void {
    const { activation, from } = arrival
    this.#check(activation, from)
    const admission = this.#requests.admit(activation, activation.low)
    const name = requestName(activation)
    const inHand = this.#inHand.get(name)
    if (admission === 'new' && inHand === undefined) {
      this.#inHand.set(name, { sender: from, retainedBytes: undefined })
      this.#queue.push({ arrival, queuedMs: this.#clock.monotonicMs() })
      this.#work()
      return
    }
    this.counters.duplicates++
    if (inHand === undefined) this.#events.settle(from, activation)
    else inHand.sender = from
    arrival.took()
  }

  /** The next hop has settled these requests, or there is none any more. */
  settled(keys: readonly RequestKey[]): void {
    for (const key of keys) {
      const name = requestName(key)
      const inHand = this.#inHand.get(name)
      if (inHand?.retainedBytes === undefined) continue
      this.#inHand.delete(name)
      this.#requests.settle(key)
      this.#retained--
      this.#retainedBytes -= inHand.retainedBytes
      this.#events.settle(inHand.sender, key)
    }
    this.#work()
  }

  /** Takes nothing more; resolves when the engine has ended. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelAsking?.()
    this.#unclaimed = []
    for (const { arrival } of this.#queue.splice(0)) arrival.took()
    await this.#engine.close()
  }

  #check({ plan, stage, client, hops }: Activation, from: DeviceId): void {
    const { place } = this
    if (plan !== place.plan || stage !== place.stage) {
      throw new Refusal(
        'not-allowed',
        `a frame for stage ${stage} of plan ${plan} came to stage ${place.stage} of plan ${place.plan}`,
      )
    }
    if (hops.length !== stage) throw new Refusal('bad-message', `a frame for stage ${stage} with ${hops.length} hops`)
    // A client speaks for itself only: else it could end the requests of another.
    const sender = place.stage === 0 ? client : place.upstream
    if (sender !== undefined && from !== sender) {
      throw new Refusal('not-allowed', `a frame that should come from ${sender} came from ${from}`)
    }
  }

  #work(): void {
    while (!this.#isClosed && this.#running < runsAhead && this.#mayRetainMore) {
      const next = this.#queue.shift()
      if (next === undefined) return
      this.#running++
      void this.#run(next.arrival, next.queuedMs).finally(() => {
        this.#running--
        this.#work()
      })
    }
  }

  get #mayRetainMore(): boolean {
    return this.#retained + this.#running < maxRetained && this.#retainedBytes < maxRetainedBytes
  }

  async #run({ activation, openUs, took }: Arrival, queuedMs: number): Promise<void> {
    const queuedUs = Math.round((this.#clock.monotonicMs() - queuedMs) * 1000)
    let computeUs = 0
    let tensors: readonly WireTensor[] = []
    let failure = activation.failure
    if (failure === undefined) {
      try {
        const given = this.#given(activation)
        const running = this.#engine.run(given.feeds, this.place.runOutputs.map(nameOfPort))
        took()
        const ran = await running
        computeUs = ran.computeUs
        tensors = this.place.sends.map((port) => named(port, ran.outputs[port.name] ?? given.passed.get(port.name)))
      } catch (error) {
        failure = this.#failureOf(error)
      }
    }
    took()
    if (this.#isClosed) return
    this.counters.frames++
    this.counters.computeUs += computeUs
    const hop = { stage: this.place.stage, queuedUs, computeUs, sealUs: openUs }
    const { plan, client, run, request, low } = activation
    const head = { plan, client, run, request, low, stage: this.place.stage + 1, hops: [...activation.hops, hop] }
    this.#retain(activation, tensors)
    this.#send({ ...head, ...(failure === undefined ? { tensors } : { tensors: [], failure }) })
  }

  #retain(key: RequestKey, tensors: readonly WireTensor[]): void {
    const inHand = this.#inHand.get(requestName(key))!
    const bytes = tensors.reduce((sum, { data }) => sum + data.length, 0)
    inHand.retainedBytes = bytes
    this.#retained++
    this.#retainedBytes += bytes
  }

  #send(activation: Activation): void {
    try {
      this.#events.send(activation)
    } catch (error) {
      if (error instanceof Refusal && error.code === 'unknown-sender') {
        this.#unclaimed.push({ activation, sinceMs: this.#clock.monotonicMs() })
        this.#askLater()
      } else if (activation.failure === undefined) {
        this.#send({ ...activation, tensors: [], failure: this.#failureOf(error) })
      } else throw error
    }
  }

  #askLater(): void {
    this.#cancelAsking ??= this.#clock.after(askAgainMs, () => {
      this.#cancelAsking = undefined
      const nowMs = this.#clock.monotonicMs()
      for (const { activation, sinceMs } of this.#unclaimed.splice(0)) this.#askAgain(activation, sinceMs, nowMs)
      if (this.#unclaimed.length > 0) this.#askLater()
    })
  }

  #askAgain(activation: Activation, sinceMs: number, nowMs: number): void {
    try {
      this.#events.send(activation)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (nowMs - sinceMs < unclaimedMs) {
        this.#unclaimed.push({ activation, sinceMs })
        return
      }
      this.counters.unclaimed++
      this.settled([activation])
    }
  }

  #failureOf(error: unknown): { code: string; message: string } {
    if (!(error instanceof Refusal)) throw error
    this.counters.failures++
    return { code: error.code, message: `stage ${this.place.stage}: ${reasonOf(error)}` }
  }

  /** Checks what came against the segment's ports, and parts it into what the engine gets and what only passes through. */
  #given(activation: Activation): { feeds: Record<string, Tensor>; passed: Map<string, Tensor> } {
    const came = new Map(activation.tensors.map((tensor) => [tensor.name, tensor as Tensor & WireTensor]))
    for (const port of this.place.receives) {
      const tensor = came.get(port.name)
      if (tensor === undefined) throw new Refusal('bad-tensor', `tensor '${port.name}' is missing from the request`)
      checkTensor(port, tensor)
    }
    const produced = new Set(this.place.runOutputs.map(nameOfPort))
    const passed = new Map<string, Tensor>()
    for (const { name } of this.place.sends) {
      const tensor = came.get(name)
      // The engine takes the memory of its feeds over, so what travels on gets its own.
      if (!produced.has(name) && tensor !== undefined) passed.set(name, copyOf(tensor))
    }
    const feeds: Record<string, Tensor> = {}
    for (const { name } of this.place.runInputs) {
      const { dtype, shape, data } = came.get(name)!
      feeds[name] = { dtype, shape, data }
    }
    return { feeds, passed }
  }
}

function nameOfPort(port: Port): string {
  return port.name
}

function copyOf({ dtype, shape, data }: Tensor): Tensor {
  return { dtype, shape, data: data instanceof Uint8Array ? Uint8Array.from(data) : data }
}

function named(port: Port, tensor: Tensor | undefined): WireTensor {
  if (tensor === undefined) throw new Refusal('bad-segment', `the segment gave no tensor '${port.name}'`)
  return { name: port.name, dtype: tensor.dtype, shape: tensor.shape, data: tensor.data }
}
