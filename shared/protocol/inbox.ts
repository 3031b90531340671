/** The hearing side of an envelope: shape, sender, signature, expiry and order, in this order. */

import { equal } from '../bytes.js'
import type { Clock } from '../clock.js'
import { Refusal } from '../errors.js'
import type { DeviceId, FleetId } from '../ids.js'
import { decodeMessage, type Envelope, type Message, type Verify } from './codec.js'
import { readTopic, topics, type TopicName } from './topics.js'

export type AnyMessage = { readonly [N in TopicName]: Message<N> }[TopicName]

export interface Heard {
  readonly message: AnyMessage
  /** What stood in the free levels of the topic, `<D>` first. */
  readonly levels: readonly string[]
}

export interface InboxOptions {
  readonly fleet: FleetId
  readonly clock: Clock
  /** The id that the hub's messages must come from; `undefined` while it is not known. */
  readonly hub: () => DeviceId | undefined
  /**
   * The check for the key of whoever sent this, `undefined` for a stranger. May throw a `Refusal`. `body` has the shape
   * of the topic but is not verified yet: only a message that introduces its sender may be checked by a key in it.
   */
  readonly verifierOf: (name: TopicName, said: Envelope, body: unknown) => Verify | undefined
}

/** Boots of one sender on one topic that are remembered as over: what they said is refused when it comes again. */
const pastBoots = 16

interface Last {
  bootId: Uint8Array
  seq: number
  past: Uint8Array[]
}

export class Inbox {
  readonly #options: InboxOptions
  /** By sender, then topic name. Only verified senders get in, so it is as bounded as the keys that are known. */
  readonly #last = new Map<DeviceId, Map<TopicName, Last>>()

  constructor(options: InboxOptions) {
    this.#options = options
  }

  /**
   * Reads and checks what came on `topic`. `retained`: the broker marked it as kept, so it may be what was already heard.
   * Throws `Refusal` and nothing else: `not-allowed` (no topic of ours), `over-limit`, `bad-message`, `unknown-sender`,
   * `bad-signature`, `replayed`.
   */
  read(topic: string, payload: Uint8Array, retained = false): Heard {
    const read = readTopic(this.#options.fleet, topic)
    if (read === undefined) throw new Refusal('not-allowed', 'a message came on a topic that is not in the table')
    const { name, levels } = read
    const message = decodeMessage(topic, name, payload, (said, body) => {
      this.#expectSender(name, levels, said)
      return this.#options.verifierOf(name, said, body)
    }) as AnyMessage
    const said = message.envelope
    if (!topics[name].signed) this.#expectSender(name, levels, said)
    if (said.expiresMs !== undefined && this.#options.clock.nowMs() > said.expiresMs) {
      throw new Refusal('replayed', `message '${name}' from ${said.from} expired before it came`)
    }
    // Unsigned bodies are sealed frames or hashed blocks, with an order of their own; their numbers prove nothing here.
    if (topics[name].signed) this.#expectNews(name, said, retained)
    return { message, levels }
  }

  /** Forgets what a sender said, with its key. */
  forget(sender: DeviceId): void {
    this.#last.delete(sender)
  }

  #expectSender(name: TopicName, levels: readonly string[], said: Envelope): void {
    const from = topics[name].from
    const sender = from === 'hub' ? this.#options.hub() : from === 'peer' ? levels[1] : levels[0]
    if (sender !== undefined && said.from !== sender) {
      throw new Refusal('unknown-sender', `message '${name}' of ${sender} says it is from ${said.from}`)
    }
  }

  /**
   * Numbers grow within a boot, and a boot that another one has followed stays over. Counted for each topic, because a
   * retained message reaches a late reader after newer ones of other topics. What a boot said that is forgotten, or was
   * never heard here, cannot be told from news: topics where that matters carry a term, a revision or an expiry.
   */
  #expectNews(name: TopicName, said: Envelope, retained: boolean): void {
    let of = this.#last.get(said.from)
    if (of === undefined) this.#last.set(said.from, (of = new Map()))
    const last = of.get(name)
    if (last === undefined || !equal(last.bootId, said.bootId)) {
      if (last?.past.some((boot) => equal(boot, said.bootId))) {
        throw new Refusal('replayed', `message '${name}' from ${said.from} is of a boot that is over`)
      }
      const past = last === undefined ? [] : [...last.past.slice(1 - pastBoots), last.bootId]
      of.set(name, { bootId: Uint8Array.from(said.bootId), seq: said.seq, past })
      return
    }
    if (said.seq < last.seq || (said.seq === last.seq && !retained)) {
      throw new Refusal('replayed', `message '${name}' from ${said.from} has number ${said.seq}, not above ${last.seq}`)
    }
    last.seq = said.seq
  }
}
