/**
 * The direct link: one TCP connection a pair, frames one after the other. The first record each way is a sealed hello
 * (WIRE, "Direct link"); before it a connection gets 2 s and 272 bytes, whatever it sends.
 */

import type { Duplex } from 'node:stream'
import type { Cancel, Clock } from '#shared/clock.js'
import { concat } from '#shared/bytes.js'
import { Refusal, reasonOf } from '#shared/errors.js'
import { deviceIdOf, idBytes, type DeviceId } from '#shared/ids.js'
import { maxFrameBytes } from '#shared/protocol/frame.js'
import type { Carrier, Channel } from '#shared/session/channel.js'
import { RecordReader, recordLength } from './records.js'
import type { Address, Listener, Transport } from './transport.js'

/** A connection must have said a good hello by then. */
export const helloWithinMs = 2000
/** Sender id and sealed hello. */
export const maxHelloBytes = 16 + 256
/** Connections that have not said hello: from one origin, and in all. */
export const maxStrangersPerOrigin = 16
export const maxStrangers = 64
/** Pause before dialling again: first, doubling up to. */
export const redialAfterMs = 50
export const maxRedialAfterMs = 5000

export interface DirectOptions {
  readonly self: DeviceId
  readonly bootId: Uint8Array
  readonly clock: Clock
  readonly transport: Transport
  /** The channel to a peer of a live plan; `undefined` for anybody else. */
  channelOf(peer: DeviceId): Channel | undefined
  /** A connection was refused or ended by what it sent. */
  onRefused(reason: Refusal, peer: DeviceId | undefined): void
  /** The link to a peer came up or went down. */
  onChange(peer: DeviceId, isUp: boolean): void
  /** Dialling the peer failed `failures` times in a row. */
  onFailure(peer: DeviceId, failures: number): void
}

interface Dial {
  readonly addresses: readonly Address[]
  failures: number
  cancel: Cancel
  stream: Duplex | undefined
}

export class DirectLinks {
  readonly #options: DirectOptions
  #listener: Listener | undefined
  readonly #up = new Map<DeviceId, Duplex>()
  readonly #dials = new Map<DeviceId, Dial>()
  readonly #strangers = new Map<Duplex, string>()
  #isClosed = false

  constructor(options: DirectOptions) {
    this.#options = options
  }

  async listen(): Promise<readonly Address[]> {
    this.#listener = await this.#options.transport.listen((stream, origin) => this.#accept(stream, origin))
    return this.#listener.addresses
  }

  isUp(peer: DeviceId): boolean {
    return this.#up.has(peer)
  }

