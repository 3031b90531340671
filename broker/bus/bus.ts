/**
 * The hub's door to MQTT. What comes in is decoded and verified before anybody sees it, and before the broker routes it;
 * what goes out is signed and published in order.
 */

import { equal } from '#shared/bytes.js'
import type { Clock } from '#shared/clock.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import { verifyWith, type Identity } from '#shared/crypto/identity.js'
import type { Message, Verify } from '#shared/protocol/codec.js'
import { Inbox } from '#shared/protocol/inbox.js'
import type { Birth } from '#shared/protocol/messages.js'
import { Outbox, type Extra } from '#shared/protocol/outbox.js'
import { topicOf, topics, type BodyOf, type Levels, type TopicName } from '#shared/protocol/topics.js'
import type { Broker, BrokerRefusal, Incoming } from './broker.js'
import { Lanes } from './lanes.js'

export interface Bus {
  /**
   * Signs a message and publishes it as the table says; resolves once its readers have taken it or were cut. Rejects
   * with `Refusal('over-limit')`: body too large for its topic, or too much waiting for this device.
   */
  publish<N extends TopicName>(name: N, levels: Levels, body: BodyOf<N>, extra?: Extra): Promise<void>
  /** Makes the broker forget a retained message. Devices obey nothing unsigned: tell those who are here otherwise. */
  clear(name: TopicName, levels: Levels): Promise<void>
  /** Hears every verified message of a topic, in the order of arrival. Handlers are synchronous; what they throw is a bug. */
  on<N extends TopicName>(name: N, handler: (message: Message<N>, levels: readonly string[]) => void): void
  /** The peers of a device in all live plans: what it may publish and read from now on. */
  setPeers(device: DeviceId, peers: ReadonlySet<DeviceId>): void
  /** The key that this device's messages must be signed with. */
  pinKey(device: DeviceId, key: Uint8Array): void
  keyOf(device: DeviceId): Uint8Array | undefined
  /** Cuts the connection of a device; it may come again. */
  kick(device: DeviceId): void
  /** What was refused, by reason; the broker's reasons included. */
  readonly refused: ReadonlyMap<string, number>
  /** Ends the traffic: what still waits is rejected. The broker is closed by whoever opened it. */
  close(): Promise<void>
}

export interface BusOptions {
  readonly fleet: FleetId
  /** The hub's own id. */
  readonly id: DeviceId
  readonly identity: Identity
  /** 8 random bytes, fresh at every start of the process. */
  readonly bootId: Uint8Array
  readonly clock: Clock
  /** The safe broker of the control plane. */
  readonly broker: Broker
  readonly onRefused?: (refusal: BrokerRefusal) => void
}

/** Messages that may wait for one device. */
const waitingLimit = 1024

type Handler = (message: never, levels: readonly string[]) => void

export function createBus(options: BusOptions): Bus {
  const { fleet, id, identity, bootId, clock, broker } = options
  const outbox = new Outbox({ fleet, from: id, bootId, clock, sign: identity.sign })
  const lanes = new Lanes(waitingLimit)
  const keys = new Map<DeviceId, { readonly key: Uint8Array; readonly verify: Verify }>()
  const handlers = new Map<TopicName, Handler[]>()
  const inbox = new Inbox({ fleet, clock, hub: () => id, verifierOf })
  let isClosed = false

  if (options.onRefused !== undefined) broker.onRefused(options.onRefused)
  broker.inspect((incoming) => {
    try {
      take(incoming)
      return undefined
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (!keys.has(incoming.device)) inbox.forget(incoming.device)
      return error.code
    }
  })

  /** A birth brings its own key and is trusted on first use; enrolment will pin keys beforehand. */
  function verifierOf(name: TopicName, { from }: { from: DeviceId }, body: unknown): Verify | undefined {
    const pinned = keys.get(from)
    if (name !== 'birth') return pinned?.verify
    const { key } = body as Birth
    if (pinned === undefined) return verifyWith(key)
    if (!equal(pinned.key, key)) {
      throw new Refusal('unknown-sender', `${from} introduces itself with another key than the one it is known by`)
    }
    return pinned.verify
  }

  function take({ name, levels, topic, payload, device }: Incoming): void {
    const { to, retain } = topics[name]
    if (to === 'device' && levels[0] !== id) return // sealed, from one device to another
    if (retain && payload.length === 0) return // a device takes back what it had the broker keep
    const heard = inbox.read(topic, payload)
    if (heard.message.envelope.from !== device) {
      throw new Refusal('unknown-sender', `message '${name}' of ${heard.message.envelope.from} came from ${device}`)
    }
    if (heard.message.name === 'birth' && !keys.has(device)) {
      broker.allow(device, {})
      pinKey(device, heard.message.body.key)
    }
    // Not here: we are inside Aedes, in the middle of a packet, and what a handler throws must not look like bad bytes.
    for (const handler of handlers.get(name) ?? []) queueMicrotask(() => handler(heard.message as never, levels))
  }

  function pinKey(device: DeviceId, key: Uint8Array): void {
    const pinned = keys.get(device)
    if (pinned !== undefined && !equal(pinned.key, key)) inbox.forget(device)
    keys.set(device, { key: Uint8Array.from(key), verify: verifyWith(key) })
  }

  function send(name: TopicName, levels: Levels, topic: string, payload: Uint8Array): Promise<void> {
    const { qos, retain } = topics[name]
    const lane = topics[name].path.startsWith('d/<D>/') ? String(levels[0]) : 'everybody'
    return lanes.run(lane, async () => {
      if (isClosed) throw new Refusal('cancelled', `the bus is closed, '${name}' is not sent`)
      await broker.publish(topic, payload, { qos, retain })
    })
  }

  return {
    async publish(name, levels, body, extra) {
      if (topics[name].from === 'device') throw new Error(`'${name}' is for devices to say`)
      const { topic, payload } = outbox.seal(name, levels, body, extra)
      await send(name, levels, topic, payload)
    },
    async clear(name, levels) {
      if (!topics[name].retain) throw new Error(`'${name}' is not retained`)
      await send(name, levels, topicOf(fleet, name, ...levels), new Uint8Array(0))
    },
    on(name, handler) {
      handlers.set(name, [...(handlers.get(name) ?? []), handler])
    },
    setPeers: (device, peers) => broker.allow(device, { peers }),
    pinKey,
    keyOf: (device) => keys.get(device)?.key,
    kick: (device) => broker.kick(device),
    refused: broker.refused,
    async close() {
      isClosed = true
      broker.inspect(undefined)
    },
  }
}
