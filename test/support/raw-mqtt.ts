/** MQTT 3.1.1 packets by hand, for clients that do what no library would. */

import type { Duplex } from 'node:stream'
import { concat, utf8 } from '#shared/bytes.js'

function packet(first: number, ...parts: Uint8Array[]): Uint8Array {
  const body = concat(parts)
  return concat([Uint8Array.of(first), remainingLength(body.length), body])
}

/** MQTT 3.1.1, 2.2.3. */
export function remainingLength(length: number): Uint8Array {
  const bytes = []
  do {
    bytes.push((length & 0x7f) | (length > 0x7f ? 0x80 : 0))
    length >>>= 7
  } while (length > 0)
  return Uint8Array.from(bytes)
}

function field(value: string | Uint8Array): Uint8Array {
  const bytes = typeof value === 'string' ? utf8(value) : value
  return concat([Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes])
}

export interface RawConnect {
  readonly id: string | Uint8Array
  readonly password?: Uint8Array
  readonly keepalive?: number
  readonly clean?: boolean
  readonly version?: number
  readonly will?: {
    readonly topic: string
    readonly payload: Uint8Array
    readonly qos: number
    readonly retain: boolean
  }
}

export function rawConnect(options: RawConnect): Uint8Array {
  const { id, password = new Uint8Array(32), keepalive = 30, clean = true, version = 4, will } = options
  const flags = (clean ? 2 : 0) | 0xc0 | (will === undefined ? 0 : 4 | (will.qos << 3) | (will.retain ? 0x20 : 0))
  return packet(
    0x10,
    field('MQTT'),
    Uint8Array.of(version, flags, keepalive >> 8, keepalive & 0xff),
    field(id),
    ...(will === undefined ? [] : [field(will.topic), field(will.payload)]),
    field('tessera'),
    field(password),
  )
}

export function rawSubscribe(filters: readonly string[], qos = 1): Uint8Array {
  const asked = filters.flatMap((filter) => [field(filter), Uint8Array.of(qos)])
  return packet(0x82, Uint8Array.of(0, 7), ...asked)
}

export function rawPublish(
  topic: string | Uint8Array,
  payload: Uint8Array,
  { qos = 0, retain = false, messageId = 1 }: { qos?: number; retain?: boolean; messageId?: number } = {},
): Uint8Array {
  const id = qos > 0 ? [Uint8Array.of(messageId >> 8, messageId & 0xff)] : []
  return packet(0x30 | (qos << 1) | (retain ? 1 : 0), field(topic), ...id, payload)
}

export interface RawPacket {
  /** MQTT 3.1.1, 2.2.1: 2 CONNACK, 3 PUBLISH, 4 PUBACK, 9 SUBACK. */
  readonly type: number
  /** The return code of a CONNACK, the granted QoS of a SUBACK. */
  readonly codes: readonly number[]
}

/** The client's end of a connection: sends bytes, reads whole packets. */
export class RawClient {
  readonly stream: Duplex
  readonly packets: RawPacket[] = []
  isClosed = false
  #bytes: Uint8Array = new Uint8Array(0)
  #wake: () => void = () => {}

  constructor(stream: Duplex) {
    this.stream = stream
    stream.on('error', () => {}) // being cut is what these clients are for
    stream.on('close', () => {
      this.isClosed = true
      this.#wake()
    })
    stream.on('data', (chunk: Uint8Array) => {
      this.#bytes = concat([this.#bytes, chunk])
      this.#parse()
      this.#wake()
    })
  }

  /** Sends, and gives the next packet that comes; `undefined` if the connection is closed instead. */
  async say(bytes: Uint8Array): Promise<RawPacket | undefined> {
    const count = this.packets.length
    this.stream.write(bytes)
    return this.until(count + 1)
  }

  /** The last of `count` packets; `undefined` if the connection is closed before. */
  async until(count: number): Promise<RawPacket | undefined> {
    while (this.packets.length < count && !this.isClosed) await new Promise<void>((resolve) => (this.#wake = resolve))
    return this.packets[count - 1]
  }

  async closed(): Promise<void> {
    while (!this.isClosed) await new Promise<void>((resolve) => (this.#wake = resolve))
  }

  #parse(): void {
    for (;;) {
      let length = 0
      let at = 1
      do {
        if (at >= this.#bytes.length) return
        length |= (this.#bytes[at]! & 0x7f) << (7 * (at - 1))
      } while (this.#bytes[at++]! & 0x80)
      if (this.#bytes.length < at + length) return
      const body = this.#bytes.subarray(at, at + length)
      const type = this.#bytes[0]! >> 4
      this.packets.push({ type, codes: type === 2 ? [body[1]!] : type === 9 ? [...body.subarray(2)] : [] })
      this.#bytes = this.#bytes.subarray(at + length)
    }
  }
}
