/**
 * One stage of a pipeline: takes activations, runs its segment on each once, passes the result on, and says upstream that
 * a request is settled only after it is settled downstream (D17).
 */

import type { Clock } from '#shared/clock.js'
import { Refusal, reasonOf } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { checkTensor, type Port, type Tensor } from '#shared/onnx/tensor.js'
import type { Activation, WireTensor } from '#shared/protocol/tensors.js'
import type { Arrival } from '#shared/session/channel.js'
import { Requests, runName, type RequestKey } from '#shared/session/requests.js'
import type { StageEngine } from './engine.js'

/** The stage's place in its plan and the ports of its segment. */
export interface StagePlace {
  readonly plan: number
  readonly stage: number
  readonly stages: number
  readonly receives: readonly Port[]
  readonly sends: readonly Port[]
  readonly runInputs: readonly Port[]
  readonly runOutputs: readonly Port[]
}

export interface StageEvents {
  /** Passes a finished activation to the next stage, or to its client after the last. */
  send(activation: Activation): void
  /** Tells `to` that it need not keep this request. */
  settle(to: DeviceId, key: RequestKey): void
}

/** Runs handed to the engine at once: one at work and one ready, so that a worker never waits for the next. */
const runsAhead = 2
/** Finished activations kept for their acknowledgement; at the limit the stage takes no more work. */
const maxRetained = 1024

export interface StageCounters {
  frames: number
  computeUs: number
  duplicates: number
  failures: number
}

export class Stage {
  readonly place: StagePlace
  readonly counters: StageCounters = { frames: 0, computeUs: 0, duplicates: 0, failures: 0 }
  readonly #engine: StageEngine
  readonly #events: StageEvents
  readonly #clock: Clock
  readonly #queue: { arrival: Arrival; queuedMs: number }[] = []
  readonly #requests = new Requests()
  /** Who sent a request that is in hand: the one to tell when it is settled. */
  readonly #sender = new Map<string, DeviceId>()
  #running = 0
  #retained = 0
  #isClosed = false

  constructor(options: { place: StagePlace; engine: StageEngine; events: StageEvents; clock: Clock }) {
    this.place = options.place
    this.#engine = options.engine
    this.#events = options.events
    this.#clock = options.clock
  }

  get queued(): number {
    return this.#queue.length
  }

  get retained(): number {
    return this.#retained
  }

  /** Takes in an activation. Throws `Refusal` when it is not for this stage; duplicates are sorted out here. */
  arrived(arrival: Arrival): void {
    const { activation, from } = arrival
    try {
      if (activation.plan !== this.place.plan || activation.stage !== this.place.stage) {
        throw new Refusal(
          'not-allowed',
          `a frame for stage ${activation.stage} of plan ${activation.plan} came to stage ${this.place.stage} of plan ${this.place.plan}`,
        )
      }
      const admission = this.#requests.admit(activation, activation.low)
      if (admission !== 'new') {
        this.counters.duplicates++
        if (admission === 'in-hand') this.#sender.set(nameOf(activation), from)
        else this.#events.settle(from, activation)
        arrival.took()
        return
      }
    } catch (error) {
      arrival.took()
      throw error
    }
    this.#sender.set(nameOf(activation), from)
    this.#queue.push({ arrival, queuedMs: this.#clock.monotonicMs() })
    this.#work()
  }

  /** The next hop has settled these requests. */
  settled(keys: readonly RequestKey[]): void {
    for (const key of keys) {
      this.#retained--
      this.#requests.settle(key)
      const name = nameOf(key)
      const sender = this.#sender.get(name)
      this.#sender.delete(name)
      if (sender !== undefined) this.#events.settle(sender, key)
    }
    this.#work()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#queue.length = 0
    await this.#engine.close()
  }

  #work(): void {
    while (!this.#isClosed && this.#running < runsAhead && this.#retained + this.#running < maxRetained) {
      const next = this.#queue.shift()
      if (next === undefined) return
      this.#running++
      void this.#run(next.arrival, next.queuedMs).finally(() => {
        this.#running--
        this.#work()
      })
    }
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
        if (!(error instanceof Refusal)) throw error
        failure = { code: error.code, message: `stage ${this.place.stage}: ${reasonOf(error)}` }
        this.counters.failures++
      }
    }
    took()
    if (this.#isClosed) return
    this.counters.frames++
    this.counters.computeUs += computeUs
    this.#retained++
    const hop = { stage: this.place.stage, queuedUs, computeUs, sealUs: openUs }
    const { plan, client, run, request, low } = activation
    this.#events.send({
      plan,
      client,
      run,
      request,
      low,
      stage: this.place.stage + 1,
      hops: [...activation.hops, hop],
      tensors: failure === undefined ? tensors : [],
      ...(failure === undefined ? {} : { failure }),
    })
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

function nameOf(key: RequestKey): string {
  return `${runName(key)}/${key.request}`
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
