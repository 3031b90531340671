/**
 * All that two peers do with each other once they share keys: sealed activations one way or both, acknowledgements and
 * flow control back. Knows no socket: a carrier (direct TCP, broker relay, a pair of streams) takes the sealed frames.
 */

import { lengthOf } from '../bytes.js'
import type { Cancel, Clock } from '../clock.js'
import { Refusal } from '../errors.js'
import { deviceIdOf, type DeviceId } from '../ids.js'
import { controlType, decodeControl, encodeControl, type Control } from '../protocol/control.js'
import { counterOf, frameOverhead, type Purpose } from '../protocol/frame.js'
import { decodeActivation, encodeActivation, type Activation } from '../protocol/tensors.js'
import { Intake } from './intake.js'
import type { Keyring } from './keyring.js'
import { Backlog, type Item, type Window } from './backlog.js'
import type { Opened } from './pair.js'
import { maxOpenRequests, type RequestKey } from './requests.js'
import { Settled } from './settled.js'

export type LinkKind = 'direct' | 'relay'

/**
 * Takes sealed frames to the peer, in order. Where `reliable`, each frame comes or the carrier ends (and is detached);
 * elsewhere frames may be lost one by one, so that the channel sends again what is not settled.
 */
export interface Carrier {
  readonly kind: LinkKind
  readonly reliable: boolean
  /** Whether the carrier can take another large frame now; when it can again, it calls `Channel.pump`. */
  readonly isReady: boolean
  sendFrame(sealed: readonly Uint8Array[]): void
  sendControl(sealed: readonly Uint8Array[]): void
}

/** An activation as it came in. `took` must be called when it leaves the receiver's queue. */
export interface Arrival {
  readonly activation: Activation
  readonly from: DeviceId
  /** Time that opening and decoding took, in microseconds. */
  readonly openUs: number
  readonly took: () => void
}

export interface ChannelEvents {
  /**
   * A request's tensors came in; duplicates are not sorted out yet. May throw `Refusal`: the frame is then dropped, and
   * the link stays.
   */
  onActivation(arrival: Arrival): void
  /** `by` is done with these requests: when all are to whom they went, whoever waits upstream can be told. */
  onSettled(requests: readonly RequestKey[], by: DeviceId): void
}

/** What measures the link. */
export interface Prober {
  /** Whether the peer's probes are answered. */
  readonly answers: boolean
  onEcho(probe: number, openNs: number): void
}

export interface ChannelTraffic {
  sentFrames: number
  sentBytes: number
  resentFrames: number
  receivedFrames: number
}

/** Which keys are in use with the peer. */
export interface SessionName {
  readonly epoch: number
  readonly ordinal: number
}

/** The ratchet's task, where it is no task that ended but a key that is nearly spent. */
const noTask = new Uint8Array(16)
/**
 * So long may news for the peer wait for more: a message costs as much as a small frame. The peer holds its items so much
 * longer, but is not kept from sending: when a quarter of its window, or so many requests, are to be told of, it hears at once.
 */
export const flowDelayMs = 25
const maxUntoldSettled = 64
/** How often a carrier that may lose frames is looked after. */
const resendCheckMs = 250

interface Held extends Item {
  readonly parts: readonly Uint8Array[]
}

export class Channel {
  readonly peer: DeviceId
  readonly traffic: ChannelTraffic = { sentFrames: 0, sentBytes: 0, resentFrames: 0, receivedFrames: 0 }
  /** Set while the link is measured: elsewhere probes and echoes are refused. */
  prober: Prober | undefined
  readonly #keyring: Keyring
  readonly #clock: Clock
  readonly #events: ChannelEvents
  readonly #backlog = new Backlog<Held>()
  readonly #intake: Intake
  readonly #settled = new Settled()
  #carrier: Carrier | undefined
  #flowIsDue = false
  #flowIsScheduled = false
  #cancelFlow: Cancel | undefined
  /** What has left the queue, and what was settled, since the peer was last told. */
  #untold = { frames: 0, bytes: 0, settled: 0 }
  #cancelCheck: Cancel | undefined
  /** The session that we seal under: only its frames are counted by both ends. */
  #session: SessionName | undefined
  /** Counter of the next activation's frame. */
  #nextCounter = 0
  #isClosed = false

  constructor(options: { peer: DeviceId; keyring: Keyring; clock: Clock; window: Window; events: ChannelEvents }) {
    this.peer = options.peer
    this.#keyring = options.keyring
    this.#clock = options.clock
    this.#events = options.events
    this.#intake = new Intake(options.window)
  }

  get link(): LinkKind | 'none' {
    return this.#carrier?.kind ?? 'none'
  }

  /** Activations offered that the peer has not settled. */
  get held(): number {
    return this.#backlog.held
  }

