/**
 * The direct link: one TCP connection a pair, frames one after the other. The first record each way is a sealed hello
 * (WIRE, "Direct link"); before it a connection gets 2 s and 272 bytes, whatever it sends.
 */

import type { Duplex } from 'node:stream'
import type { Cancel, Clock } from '#shared/clock.js'
import { concat, lengthOf } from '#shared/bytes.js'
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
  readonly channelOf: (peer: DeviceId) => Channel | undefined
  /** A connection was refused or ended by what it sent. */
  readonly onRefused: (reason: Refusal, peer: DeviceId | undefined) => void
  /** The link to a peer came up or went down. */
  readonly onChange: (peer: DeviceId, isUp: boolean) => void
  /** Dialling the peer failed `failures` times in a row. */
  readonly onFailure: (peer: DeviceId, failures: number) => void
}

interface Dial {
  readonly addresses: readonly Address[]
  failures: number
  /** Of the next attempt; `undefined` while none is due. */
  cancel: Cancel | undefined
  stream: Duplex | undefined
}

/** A connection with a good hello. */
interface Up {
  readonly stream: Duplex
  readonly dialler: DeviceId
  readonly sinceMs: number
}

export class DirectLinks {
  readonly #options: DirectOptions
  #listener: Listener | undefined
  readonly #up = new Map<DeviceId, Up>()
  readonly #dials = new Map<DeviceId, Dial>()
  readonly #strangers = new Map<Duplex, string>()
  #isClosed = false

  constructor(options: DirectOptions) {
    this.#options = options
  }

