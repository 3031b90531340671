/**
 * Sends tensors through a fleet's pipeline and gets results. A client is a member with no stage: it shares keys with the
 * devices that it sends to and takes from, and the hub never sees its data.
 */

import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { checkTensor, type Tensor } from '#shared/onnx/tensor.js'
import type { Assignment, ClientWork } from '#shared/protocol/messages.js'
import type { Hop } from '#shared/protocol/tensors.js'
import { Client as SessionClient } from '#shared/session/client.js'
import type { LinkKind } from '#shared/session/channel.js'
import { Member, type MemberOptions } from './member.js'
import { pipelineOf } from './pipeline.js'
import { devicesOf } from './runtime/legs.js'

export type ClientOptions = Omit<MemberOptions, 'role'>

export interface Inference {
  readonly request: number
  /** The model's outputs by name. */
  readonly outputs: Readonly<Record<string, Tensor>>
  /** What each stage spent on it, in the order of the stages. */
  readonly hops: readonly Hop[]
  readonly latencyMs: number
}

/** The way to a peer of a client, and what went there. */
export interface ClientLink {
  readonly peer: DeviceId
  readonly kind: LinkKind | 'none'
  readonly sentBytes: number
  readonly receivedFrames: number
  readonly resentFrames: number
}

export class Client {
  readonly #options: ClientOptions
  #member!: Member
  #session!: SessionClient
  #work: { rev: number; work: ClientWork } | undefined
  #waiting: (() => void)[] = []

  private constructor(options: ClientOptions) {
    this.#options = options
  }

  /** Joins the fleet. Throws what `Member.join` throws. */
  static async connect(options: ClientOptions): Promise<Client> {
    const client = new Client(options)
    client.#member = await Member.join(
      { ...options, role: 'client' },
      {
        onAssignment: (assignment) => client.#assigned(assignment),
        onSegmentKey: ({ dek }) => dek.fill(0), // a client holds no segment
        onBlock: () => {},
        onActivation: (arrival) => client.#session.arrived(arrival),
        onSettled: () => {},
        onLink: (peer, link) => options.log('link', { peer, link }),
        onCommand: () => {},
        onMeasure: () => {}, // the hub measures devices only
        isMissingSomething: () => client.#work === undefined, // the hub may have had no room for us before
      },
    )
    client.#session = new SessionClient({ id: options.id, bootId: client.#member.bootId, clock: options.clock })
    await client.#member.begin()
    return client
  }

  /**
   * The pipeline this client is given, as soon as there is one and all its ends share keys with us. Throws
   * `Refusal('timed-out')` when that takes longer than `withinMs`; waits for ever where that is not given.
   */
  async ready(withinMs = Infinity): Promise<ClientWork> {
    const { clock } = this.#options
    const startMs = clock.monotonicMs()
    while (this.#work === undefined || this.#member.peers.withoutKeys().length > 0) {
      if (clock.monotonicMs() - startMs >= withinMs) {
        const missing =
          this.#work === undefined
            ? 'the hub has assigned none: deploy a model, and start as many devices as it has stages'
            : 'a device that we send to or take from is not here: start it'
        throw new Refusal('timed-out', `no pipeline within ${withinMs / 1000} s; ${missing}`)
      }
      await new Promise<void>((resolve) => {
        const cancel = clock.after(20, resolve)
        this.#waiting.push(() => {
          cancel()
          resolve()
        })
      })
    }
    return this.#work.work
  }

  get id(): DeviceId {
    return this.#options.id
  }

  /** Requests without a result yet. */
  get open(): number {
    return this.#session.open
  }

  /** Results that came again and were dropped. */
  get repeated(): number {
    return this.#session.repeated
  }

  get links(): ClientLink[] {
    return this.#member.peers.all().map(({ peer, link, traffic }) => ({
      peer,
      kind: link,
      sentBytes: traffic.sentBytes,
      receivedFrames: traffic.receivedFrames,
      resentFrames: traffic.resentFrames,
    }))
  }

  /**
   * Runs the model on `inputs`, by name. Rejects with `Refusal('bad-tensor')` for a missing, superfluous or wrong tensor
   * before anything is sent, with `over-limit` while too many requests are open, and with what a stage says it cannot do.
   */
  async infer(inputs: Readonly<Record<string, Tensor>>): Promise<Inference> {
    const work = this.#work?.work
    if (work === undefined) throw new Refusal('device-lost', 'no pipeline is ready: deploy a model, then await ready()')
    for (const name of Object.keys(inputs)) {
      if (!work.inputs.some((port) => port.name === name)) {
        const names = work.inputs.map((port) => `'${port.name}'`).join(', ')
        throw new Refusal('bad-tensor', `the model has no input '${name}': its inputs are ${names}`)
      }
    }
    const tensors = work.inputs.map((port) => {
      const tensor = inputs[port.name]
      if (tensor === undefined) throw new Refusal('bad-tensor', `input '${port.name}' is missing`)
      checkTensor(port, tensor)
      return { name: port.name, dtype: tensor.dtype, shape: tensor.shape, data: tensor.data }
    })
    const result = await this.#session.infer(tensors)
    const outputs = Object.fromEntries(
      result.tensors.map(({ name, dtype, shape, data }) => [name, { dtype, shape, data } as Tensor]),
    )
    return { request: result.request, outputs, hops: result.hops, latencyMs: result.latencyMs }
  }

  async close(): Promise<void> {
    this.#session.close(new Refusal('cancelled', 'the client was closed'))
    await this.#member.close()
  }

  #assigned({ rev, work }: Assignment): void {
    if (this.#work !== undefined && rev <= this.#work.rev) return
    if (work.kind === 'stage') throw new Refusal('not-allowed', 'a client was assigned a stage')
    if (work.kind === 'none') {
      this.#work = undefined
      this.#member.setPeers(new Set(), new Set())
      return
    }
    const targets = devicesOf(work.sends)
    // Of those that are both, more goes to them than comes from them.
    const sources = new Set([...devicesOf(work.takes)].filter((device) => !targets.has(device)))
    this.#member.setPeers(new Set([...targets, ...sources]), sources)
    this.#session.use(pipelineOf(work, this.#member.peers))
    this.#work = { rev, work }
    for (const wake of this.#waiting.splice(0)) wake()
  }
}
