/**
 * A client of a pipeline: a device with no stage. Hands tensors to those that take from it, settles promises with what
 * those that give to it send, each request exactly once. Knows no socket: the channels are given.
 */

import type { Clock } from '../clock.js'
import { isRefusalCode, Refusal } from '../errors.js'
import type { DeviceId } from '../ids.js'
import type { Activation, Hop, WireTensor } from '../protocol/tensors.js'
import type { Arrival, Channel } from './channel.js'
import { hopsOf } from './hops.js'
import { maxOpenRequests } from './requests.js'

export interface Result {
  /** Its number in the plan that finished it. */
  readonly request: number
  /** The model's outputs, as `Pipeline.join` gives them. */
  readonly tensors: readonly WireTensor[]
  /** What each stage spent on it, in the order of the stages. */
  readonly hops: readonly Hop[]
  readonly latencyMs: number
}

/** One way to or from a stage. */
export interface Way {
  readonly stage: number
  /** To those that hold the stage: the request number modulo their count says which. */
  readonly channels: readonly Channel[]
}

/** The pipeline that requests go to: one plan. */
export interface Pipeline {
  readonly plan: number
  readonly sends: readonly Way[]
  readonly takes: readonly Way[]
  /** What goes by each way of `sends`, of the tensors that were given. */
  part(tensors: readonly WireTensor[]): readonly (readonly WireTensor[])[]
  /** The result, of what came by each way of `takes`. Throws `Refusal` for what makes none. */
  join(came: readonly (readonly WireTensor[])[]): readonly WireTensor[]
}

interface Open {
  readonly startMs: number
  /** Kept until the result is there: another plan begins from them again. */
  readonly tensors: readonly WireTensor[]
  readonly resolve: (result: Result) => void
  readonly reject: (reason: Refusal) => void
  /** By the ways of the pipeline in use. */
  came: (Activation | undefined)[]
}

export class Client {
  readonly #id: DeviceId
  readonly #run: Uint8Array
  readonly #clock: Clock
  /** Requests of which something has not come; also those that have failed, until the rest of them has come, too. */
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
    if (before !== undefined && isSame(before, pipeline)) return
    // Stages of another plan refuse what they are sent.
    for (const { channels } of before?.sends ?? []) for (const channel of channels) channel.clear()
    const unfinished = [...this.#open.values()]
    this.#open.clear()
    // Under new numbers: of the old ones, members that have not heard of the plan may still say that they are settled.
    for (const open of unfinished) this.#begin(pipeline, open)
  }

  /**
   * Sends one request. Resolves with the outputs; rejects with the first `Refusal` that a stage gave, with that of
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
    return new Promise((resolve, reject) => {
      this.#begin(pipeline, { startMs: this.#clock.monotonicMs(), tensors, resolve, reject, came: [] })
    })
  }

  /**
   * Something came from a stage: with the last part of a result its request is settled; what was settled before is
   * dropped. Throws `Refusal('not-allowed')` for what comes from elsewhere or is for another client.
   */
  arrived({ activation, took, from }: Arrival): void {
    took()
    const { client, run, request } = activation
    const pipeline = this.#pipeline
    const way = pipeline?.takes.findIndex(({ channels }) => channelFor(channels, request).peer === from) ?? -1
    if (pipeline === undefined || way === -1 || client !== this.#id) {
      throw new Refusal('not-allowed', `a result from ${from}, of which our pipeline takes none`)
    }
    if (activation.plan !== pipeline.plan) return // of a plan that is over: the request has begun anew
    channelFor(pipeline.takes[way]!.channels, request).settle(activation)
    const open = this.#open.get(request)
    if (open === undefined || !sameRun(run, this.#run) || open.came[way] !== undefined) {
      this.repeated++
      return
    }
    open.came[way] = activation
    if (activation.failure !== undefined) {
      const { code, message } = activation.failure
      open.reject(new Refusal(isRefusalCode(code) ? code : 'bad-segment', `request ${request}: ${message}`))
    }
    const came = open.came.filter((one) => one !== undefined)
    if (came.length < pipeline.takes.length) return
    this.#open.delete(request)
    if (came.every(({ failure }) => failure === undefined)) this.#finish(pipeline, request, open, came)
  }

  /** Rejects whatever is open, e.g. because the fleet is being closed. */
  close(reason: Refusal): void {
    for (const { reject } of this.#open.values()) reject(reason)
    this.#open.clear()
    this.#pipeline = undefined
  }

  #finish(pipeline: Pipeline, request: number, open: Open, came: readonly Activation[]): void {
    try {
      open.resolve({
        request,
        tensors: pipeline.join(came.map(({ tensors }) => tensors)),
        hops: hopsOf(came),
        latencyMs: this.#clock.monotonicMs() - open.startMs,
      })
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      open.reject(new Refusal(error.code, `request ${request}: ${error.message}`))
    }
  }

  #begin(pipeline: Pipeline, open: Open): void {
    const request = this.#next++
    this.#open.set(request, open)
    const head = { plan: pipeline.plan, client: this.#id, run: this.#run, request, low: this.#low(), hops: [] }
    open.came = pipeline.takes.map(() => undefined)
    let failure: Refusal | undefined
    const parts = pipeline.part(open.tensors)
    for (const [i, { stage, channels }] of pipeline.sends.entries()) {
      const channel = channelFor(channels, request)
      try {
        if (failure === undefined) {
          channel.offer({ ...head, stage, tensors: parts[i]! })
          continue
        }
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        failure = error
        open.reject(error)
        if (i === 0) {
          this.#open.delete(request) // nobody has heard of it
          return
        }
      }
      // Those that have their part of it already must hear that the rest will not come.
      channel.offer({ ...head, stage, tensors: [], failure })
    }
  }

  /** Every request below has its result. */
  #low(): number {
    for (const request of this.#open.keys()) return request // insertion order is the order of numbers
    return this.#next
  }
}

function channelFor(channels: readonly Channel[], request: number): Channel {
  return channels[request % channels.length]!
}

/** Whether nothing changes between two pipelines but what is known of them. */
function isSame(a: Pipeline, b: Pipeline): boolean {
  const channelsOf = ({ sends, takes }: Pipeline): Channel[] => [...sends, ...takes].flatMap(({ channels }) => channels)
  const [ours, theirs] = [channelsOf(a), channelsOf(b)]
  return a.plan === b.plan && ours.length === theirs.length && ours.every((channel, i) => channel === theirs[i])
}

function sameRun(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