  /** Keeps a connection to `peer` at one of `addresses`, dialling again with growing pauses until `hangUp`. */
  dial(peer: DeviceId, addresses: readonly Address[]): void {
    const known = this.#dials.get(peer)
    if (known !== undefined && sameAddresses(known.addresses, addresses)) return
    this.#stopDialling(peer)
    const dial: Dial = { addresses, failures: 0, cancel: () => {}, stream: undefined }
    this.#dials.set(peer, dial)
    if (!this.#up.has(peer)) this.#tryDial(peer, dial)
  }

  /** Ends the connection to `peer` and any attempt at one. */
  hangUp(peer: DeviceId): void {
    this.#stopDialling(peer)
    this.#up.get(peer)?.destroy()
  }

  /** The pair has new keys: a connection that was opened under the old ones is made anew. */
  renew(peer: DeviceId): void {
    this.#up.get(peer)?.destroy()
    const dial = this.#dials.get(peer)
    if (dial !== undefined && dial.stream === undefined) {
      dial.cancel()
      this.#tryDial(peer, dial)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const peer of [...this.#dials.keys()]) this.#stopDialling(peer)
    for (const stream of [...this.#up.values(), ...this.#strangers.keys()]) stream.destroy()
    await this.#listener?.close()
  }

  #stopDialling(peer: DeviceId): void {
    const dial = this.#dials.get(peer)
    if (dial === undefined) return
    this.#dials.delete(peer)
    dial.cancel()
    if (dial.stream !== undefined && this.#up.get(peer) !== dial.stream) dial.stream.destroy()
  }

  #tryDial(peer: DeviceId, dial: Dial): void {
    const channel = this.#options.channelOf(peer)
    if (channel === undefined || this.#isClosed || dial.addresses.length === 0) return
    const address = dial.addresses[dial.failures % dial.addresses.length]!
    const stream = this.#options.transport.dial(address)
    dial.stream = stream
    stream.once('connect', () => {
      try {
        this.#sayHello(stream, channel)
      } catch (error) {
        stream.destroy()
        if (!(error instanceof Refusal)) throw error
      }
    })
    this.#serve(stream, peer)
    stream.once('close', () => {
      dial.stream = undefined
      if (this.#dials.get(peer) !== dial || this.#isClosed) return
      dial.failures++
      this.#options.onFailure(peer, dial.failures)
      const pauseMs = Math.min(redialAfterMs * 2 ** Math.min(dial.failures - 1, 16), maxRedialAfterMs)
      dial.cancel = this.#options.clock.after(pauseMs, () => {
        if (!this.#up.has(peer)) this.#tryDial(peer, dial)
      })
    })
  }

  #accept(stream: Duplex, origin: string): void {
    let fromOrigin = 0
    for (const other of this.#strangers.values()) if (other === origin) fromOrigin++
    if (this.#isClosed || fromOrigin >= maxStrangersPerOrigin || this.#strangers.size >= maxStrangers) {
      stream.on('error', () => {})
      stream.destroy()
      this.#options.onRefused(
        new Refusal('over-limit', `too many connections from ${origin} without a hello`),
        undefined,
      )
      return
    }
    this.#strangers.set(stream, origin)
    stream.once('close', () => this.#strangers.delete(stream))
    this.#serve(stream, undefined)
  }

  #sayHello(stream: Duplex, channel: Channel): void {
    const hello = [idBytes(this.#options.self), ...channel.sealHello(this.#options.bootId)]
    stream.write(concat([recordLength(hello), ...hello]))
  }

  /** Reads a connection from its first byte; `expected` is the peer that we dialled. */
  #serve(stream: Duplex, expected: DeviceId | undefined): void {
    const { clock, channelOf, onRefused, onChange } = this.#options
    let channel: Channel | undefined
    let carrier: DirectCarrier | undefined
    const refuse = (reason: Refusal): void => {
      onRefused(reason, channel?.peer ?? expected)
      stream.destroy()
    }
    const cancelDeadline = clock.after(helloWithinMs, () => {
      refuse(new Refusal('timed-out', `no hello within ${helloWithinMs} ms of the connection`))
    })

    const takeHello = (record: Uint8Array): void => {
      const peer = record.length > 16 ? deviceIdOf(record.subarray(0, 16)) : undefined
      const known = peer === undefined || (expected !== undefined && peer !== expected) ? undefined : channelOf(peer)
      if (known === undefined || !known.isHello(record.subarray(16))) {
        throw new Refusal('forged', 'a connection whose hello does not open under the keys of a peer')
      }
      cancelDeadline()
      this.#strangers.delete(stream)
      channel = known
      if (expected === undefined) this.#sayHello(stream, known)
      const earlier = this.#up.get(known.peer)
      this.#up.set(known.peer, stream)
      earlier?.destroy()
      const dial = this.#dials.get(known.peer)
      if (dial !== undefined) dial.failures = 0
      carrier = new DirectCarrier(stream, known)
      known.attach(carrier)
      onChange(known.peer, true)
    }

    const reader = new RecordReader(
      () => (channel === undefined ? maxHelloBytes : maxFrameBytes),
      (record) => (channel === undefined ? takeHello(record) : channel.receive(record)),
    )
    stream.on('data', (chunk: Uint8Array) => {
      if (stream.destroyed) return
      try {
        reader.push(chunk)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        refuse(error)
      }
    })
    stream.on('error', (error) => {
      if (channel !== undefined)
        onRefused(new Refusal('link-failed', `direct link broke: ${reasonOf(error)}`), channel.peer)
    })
    stream.on('close', () => {
      cancelDeadline()
      if (channel === undefined) return
      if (carrier !== undefined) channel.detach(carrier)
      if (this.#up.get(channel.peer) !== stream) return
      this.#up.delete(channel.peer)
      onChange(channel.peer, false)
    })
  }
}

/** Writes frames to a stream without joining their pieces. */
class DirectCarrier implements Carrier {
  readonly kind = 'direct'
  readonly reliable = true
  readonly #stream: Duplex

  constructor(stream: Duplex, channel: Channel) {
    this.#stream = stream
    stream.on('drain', () => channel.pump())
  }

  get isReady(): boolean {
    return !this.#stream.destroyed && !this.#stream.writableNeedDrain
  }

  sendFrame(sealed: readonly Uint8Array[]): void {
    this.#stream.cork()
    this.#stream.write(recordLength(sealed))
    for (const part of sealed) this.#stream.write(part)
    this.#stream.uncork()
  }

  sendControl(sealed: readonly Uint8Array[]): void {
    this.#stream.write(concat([recordLength(sealed), ...sealed]))
  }
}

function sameAddresses(a: readonly Address[], b: readonly Address[]): boolean {
  return a.length === b.length && a.every(({ host, port }, i) => host === b[i]!.host && port === b[i]!.port)
}