  /**
   * The keyring seals with keys of this session from now on (the first, or the peer or we restarted): counters begin again,
   * all that is unsettled goes again. Told again of the session in use, nothing happens.
   */
  renewed({ epoch, ordinal }: SessionName): void {
    if (this.#isClosed || this.#isCurrent({ epoch, ordinal })) return
    this.#session = { epoch, ordinal }
    this.#nextCounter = 0
    this.#intake.restart()
    this.#backlog.restart()
    this.#tellNow()
    this.pump()
  }

  /** Frames go this way from now on; whatever an earlier carrier had under way is sent again. */
  attach(carrier: Carrier): void {
    if (this.#isClosed) return
    this.detach()
    this.#carrier = carrier
    this.#backlog.resendAll()
    this.#tellNow()
    this.pump()
    this.#checkLater()
  }

  /** No way to the peer for the time being (only if `carrier`, when given, is still the one in use). */
  detach(carrier?: Carrier): void {
    if (carrier !== undefined && carrier !== this.#carrier) return
    this.#carrier = undefined
    this.#cancelCheck?.()
    this.#cancelCheck = undefined
  }

  /**
   * Sends `activation` as soon as the peer has room, and keeps it until the peer has settled it. Throws the `Refusal` of
   * `encodeActivation` for one that no frame can carry: nothing is kept of it.
   */
  offer(activation: Activation): void {
    if (this.#isClosed) return
    const { client, run, request } = activation
    const parts = encodeActivation(activation)
    this.#backlog.offer({ client, run, request, parts, bytes: lengthOf(parts) + frameOverhead })
    this.pump()
    this.#checkLater()
  }

  /** Tells the peer, soon and in one message with others, that it need not keep this request any longer. */
  settle(key: RequestKey): void {
    this.#settled.add(key)
    this.#untold.settled++
    this.#tellSoon()
  }

  /** Forgets what was to be sent, for a plan that is over; returns the requests. */
  clear(): RequestKey[] {
    return this.#backlog.clear()
  }

  /**
   * Nothing comes or goes any more; returns the requests that the peer has not settled. The keyring is not erased: should
   * the two be peers again, their counters go on.
   */
  close(): RequestKey[] {
    this.#isClosed = true
    this.#cancelFlow?.()
    this.detach()
    this.#settled.clear()
    this.#session = undefined
    return this.clear()
  }

  /**
   * Sends a probe, which goes the way of an activation; gives the nanoseconds that sealing it took, or `undefined` where
   * there are no keys or there is no way to the peer.
   */
  probe(probe: number, filling: Uint8Array): number | undefined {
    const carrier = this.#carrier
    if (carrier === undefined || this.#session === undefined) return undefined
    const startMs = performance.now()
    const sealed = this.#seal(carrier, 2, [encodeControl([controlType.probe, probe, filling])])
    const sealNs = nanosecondsSince(startMs)
    carrier.sendFrame(sealed)
    return sealNs
  }

  /** The sealed first frame of a direct link. Throws `Refusal('stale-epoch')` while there are no keys. */
  sealHello(bootId: Uint8Array): Uint8Array[] {
    return this.#keyring.seal(2, [encodeControl([controlType.hello, bootId, this.#nextCounter])])
  }

  /**
   * Whether `frame` is the hello of this peer under the current keys. A failure counts against no key: anybody can
   * connect.
   */
  isHello(frame: Uint8Array): boolean {
    try {
      const opened = this.#keyring.open(frame, { countFailure: false })
      if (opened.purpose !== 2) return false
      const message = decodeControl(opened.plaintext)
      if (message[0] !== controlType.hello) return false
      if (this.#isCurrent(opened)) this.#intake.begin(message[2])
      return true
    } catch (error) {
      if (error instanceof Refusal) return false
      throw error
    }
  }

  /**
   * A frame came from the peer's side. Throws `Refusal` when it does not open or makes no sense: nothing has changed.
   * Returns the `Refusal` of a frame that is the peer's but was not wanted: no fault of the link.
   */
  receive(frame: Uint8Array): Refusal | undefined {
    const startMs = performance.now()
    const opened = this.#keyring.open(frame)
    switch (opened.purpose) {
      case 1:
        return this.#take(opened, startMs)
      case 2:
        return this.#obey(decodeControl(opened.plaintext), opened, startMs)
      case 3:
        throw new Refusal('not-allowed', `a frame for unlocking from ${this.peer}, with which no segment is shared`)
    }
  }

  /** Sends what the peer's window and the carrier have room for. */
  pump(): void {
    while (this.#carrier?.isReady === true && this.#session !== undefined) {
      const item = this.#backlog.next()
      if (item === undefined) return
      const sealed = this.#seal(this.#carrier, 1, item.parts)
      const counter = counterOf(sealed[0]!)
      this.#nextCounter = counter + 1
      if (this.#backlog.sent(item, counter, this.#clock.monotonicMs())) this.traffic.resentFrames++
      this.traffic.sentFrames++
      this.traffic.sentBytes += item.bytes
      this.#carrier.sendFrame(sealed)
    }
  }

  #take(opened: Opened, startMs: number): Refusal | undefined {
    const activation = decodeActivation(opened.plaintext)
    const queued = { counter: opened.counter, bytes: opened.plaintext.length + frameOverhead }
    this.#intake.arrived(queued, !this.#isCurrent(opened))
    this.traffic.receivedFrames++
    const took = (): void => {
      if (!this.#intake.took(queued)) return
      this.#untold.frames++
      this.#untold.bytes += queued.bytes
      this.#tellSoon()
    }
    const openUs = Math.round((performance.now() - startMs) * 1000)
    try {
      this.#events.onActivation({ activation, from: this.peer, openUs, took })
    } catch (error) {
      took()
      if (error instanceof Refusal) return error
      throw error
    }
    return undefined
  }

  /** Seals for `carrier`, and moves on to fresh keys in time: at its limit a key seals nothing more. */
  #seal(carrier: Carrier, purpose: Purpose, parts: readonly Uint8Array[]): Uint8Array[] {
    if (this.#keyring.needsRatchet) {
      const { ratchet } = this.#keyring.ratchet()
      carrier.sendControl(this.#keyring.seal(2, [encodeControl([controlType.ratchet, noTask, ratchet])]))
    }
    return this.#keyring.seal(purpose, parts)
  }

  #obey(message: Control, opened: Opened, startMs: number): Refusal | undefined {
    if (message[0] === controlType.flow) {
      const [, takenBelow, frames, bytes, settled] = message
      if (this.#isCurrent(opened)) this.#backlog.heard(takenBelow, { frames, bytes })
      const nowMs = this.#clock.monotonicMs()
      const keys: RequestKey[] = []
      for (const [client, run, requests] of settled) {
        for (const item of this.#backlog.acknowledged(deviceIdOf(client), run, requests, nowMs)) keys.push(item)
      }
      if (keys.length > 0) this.#events.onSettled(keys, this.peer)
      this.pump()
    } else if (message[0] === controlType.ratchet) {
      const { epoch, ordinal } = opened
      this.#keyring.follow({ epoch, ordinal, ratchet: message[2] })
    } else if (message[0] === controlType.probe) {
      if (this.prober?.answers !== true)
        return new Refusal('not-allowed', `a probe from ${this.peer}, not ordered here`)
      const echo = encodeControl([controlType.echo, message[1], nanosecondsSince(startMs)])
      if (this.#carrier !== undefined) this.#carrier.sendControl(this.#seal(this.#carrier, 2, [echo]))
    } else if (message[0] === controlType.echo) {
      this.prober?.onEcho(message[1], message[2])
    } else if (message[0] !== controlType.hello) {
      throw new Refusal('not-allowed', `control message ${message[0]} from ${this.peer}, which only the hub may send`)
    }
    return undefined
  }

  #isCurrent({ epoch, ordinal }: SessionName): boolean {
    return this.#session?.epoch === epoch && this.#session.ordinal === ordinal
  }

  /** One FLOW for all that happens within the delay. */
  #tellSoon(): void {
    this.#flowIsDue = true
    const { frames, bytes, settled } = this.#untold
    const room = this.#intake.room
    if (settled >= maxUntoldSettled || 4 * frames >= room.frames || 4 * bytes >= room.bytes) this.#tellNow()
    else if (!this.#isClosed) this.#cancelFlow ??= this.#clock.after(flowDelayMs, () => this.#sendFlow())
  }

  /** One FLOW for all that happens in this turn of the event loop. */
  #tellNow(): void {
    this.#flowIsDue = true
    if (this.#flowIsScheduled) return
    this.#flowIsScheduled = true
    queueMicrotask(() => {
      this.#flowIsScheduled = false
      this.#sendFlow()
    })
  }

  #sendFlow(): void {
    this.#cancelFlow?.()
    this.#cancelFlow = undefined
    this.#untold = { frames: 0, bytes: 0, settled: 0 }
    while (this.#flowIsDue || !this.#settled.isEmpty) {
      // What a lost carrier does not take is not lost: the peer sends again, and hears again that it is settled.
      if (this.#carrier === undefined || this.#session === undefined) return
      this.#flowIsDue = false
      const { frames, bytes } = this.#intake.room
      const flow = encodeControl([controlType.flow, this.#intake.takenBelow, frames, bytes, this.#settled.take()])
      this.#carrier.sendControl(this.#seal(this.#carrier, 2, [flow]))
    }
  }

  /** Looks after items that a carrier may have lost, as long as there are any. */
  #checkLater(): void {
    const carrier = this.#carrier
    if (carrier === undefined || carrier.reliable || this.#cancelCheck !== undefined || this.held === 0) return
    this.#cancelCheck = this.#clock.after(resendCheckMs, () => {
      this.#cancelCheck = undefined
      this.#backlog.requeueOverdue(this.#clock.monotonicMs())
      this.pump()
      this.#checkLater()
    })
  }
}

function nanosecondsSince(startMs: number): number {
  return Math.round((performance.now() - startMs) * 1e6)
}

/** The window that a receiver gives unless it is configured: a full client window, and 64 MiB of activations. */
export const defaultWindow: Window = { frames: maxOpenRequests, bytes: 64 << 20 }
