/** What a device hears on the control plane: decoded and verified, then handed to whoever listens. */

import type { Clock } from '#shared/clock.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import type { Message } from '#shared/protocol/codec.js'
import { Inbox, type Heard } from '#shared/protocol/inbox.js'
import { readTopic, topics, type TopicName } from '#shared/protocol/topics.js'
import { Trust } from './trust.js'

/** Something that came and was refused. */
export interface ControlRefusal {
  readonly reason: string
  readonly topic: string
  readonly message: string
}

/** Messages that wait for their first handler, and unverified ones that wait for a peer's key. */
const heldMessages = 64
const heldForKeys = 128

type Handler = (message: never, levels: readonly string[]) => void

export interface HearingOptions {
  readonly fleet: FleetId
  readonly clock: Clock
  readonly hubKey: Uint8Array | undefined
  readonly onRefused: (refusal: ControlRefusal) => void
}

export class Hearing {
  readonly #options: HearingOptions
  readonly #inbox: Inbox
  readonly #trust: Trust
  readonly #handlers = new Map<TopicName, Handler[]>()
  /** Latest message of each topic of peers whose key is not known yet. */
  readonly #unverified = new Map<string, { payload: Uint8Array; isRetained: boolean }>()
  #unheard: Heard[] = []
  #peers: ReadonlySet<DeviceId> = new Set()

  constructor(options: HearingOptions) {
    const { fleet, clock, hubKey } = options
    this.#options = options
    this.#trust = new Trust(hubKey)
    this.#inbox = new Inbox({
      fleet,
      clock,
      hub: () => this.#trust.hub?.id,
      verifierOf: (name, said, body) => this.#trust.verifierOf(name, said, body),
    })
  }

  /** The hub that is obeyed, once it is known. */
  get hub(): { readonly id: DeviceId; readonly key: Uint8Array } | undefined {
    return this.#trust.hub
  }

  get peers(): ReadonlySet<DeviceId> {
    return this.#peers
  }

  /** Adds a handler; the first of a topic is also given what came before it. */
  on<N extends TopicName>(name: N, handler: (message: Message<N>, levels: readonly string[]) => void): void {
    this.#handlers.set(name, [...(this.#handlers.get(name) ?? []), handler])
    const waiting = this.#unheard.filter(({ message }) => message.name === name)
    this.#unheard = this.#unheard.filter(({ message }) => message.name !== name)
    for (const { message, levels } of waiting) handler(message as never, levels)
  }

  setPeers(peers: ReadonlySet<DeviceId>): void {
    this.#peers = new Set(peers)
    for (const topic of this.#unverified.keys()) if (!peers.has(this.#branchOf(topic))) this.#unverified.delete(topic)
  }

  /** Takes the key of a peer, and reads what came from it before. */
  pinKey(peer: DeviceId, key: Uint8Array): void {
    if (this.#trust.pin(peer, key)) this.#inbox.forget(peer)
    for (const [topic, { payload, isRetained }] of this.#unverified) {
      if (this.#branchOf(topic) !== peer) continue
      this.#unverified.delete(topic)
      this.take(topic, payload, isRetained)
    }
  }

  /** Takes what came from the broker. */
  take(topic: string, payload: Uint8Array, isRetained: boolean): void {
    if (payload.length === 0) return // a retained message was cleared: unsigned, so nothing follows from it
    const read = readTopic(this.#options.fleet, topic)
    if (read !== undefined && topics[read.name].to === 'hub and peers') {
      const peer = read.levels[0] as DeviceId
      if (!this.#peers.has(peer)) return // unsubscribed a moment ago
      if (!this.#trust.knows(peer)) return this.#holdForKey(topic, payload, isRetained)
    }
    let heard: Heard
    try {
      heard = this.#inbox.read(topic, payload, isRetained)
      if (heard.message.name === 'hub') this.#trust.meet(heard.message.body)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return this.#refuse(error.code, topic, error.message)
    }
    const { message, levels } = heard
    const handlers = this.#handlers.get(message.name)
    if (handlers !== undefined) for (const handler of handlers) handler(message as never, levels)
    else if (this.#unheard.length < heldMessages) this.#unheard.push(heard)
    else this.#refuse('over-limit', topic, `${heldMessages} messages came before anybody listened`)
  }

  #branchOf(topic: string): DeviceId {
    return readTopic(this.#options.fleet, topic)?.levels[0] as DeviceId
  }

  #holdForKey(topic: string, payload: Uint8Array, isRetained: boolean): void {
    if (!this.#unverified.has(topic) && this.#unverified.size >= heldForKeys) {
      return this.#refuse('unknown-sender', topic, 'too many messages wait for the keys of peers')
    }
    this.#unverified.set(topic, { payload: Uint8Array.from(payload), isRetained })
  }

  #refuse(reason: string, topic: string, message: string): void {
    this.#options.onRefused({ reason, topic, message })
  }
}