  /** Starts to take connections; returns where. Throws what the transport throws. */
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
    const dial: Dial = { addresses, failures: 0, cancel: undefined, stream: undefined }
    this.#dials.set(peer, dial)
    this.#tryDial(peer, dial)
  }

  /** Ends the connection to `peer` and any attempt at one. */
  hangUp(peer: DeviceId): void {
    this.#stopDialling(peer)
    this.#up.get(peer)?.stream.destroy()
  }

  /** The pair has new keys: a connection or an attempt under the old ones is made anew. */
  renew(peer: DeviceId): void {
    this.#up.get(peer)?.stream.destroy()
    const dial = this.#dials.get(peer)
    if (dial === undefined) return
    const attempt = dial.stream
    dial.stream = undefined
    attempt?.destroy()
    this.#tryDial(peer, dial)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const peers = [...this.#dials.keys()]
    for (const peer of peers) this.#stopDialling(peer)
    const streams = [...this.#strangers.keys(), ...[...this.#up.values()].map(({ stream }) => stream)]
    for (const stream of streams) stream.destroy()
    await this.#listener?.close()
  }

  #stopDialling(peer: DeviceId): void {
    const dial = this.#dials.get(peer)
    if (dial === undefined) return
    this.#dials.delete(peer)
    dial.cancel?.()
    if (dial.stream !== undefined && this.#up.get(peer)?.stream !== dial.stream) dial.stream.destroy()
  }

  /** Makes an attempt unless one is under way or has succeeded. */
  #tryDial(peer: DeviceId, dial: Dial): void {
    const channel = this.#options.channelOf(peer)
    const isNeeded = this.#up.get(peer)?.stream.destroyed !== false && dial.stream === undefined
    if (!isNeeded || channel === undefined || this.#isClosed || dial.addresses.length === 0) return
    dial.cancel?.()
    dial.cancel = undefined
    const address = dial.addresses[dial.failures % dial.addresses.length]!
    const stream = this.#serve(peer, (take) => this.#options.transport.dial(address, take))
    dial.stream = stream
    stream.once('connect', () => {
      try {
        this.#sayHello(stream, channel)
      } catch (error) {
        stream.destroy() // there are no keys yet: dialled again when there are
        if (!(error instanceof Refusal)) throw error
      }
    })
    stream.once('close', () => {
      if (dial.stream !== stream) return // given up for another attempt
      dial.stream = undefined
      if (this.#dials.get(peer) !== dial || this.#isClosed) return
      dial.failures++
      this.#options.onFailure(peer, dial.failures)
      this.#dialLater(peer, dial)
    })
  }

  #dialLater(peer: DeviceId, dial: Dial): void {
    const doublings = Math.min(Math.max(dial.failures - 1, 0), 16)
    const pauseMs = Math.min(redialAfterMs * 2 ** doublings, maxRedialAfterMs)
    dial.cancel?.()
    dial.cancel = this.#options.clock.after(pauseMs, () => this.#tryDial(peer, dial))
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
    this.#serve(undefined, (take) => stream.on('data', take))
  }

  #sayHello(stream: Duplex, channel: Channel): void {
    const hello = [idBytes(this.#options.self), ...channel.sealHello(this.#options.bootId)]
    stream.write(concat([recordLength(hello), ...hello]))
  }

  /**
   * Reads a connection from its first byte. `open` gives it, and all that comes on it to its argument; `expected` is the
   * peer that we dialled.
   */
  #serve(expected: DeviceId | undefined, open: (take: (chunk: Uint8Array) => void) => Duplex): Duplex {
    const { clock, onRefused } = this.#options
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
      const known = this.#greeted(record, expected)
      cancelDeadline()
      this.#strangers.delete(stream)
      if (!this.#isWanted(known.peer, expected)) {
        stream.destroy()
        return
      }
      // From here on its frames are taken: they may follow our hello at once.
      channel = known
      carrier = new DirectCarrier(stream, known)
      if (expected === undefined) this.#sayHello(stream, known)
      this.#cameUp(known, stream, carrier, expected)
    }

    const takeFrame = (frame: Uint8Array, from: Channel): void => {
      const unwanted = from.receive(frame)
      if (unwanted !== undefined) onRefused(unwanted, from.peer)
    }

    const reader = new RecordReader(
      () => (channel === undefined ? maxHelloBytes : maxFrameBytes),
      (record) => (channel === undefined ? takeHello(record) : takeFrame(record, channel)),
    )
    const stream = open((chunk) => {
      if (stream.destroyed) return
      try {
        reader.push(chunk)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        refuse(error)
      }
    })
    stream.on('error', (error) => {
      if (channel === undefined) return // an attempt that failed is told as such
      onRefused(new Refusal('link-failed', `direct link broke: ${reasonOf(error)}`), channel.peer)
    })
    stream.on('close', () => {
      cancelDeadline()
      if (channel === undefined || carrier === undefined) return
      channel.detach(carrier)
      this.#wentDown(channel.peer, stream)
    })
    return stream
  }

  /** The channel to the peer that says hello. Throws `Refusal('forged')` for anybody else, without hints. */
  #greeted(record: Uint8Array, expected: DeviceId | undefined): Channel {
    const peer = record.length > 16 ? deviceIdOf(record.subarray(0, 16)) : undefined
    const isOther = peer === undefined || (expected !== undefined && peer !== expected)
    const channel = isOther ? undefined : this.#options.channelOf(peer)
    if (channel?.isHello(record.subarray(16)) !== true) {
      throw new Refusal('forged', 'a connection whose hello does not open under the keys of a peer')
    }
    return channel
  }

  /**
   * A new connection takes the place of one that is up, which may be dead without our knowing. But two that dial each
   * other at once must end one and the same: the one that the higher id dialled.
   */
  #isWanted(peer: DeviceId, expected: DeviceId | undefined): boolean {
    const up = this.#up.get(peer)
    if (up === undefined || up.stream.destroyed) return true
    const { self, clock } = this.#options
    const dialler = expected === undefined ? peer : self
    const haveMet = up.dialler !== dialler && clock.monotonicMs() - up.sinceMs < helloWithinMs
    return !haveMet || dialler < up.dialler
  }

  #cameUp(channel: Channel, stream: Duplex, carrier: DirectCarrier, expected: DeviceId | undefined): void {
    const { self, clock, onChange } = this.#options
    const { peer } = channel
    const earlier = this.#up.get(peer)
    const dialler = expected === undefined ? peer : self
    this.#up.set(peer, { stream, dialler, sinceMs: clock.monotonicMs() })
    earlier?.stream.destroy()
    channel.attach(carrier)
    onChange(peer, true)
  }

  #wentDown(peer: DeviceId, stream: Duplex): void {
    const up = this.#up.get(peer)
    if (up?.stream !== stream) return
    this.#up.delete(peer)
    const { clock, onChange } = this.#options
    const dial = this.#dials.get(peer)
    if (dial !== undefined) {
      // A link that goes down as soon as it is up gets growing pauses as one that never comes up.
      if (clock.monotonicMs() - up.sinceMs >= helloWithinMs) dial.failures = 0
      if (dial.stream === undefined && !this.#isClosed) this.#dialLater(peer, dial)
    }
    onChange(peer, false)
  }
}

/** A frame up to this size is joined into one piece: the copy costs less than what the stream does for every piece. */
const joinedBytes = 32 << 10

/** Writes frames to a stream, the large ones without joining their pieces. */
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
    const length = recordLength(sealed)
    if (lengthOf(sealed) <= joinedBytes) {
      this.#stream.write(concat([length, ...sealed]))
      return
    }
    this.#stream.cork()
    this.#stream.write(length)
    for (const part of sealed) this.#stream.write(part)
    this.#stream.uncork()
  }

  sendControl(sealed: readonly Uint8Array[]): void {
    this.sendFrame(sealed)
  }
}

function sameAddresses(a: readonly Address[], b: readonly Address[]): boolean {
  return a.length === b.length && a.every(({ host, port }, i) => host === b[i]!.host && port === b[i]!.port)
}
