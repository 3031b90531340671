/**
 * The device's door to the hub: what comes in is decoded and verified before anybody sees it, what goes out is signed.
 * It comes back by itself after a lost connection, and then says again what the device said of itself, so that nothing
 * depends on what the hub remembers.
 */

import { createHash } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { encodeCanonical } from '#shared/cbor.js'
import type { Clock } from '#shared/clock.js'
import type { Identity } from '#shared/crypto/identity.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import type { Message } from '#shared/protocol/codec.js'
import { Outbox, type Extra, type Sealed } from '#shared/protocol/outbox.js'
import {
  filtersOf,
  topicOf,
  topics,
  type BodyOf,
  type Filter,
  type Levels,
  type TopicName,
} from '#shared/protocol/topics.js'
import type { Random } from '#shared/random.js'
import { Connection, type Failure } from './connection.js'
import { Hearing, type ControlRefusal } from './hearing.js'
import { Postbox } from './postbox.js'

export interface Control {
  /**
   * Signs a message and sends it as the table says. QoS 1 waits for a connection and resolves with the acknowledgement;
   * QoS 0 is dropped where there is none. Rejects with `Refusal`: `over-limit` (too large, or too much waiting) or
   * `cancelled` (closed meanwhile).
   *
   * Nothing is sent before the first `birth`, because the hub does not know the key; it is followed by the status
   * `online`. Birth, status and endpoint are said again on every new connection.
   */
  publish<N extends TopicName>(name: N, levels: Levels, body: BodyOf<N>, extra?: Extra): Promise<void>
  /**
   * Hears every verified message of a topic, and what the broker keeps again after each connection. Handlers are
   * synchronous; the first is also given what came before it.
   */
  on<N extends TopicName>(name: N, handler: (message: Message<N>, levels: readonly string[]) => void): void
  /** Whose presence and endpoints are followed: the peers of the assignment. */
  setPeers(peers: ReadonlySet<DeviceId>): void
  /** The key that a peer's messages are checked with, as the hub gives it. What came before is read now. */
  pinKey(peer: DeviceId, key: Uint8Array): void
  /** The hub that is obeyed, once it is known. */
  readonly hub: { readonly id: DeviceId; readonly key: Uint8Array } | undefined
  readonly online: boolean
  /** Called after each connection, with all subscriptions made. */
  onOnline(listener: () => void): void
  onOffline(listener: (reason: string) => void): void
  /** Says `offline`, has the endpoint forgotten, and leaves. */
  close(): Promise<void>
}

export interface ControlOptions {
  readonly fleet: FleetId
  readonly id: DeviceId
  readonly identity: Identity
  /** 8 random bytes, fresh at every start of the process. */
  readonly bootId: Uint8Array
  readonly clock: Clock
  readonly random: Random
  /** The key of the hub. Without it the first hub that is heard is obeyed for the life of the process. */
  readonly hubKey?: Uint8Array
  readonly connect: () => Duplex
  /** The hub's `host:port`, for people. */
  readonly where?: string
  /** 5 to 120, by default 15; 0 only over streams in memory. */
  readonly keepaliveSeconds?: number
  /** Whether to go on trying when the first connection fails (the default), or to refuse after `connectTimeoutMs`. */
  readonly waitForHub?: boolean
  readonly connectTimeoutMs?: number
  /** Called once, when the first attempt to reach the hub fails and more will follow. */
  readonly onWaiting?: (reason: string) => void
  readonly onRefused?: (refusal: ControlRefusal) => void
  /** Ends the waiting for the first connection. */
  readonly signal?: AbortSignal
}

/** Bytes in the socket above which QoS 0 is dropped: counters that come late are of no use. */
const dropLagBytes = 256 * 1024
/** How long a goodbye may take. */
const goodbyeMs = 1000

/** What a device says of itself; the later word replaces the earlier one. Said on every connection first, in this order. */
const selfPortrait = ['birth', 'status', 'endpoint'] as const
type SelfName = (typeof selfPortrait)[number]

/**
 * Connects to the hub; resolves after the first connection, with all subscriptions made. Throws `Refusal`:
 * `hub-unreachable` or `not-allowed` (where not told to wait), `cancelled` (by the signal).
 */
export async function connectControl(options: ControlOptions): Promise<Control> {
  const door = new ControlDoor(options)
  try {
    await door.firstConnection()
  } catch (error) {
    await door.close()
    throw error
  }
  return door
}

function rankOf(name: SelfName | undefined): number | undefined {
  return name === undefined ? undefined : selfPortrait.indexOf(name)
}

