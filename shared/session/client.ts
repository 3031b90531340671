/**
 * A client of a pipeline: a device with no stage. Hands tensors to the first stage, settles promises with what the last
 * one sends, each request exactly once. Knows no socket: the two channels are given.
 */

import type { Clock } from '../clock.js'
import { isRefusalCode, Refusal } from '../errors.js'
import type { DeviceId } from '../ids.js'
import type { Hop, WireTensor } from '../protocol/tensors.js'
import type { Arrival, Channel } from './channel.js'
import { maxOpenRequests } from './requests.js'

export interface Result {
  readonly request: number
  /** The model's outputs, in its order. */
  readonly tensors: readonly WireTensor[]
  readonly hops: readonly Hop[]
  readonly latencyMs: number
}

interface Open {
  readonly startMs: number
  /** Kept until the result is there: another plan begins from them again. */
  readonly tensors: readonly WireTensor[]
  readonly resolve: (result: Result) => void
  readonly reject: (reason: Refusal) => void
}

/** The pipeline that requests go to: one plan. */
export interface Pipeline {
  readonly plan: number
  readonly stages: number
  readonly first: Channel
  readonly last: Channel
}

export class Client {
  readonly #id: DeviceId
  readonly #run: Uint8Array
  readonly #clock: Clock
  readonly #open = new Map<number, Open>()
  #pipeline: Pipeline | undefined
  #next = 0
  /** Results that came again, after theirs had been delivered: each was dropped. */
  repeated = 0

  constructor(options: { id: DeviceId; bootId: Uint8Array; clock: Clock }) {
    this.#id = options.id
    this.#run = options.bootId
    this.#clock = options.clock
  }

  /** Requests whose result has not come. */
  get open(): number {
    return this.#open.size
  }

  /** Requests go this way from now on; those that are open begin anew when the plan is another. */
  use(pipeline: Pipeline): void {
    const before = this.#pipeline
    this.#pipeline = pipeline
    if (before?.plan === pipeline.plan && before.first === pipeline.first) return
    before?.first.clear() // stages of another plan refuse what they are sent
    for (const [request, open] of this.#open) this.#offer(pipeline, request, open)
  }

  /**
   * Sends one request. Resolves with the outputs; rejects with the `Refusal` that a stage gave, with that of
   * `Channel.offer`, and with `Refusal('over-limit')` at once while `maxOpenRequests` are open.
   */
  infer(tensors: readonly WireTensor[]): Promise<Result> {
    const pipeline = this.#pipeline
    if (pipeline === undefined) {
      return Promise.reject(new Refusal('device-lost', 'no pipeline is ready: deploy a model and wait until it is'))
    }
    if (this.#next - this.#low() >= maxOpenRequests) {
      return Promise.reject(
        new Refusal('over-limit', `${maxOpenRequests} requests are open: wait for results before sending more`),
      )
    }
    const request = this.#next++
    return new Promise((resolve, reject) => {
      const open = { startMs: this.#clock.monotonicMs(), tensors, resolve, reject }
      this.#open.set(request, open)
      this.#offer(pipeline, request, open)
    })
  }

  /**
   * Something came from the last stage: settles its request, or drops what was settled before. Throws
   * `Refusal('not-allowed')` for what comes from elsewhere or is for another client.
   */
  arrived({ activation, took, from }: Arrival): void {
    took()
    const pipeline = this.#pipeline
    if (pipeline === undefined || from !== pipeline.last.peer || activation.client !== this.#id) {
      throw new Refusal('not-allowed', `a result from ${from}, which is not the last stage of our pipeline`)
    }
    pipeline.last.settle(activation)
    const open = this.#open.get(activation.request)
    if (open === undefined || !sameRun(activation.run, this.#run)) {
      this.repeated++
      return
    }
    this.#open.delete(activation.request)
    if (activation.failure !== undefined) {
      const { code, message } = activation.failure
      open.reject(new Refusal(isRefusalCode(code) ? code : 'bad-segment', `request ${activation.request}: ${message}`))
      return
    }
    open.resolve({
      request: activation.request,
      tensors: activation.tensors,
      hops: activation.hops,
      latencyMs: this.#clock.monotonicMs() - open.startMs,
    })
  }

  /** Rejects whatever is open, e.g. because the fleet is being closed. */
  close(reason: Refusal): void {
    for (const { reject } of this.#open.values()) reject(reason)
    this.#open.clear()
    this.#pipeline = undefined
  }

  #offer({ plan, first }: Pipeline, request: number, { tensors, reject }: Open): void {
    try {
      const low = this.#low()
      first.offer({ plan, client: this.#id, run: this.#run, request, low, stage: 0, hops: [], tensors })
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.#open.delete(request)
      reject(error)
    }
  }

  /** Every request below has its result. */
  #low(): number {
    for (const request of this.#open.keys()) return request // insertion order is the order of numbers
    return this.#next
  }
}

function sameRun(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
