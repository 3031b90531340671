/** The speaking side of an envelope: fills the head, numbers the messages, signs. One for each process (boot). */

import type { Clock } from '../clock.js'
import type { DeviceId, FleetId } from '../ids.js'
import { encodeMessage, type Envelope, type Sign } from './codec.js'
import { topicOf, type BodyOf, type Levels, type TopicName } from './topics.js'

/**
 * Messages of one connection. Each connection takes a block of numbers and its last will the last of the block: the will
 * is sealed before anything else is said and yet counts as later than all of it, and as earlier than all of the next
 * connection. So a will that comes late is refused by the rule for every message: numbers never go back.
 */
const blockSize = 2 ** 30

/** A message ready for MQTT. Nobody writes to `payload` any more: MQTT.js and Aedes keep it without a copy. */
export interface Sealed {
  readonly topic: string
  readonly payload: Uint8Array
}

/** What a message may say beside its body. */
export type Extra = Pick<Envelope, 'expiresMs' | 'replyTo' | 'trace'>

export interface OutboxOptions {
  readonly fleet: FleetId
  readonly from: DeviceId
  /** 8 random bytes, fresh at every start of the process. */
  readonly bootId: Uint8Array
  readonly clock: Clock
  readonly sign: Sign
}

export class Outbox {
  readonly #options: OutboxOptions
  #block = 0
  #next = 0

  constructor(options: OutboxOptions) {
    this.#options = options
  }

  /** Seals one message; throws `Refusal('over-limit')` where the body does not fit its topic. */
  seal<N extends TopicName>(name: N, levels: Levels, body: BodyOf<N>, extra?: Extra): Sealed {
    if (this.#next >= blockSize - 1) throw new Error('more messages in one connection than there are numbers')
    return this.#seal(this.#block * blockSize + this.#next++, name, levels, body, extra)
  }

  /** Begins a new connection and seals its last will. */
  sealWill<N extends TopicName>(name: N, levels: Levels, body: BodyOf<N>): Sealed {
    this.#block++
    this.#next = 0
    return this.#seal((this.#block + 1) * blockSize - 1, name, levels, body)
  }

  #seal<N extends TopicName>(seq: number, name: N, levels: Levels, body: BodyOf<N>, extra?: Extra): Sealed {
    const { fleet, from, bootId, clock, sign } = this.#options
    const topic = topicOf(fleet, name, ...levels)
    const head = { id: messageId(bootId, seq), from, bootId, seq, atMs: Math.floor(clock.nowMs()), ...extra }
    return { topic, payload: encodeMessage(topic, name, body, head, sign) }
  }
}

/** Unique within a boot by its number, among boots by the randomness of `bootId`. */
function messageId(bootId: Uint8Array, seq: number): Uint8Array {
  const id = Uint8Array.from(bootId)
  const view = new DataView(id.buffer)
  view.setBigUint64(0, view.getBigUint64(0) ^ BigInt(seq))
  return id
}
