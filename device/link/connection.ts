/**
 * One MQTT connection that comes back by itself. MQTT.js does a single connection and nothing else: each attempt has its
 * own client, so that no queue or session of its outlives the connection, and the pauses between attempts are ours.
 */

import { MqttClient, type IClientOptions } from 'mqtt'
import type { Duplex } from 'node:stream'
import { asBuffer } from '#shared/bytes.js'
import type { Cancel, Clock } from '#shared/clock.js'
import { reasonOf } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import type { Sealed } from '#shared/protocol/outbox.js'
import type { Filter } from '#shared/protocol/topics.js'
import type { Random } from '#shared/random.js'
import { pauseMs } from './backoff.js'
import { sendAtOnce } from './dial.js'

/** Why an attempt did not lead to a connection, or why one ended. `isDenied`: the hub answered, and said no. */
export interface Failure {
  readonly reason: string
  readonly isDenied: boolean
}

export interface ConnectionOptions {
  readonly id: DeviceId
  /** 32 bytes; asked for at every attempt. */
  readonly password: () => Uint8Array
  readonly connect: () => Duplex
  /** 0 for none: only over streams in memory. */
  readonly keepaliveSeconds: number
  readonly clock: Clock
  readonly random: Random
  /** Sealed anew for every attempt: the retained message that the broker publishes when the connection is lost. */
  readonly will?: () => Sealed
  readonly onUp: () => void
  /** After a connection, or an attempt at one, ended. */
  readonly onDown: (failure: Failure) => void
  readonly onMessage: (topic: string, payload: Uint8Array, isRetained: boolean) => void
}

/** Time for an attempt to be answered. */
const attemptMs = 10_000
/** A connection that held this long ends a row of failures. */
const stableMs = 10_000

export class Connection {
  readonly #options: ConnectionOptions
  #client: MqttClient | undefined
  #isUp = false
  #isClosed = false
  #failures = 0
  #upAtMs = 0
  #cancelRetry: Cancel = () => {}
  /** What waits for an answer or for room in the socket: MQTT.js does not tell it when the connection ends. */
  readonly #waiting = new Set<(error: Error) => void>()

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.#attempt()
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Bytes handed over that the socket has not taken yet. */
  get laggingBytes(): number {
    return this.#client?.stream.writableLength ?? 0
  }

  /**
   * Publishes now or rejects. QoS 0 resolves when the socket has room again, QoS 1 with the broker's acknowledgement;
   * both reject when the connection ends first. The payload must not be written to any more.
   */
  publish(
    { topic, payload }: Sealed,
    { qos, retain }: { readonly qos: 0 | 1; readonly retain: boolean },
  ): Promise<void> {
    return this.#ask((client, done) => client.publish(topic, asBuffer(payload), { qos, retain }, done))
  }

  /** Subscribes; resolves with the filters that the broker refused. */
  async subscribe(filters: readonly Filter[]): Promise<readonly Filter[]> {
    const denied: Filter[] = []
    // One packet for each few, so that a device with many peers stays below the broker's limit for a packet.
    for (let at = 0; at < filters.length; at += filtersPerPacket) {
      const some = filters.slice(at, at + filtersPerPacket)
      await this.#ask((client, done) => {
        const asked = Object.fromEntries(some.map(({ filter, qos }) => [filter, { qos }]))
        client.subscribe(asked, (error, _asked, packet) => {
          const granted = packet?.granted as number[] | undefined
          if (granted === undefined) return done(error)
          denied.push(...some.filter((_, i) => granted[i] === 128))
          done(null)
        })
      })
    }
    return denied
  }

  async unsubscribe(filters: readonly Filter[]): Promise<void> {
    if (filters.length === 0) return
    const names = filters.map(({ filter }) => filter)
    await this.#ask((client, done) => client.unsubscribe(names, (error) => done(error)))
  }

  /** Says goodbye, so that the last will is not published, and does not come back. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelRetry()
    const client = this.#client
    if (client === undefined) return
    if (this.#isUp) await new Promise((resolve) => client.end(false, {}, resolve))
    this.#end(client, { reason: 'closed', isDenied: false })
  }

  /** Does not wait for the end of the pause: what was wrong may be right now. */
  tryNow(): void {
    if (this.#client !== undefined || this.#isClosed) return
    this.#cancelRetry()
    this.#attempt()
  }

  /** Cuts the connection without a word; it comes back by itself. */
  cut(): void {
    this.#client?.stream.destroy()
  }

  #attempt(): void {
    const { id, password, keepaliveSeconds, will } = this.#options
    const options: IClientOptions = {
      clientId: id,
      username: 'tessera', // MQTT 3.1.1 has no password without a user name
      password: asBuffer(password()),
      protocolVersion: 4,
      clean: true,
      keepalive: keepaliveSeconds,
      connectTimeout: attemptMs,
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
    }
    const sealed = will?.()
    if (sealed !== undefined) {
      options.will = { topic: sealed.topic, payload: asBuffer(sealed.payload), qos: 1, retain: true }
    }
    let failure: Failure = { reason: 'the connection ended', isDenied: false }
    let client: MqttClient
    try {
      client = new MqttClient(() => sendAtOnce(this.#options.connect()), options)
    } catch (error) {
      return this.#down({ reason: reasonOf(error), isDenied: false })
    }
    this.#client = client
    client.on('error', (error) => {
      failure = { reason: reasonOf(error), isDenied: 'code' in error && error.code === notAuthorized }
    })
    client.on('close', () => this.#end(client, failure))
    client.on('message', (topic, payload, packet) => {
      if (this.#client === client) this.#options.onMessage(topic, payload, packet.retain)
    })
    client.on('connect', () => {
      this.#isUp = true
      this.#upAtMs = this.#options.clock.monotonicMs()
      this.#options.onUp()
    })
  }

  #end(client: MqttClient, failure: Failure): void {
    if (this.#client !== client) return
    this.#client = undefined
    client.end(true)
    this.#down(failure)
  }

  #down(failure: Failure): void {
    const { clock, random, onDown } = this.#options
    const wasStable = this.#isUp && clock.monotonicMs() - this.#upAtMs >= stableMs
    this.#failures = wasStable ? 0 : this.#failures + 1
    this.#isUp = false
    for (const reject of this.#waiting) reject(new Error(failure.reason))
    this.#waiting.clear()
    if (!this.#isClosed) {
      const failures = Math.max(0, this.#failures - 1)
      this.#cancelRetry = clock.after(pauseMs(failures, random), () => this.#attempt())
    }
    onDown(failure)
  }

  #ask(act: (client: MqttClient, done: (error?: Error | null) => void) => void): Promise<void> {
    const client = this.#client
    if (client === undefined || !this.#isUp) return Promise.reject(new Error('not connected'))
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject)
      act(client, (error) => {
        this.#waiting.delete(reject)
        if (error) reject(error)
        else resolve()
      })
    })
  }
}

/** CONNACK return code (MQTT 3.1.1, 3.2.2.3). */
const notAuthorized = 5
const filtersPerPacket = 64