/** The password of this device on the control plane: stable, and known to nobody who has not its identity or heard it. */
function passwordOf(identity: Identity, fleet: FleetId, id: DeviceId): Uint8Array {
  const proof = identity.sign(encodeCanonical(['tessera/1/connect', fleet, id]))
  return Uint8Array.from(createHash('sha256').update(proof).digest())
}

class ControlDoor implements Control {
  readonly #options: ControlOptions
  readonly #outbox: Outbox
  readonly #hearing: Hearing
  readonly #postbox = new Postbox()
  readonly #connection: Connection
  readonly #self = new Map<SelfName, BodyOf<SelfName>>()
  readonly #onlineListeners: (() => void)[] = []
  readonly #offlineListeners: ((reason: string) => void)[] = []
  #subscribed: readonly Filter[] = []
  #isOnline = false
  #isClosed = false
  #firstOutcome: { resolve: () => void; reject: (error: Refusal) => void } | undefined
  #hasSaidWaiting = false
  #lastFailure: Failure | undefined

  constructor(options: ControlOptions) {
    const { fleet, id, identity, bootId, clock, random } = options
    this.#options = options
    this.#outbox = new Outbox({ fleet, from: id, bootId, clock, sign: identity.sign })
    this.#hearing = new Hearing({
      fleet,
      clock,
      hubKey: options.hubKey,
      onRefused: (refusal) => options.onRefused?.(refusal),
    })
    const password = passwordOf(identity, fleet, id)
    this.#connection = new Connection({
      id,
      password: () => password,
      connect: options.connect,
      keepaliveSeconds: options.keepaliveSeconds ?? 15,
      clock,
      random,
      will: () => this.#outbox.sealWill('status', [id], { state: 'offline' }),
      onUp: () => void this.#up(),
      onDown: (failure) => this.#down(failure),
      onMessage: (topic, payload, isRetained) => this.#hearing.take(topic, payload, isRetained),
    })
  }

  get online(): boolean {
    return this.#isOnline
  }

  get hub(): { readonly id: DeviceId; readonly key: Uint8Array } | undefined {
    return this.#hearing.hub
  }

  firstConnection(): Promise<void> {
    const { clock, signal, waitForHub = true, connectTimeoutMs = 10_000 } = this.#options
    const outcome = new Promise<void>((resolve, reject) => {
      this.#firstOutcome = { resolve, reject }
    })
    const abort = (): void => this.#firstOutcome?.reject(new Refusal('cancelled', 'stopped before the hub was reached'))
    signal?.addEventListener('abort', abort)
    if (signal?.aborted === true) abort()
    const giveUp = (): void => this.#firstOutcome?.reject(this.#unreachable())
    const cancel = waitForHub ? () => {} : clock.after(connectTimeoutMs, giveUp)
    return outcome.finally(() => {
      this.#firstOutcome = undefined
      signal?.removeEventListener('abort', abort)
      cancel()
    })
  }

  async publish<N extends TopicName>(name: N, levels: Levels, body: BodyOf<N>, extra?: Extra): Promise<void> {
    const { from, qos, retain, plane } = topics[name]
    if (from === 'hub' || plane !== 'control') throw new Error(`'${name}' is not for a device to say here`)
    if (this.#isClosed) throw new Refusal('cancelled', `the control connection is closed, '${name}' is not sent`)
    if (qos === 0) {
      if (!this.#isOnline || !this.#self.has('birth') || this.#connection.laggingBytes > dropLagBytes) return
      // Lost with the connection, as QoS 0 may be.
      await this.#connection.publish(this.#outbox.seal(name, levels, body, extra), { qos, retain }).catch(() => {})
      return
    }
    const sealed = this.#outbox.seal(name, levels, body, extra)
    const self = selfPortrait.find((one) => one === name)
    if (self !== undefined) this.#self.set(self, body as BodyOf<SelfName>)
    const sent = this.#postbox.add(sealed, { qos, retain }, rankOf(self))
    if (name === 'birth') this.#sayOnline()
    this.#pump()
    await sent
  }

  on<N extends TopicName>(name: N, handler: (message: Message<N>, levels: readonly string[]) => void): void {
    this.#hearing.on(name, handler)
  }

  onOnline(listener: () => void): void {
    this.#onlineListeners.push(listener)
  }

  onOffline(listener: (reason: string) => void): void {
    this.#offlineListeners.push(listener)
  }

  setPeers(peers: ReadonlySet<DeviceId>): void {
    this.#hearing.setPeers(peers)
    if (this.#isOnline) void this.#subscribe()
  }

  pinKey(peer: DeviceId, key: Uint8Array): void {
    this.#hearing.pinKey(peer, key)
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#postbox.close()
    if (this.#isOnline) await this.#sayGoodbye()
    await this.#connection.close()
  }

  async #sayGoodbye(): Promise<void> {
    const { fleet, id, clock } = this.#options
    const said: Promise<void>[] = []
    const flags = { qos: 1, retain: true } as const
    if (this.#self.has('status')) {
      said.push(this.#connection.publish(this.#outbox.seal('status', [id], { state: 'offline' }), flags))
    }
    if (this.#self.has('endpoint')) {
      const cleared: Sealed = { topic: topicOf(fleet, 'endpoint', id), payload: new Uint8Array(0) }
      said.push(this.#connection.publish(cleared, flags))
    }
    await new Promise<void>((resolve) => {
      const cancel = clock.after(goodbyeMs, resolve)
      // Where the connection breaks now, the last will says the same.
      void Promise.allSettled(said).then(() => {
        cancel()
        resolve()
      })
    })
  }

  async #up(): Promise<void> {
    this.#subscribed = []
    if (!(await this.#subscribe())) return
    this.#isOnline = true
    for (const name of selfPortrait) this.#sayAgain(name)
    this.#pump()
    this.#firstOutcome?.resolve()
    for (const listener of this.#onlineListeners) listener()
  }

  #down(failure: Failure): void {
    this.#lastFailure = failure
    const wasOnline = this.#isOnline
    this.#isOnline = false
    this.#postbox.recall()
    if (this.#isClosed) return
    if (this.#firstOutcome !== undefined) {
      if (this.#options.waitForHub === false && failure.isDenied) this.#firstOutcome.reject(this.#unreachable())
      if (!this.#hasSaidWaiting) this.#options.onWaiting?.(failure.reason)
      this.#hasSaidWaiting = true
    }
    if (wasOnline) for (const listener of this.#offlineListeners) listener(failure.reason)
  }

  #unreachable(): Refusal {
    const where = this.#options.where ?? 'the given address'
    if (this.#lastFailure?.isDenied === true) {
      const id = this.#options.id
      return new Refusal(
        'not-allowed',
        `the hub at ${where} turns ${id} away: another device has this id, or it is banned; use an id of its own or ask the hub's operator`,
      )
    }
    const why = this.#lastFailure === undefined ? '' : ` (${this.#lastFailure.reason})`
    return new Refusal(
      'hub-unreachable',
      `no hub answers at ${where}${why}: start the hub there or correct the address`,
    )
  }

  /** Makes the subscriptions what they should be; gives false if the connection ended meanwhile. */
  async #subscribe(): Promise<boolean> {
    const { fleet, id } = this.#options
    const wanted = filtersOf(fleet, 'control', id, this.#hearing.peers)
    const missing = wanted.filter(({ filter }) => !this.#subscribed.some((other) => other.filter === filter))
    const surplus = this.#subscribed.filter(({ filter }) => !wanted.some((other) => other.filter === filter))
    this.#subscribed = wanted
    try {
      await this.#connection.unsubscribe(surplus)
      const denied = await this.#connection.subscribe(missing)
      for (const { filter } of denied) {
        // The hub may name a peer before it allows it: asked for again with the next `setPeers`.
        const message = `the hub does not let this device read ${filter}`
        this.#options.onRefused?.({ reason: 'not-allowed', topic: filter, message })
      }
      this.#subscribed = this.#subscribed.filter(({ filter }) => !denied.some((other) => other.filter === filter))
      return true
    } catch {
      return false
    }
  }

  /** Puts what the device says of itself into the post once more, in place of what is still waiting there. */
  #sayAgain(name: SelfName): void {
    const body = this.#self.get(name)
    if (body === undefined) return
    const sealed = this.#outbox.seal(name, [this.#options.id], body)
    // Nobody waits for this one; where somebody waits for the word it replaces, the postbox tells them.
    void this.#postbox.add(sealed, topics[name], rankOf(name)).catch(() => {})
  }

  #sayOnline(): void {
    if (!this.#self.has('status')) this.#self.set('status', { state: 'online' })
    this.#sayAgain('status')
  }

  #pump(): void {
    if (!this.#isOnline || !this.#self.has('birth')) return
    for (let letter = this.#postbox.next(); letter !== undefined; letter = this.#postbox.next()) {
      const { sealed, flags } = letter
      const taken = letter
      this.#connection.publish(sealed, flags).then(
        () => {
          this.#postbox.delivered(taken)
          this.#pump()
        },
        () => {}, // the connection ended: `recall` has put it back
      )
    }
  }
}
