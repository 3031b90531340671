/**
 * All that two peers do with each other once they share keys: sealed activations one way or both, acknowledgements and
 * flow control back. Knows no socket: a carrier (direct TCP, broker relay, a pair of streams) takes the sealed frames.
 */

import type { Cancel, Clock } from '../clock.js'
import { Refusal } from '../errors.js'
import { idBytes, deviceIdOf, type DeviceId } from '../ids.js'
import { controlType, decodeControl, encodeControl, type Control } from '../protocol/control.js'
import { counterOf } from '../protocol/frame.js'
import { decodeActivation, encodeActivation, type Activation } from '../protocol/tensors.js'
import { Intake } from './intake.js'
import type { Keyring } from './keyring.js'
import { Backlog, type Item, type Window } from './backlog.js'
import type { Opened } from './pair.js'
import { maxOpenRequests, runName, type RequestKey } from './requests.js'

export type LinkKind = 'direct' | 'relay'

/** Takes sealed frames to the peer. Frames may be lost unless `reliable`; they never come out of order in themselves. */
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
  /** A request's tensors came in; duplicates are not sorted out yet. */
  onActivation(arrival: Arrival): void
  /** The peer is done with these requests: whoever waits upstream can be told. */
  onSettled(requests: readonly RequestKey[]): void
}

export interface ChannelTraffic {
  sentFrames: number
  sentBytes: number
  resentFrames: number
  receivedFrames: number
}

/** Requests acknowledged in one message at most: keeps it below the 8 KiB of a control frame. */
const maxAcknowledged = 512
/** How often a carrier that may lose frames is looked after. */
const resendCheckMs = 250

interface Held extends Item {
  readonly activation: Activation
}

export class Channel {
  readonly peer: DeviceId
  readonly traffic: ChannelTraffic = { sentFrames: 0, sentBytes: 0, resentFrames: 0, receivedFrames: 0 }
  readonly #keyring: Keyring
  readonly #clock: Clock
  readonly #window: Window
  readonly #events: ChannelEvents
  readonly #backlog: Backlog<Held>
  readonly #intake = new Intake()
  readonly #settled = new Map<string, { key: RequestKey; requests: number[] }>()
  #carrier: Carrier | undefined
  #flowIsDue = false
  #flowIsScheduled = false
  #cancelCheck: Cancel | undefined
  /** Grows with every new session: what was taken from an older one is not told to the peer of the new. 0 = no keys. */
  #session = 0
  /** Counter of the next activation's frame. */
  #nextCounter = 0

  constructor(options: { peer: DeviceId; keyring: Keyring; clock: Clock; window: Window; events: ChannelEvents }) {
    this.peer = options.peer
    this.#keyring = options.keyring
    this.#clock = options.clock
    this.#window = options.window
    this.#events = options.events
    this.#backlog = new Backlog(options.clock.monotonicMs())
  }

  get link(): LinkKind | 'none' {
    return this.#carrier?.kind ?? 'none'
  }

  /** Activations offered that the peer has not settled. */
  get held(): number {
    return this.#backlog.held
  }

  /** The keyring has keys of a new session (the first, or the peer or we restarted): counters begin again, all that is unsettled goes again. */
  renewed(): void {
    this.#session++
    this.#nextCounter = 0
    this.#intake.restart()
    this.#backlog.restart(this.#clock.monotonicMs())
    this.#scheduleFlow()
    this.pump()
  }

  /** Frames go this way from now on; whatever an earlier carrier had under way is sent again. */
  attach(carrier: Carrier): void {
    this.detach()
    this.#carrier = carrier
    this.#backlog.restart(this.#clock.monotonicMs())
    this.#scheduleFlow()
    if (!carrier.reliable) this.#checkLater()
    this.pump()
  }

  /** No way to the peer for the time being (only if `carrier`, when given, is still the one in use). */
  detach(carrier?: Carrier): void {
    if (carrier !== undefined && carrier !== this.#carrier) return
    this.#carrier = undefined
    this.#cancelCheck?.()
    this.#cancelCheck = undefined
  }

  /** Sends `activation` as soon as the peer has room, and keeps it until the peer has settled it. */
  offer(activation: Activation): void {
    this.#backlog.offer({
      client: activation.client,
      run: activation.run,
      request: activation.request,
      bytes: sizeOf(activation),
      activation,
    })
    this.pump()
  }

  /** Tells the peer, soon and in one message with others, that it need not keep this request any longer. */
  settle(key: RequestKey): void {
    const name = runName(key)
    const entry = this.#settled.get(name)
    if (entry === undefined) this.#settled.set(name, { key, requests: [key.request] })
    else entry.requests.push(key.request)
    this.#scheduleFlow()
  }

  /** Forgets what was to be sent, for a plan that is over. */
  clear(): void {
    this.#backlog.clear()
  }

  close(): void {
    this.detach()
    this.clear()
    this.#session = 0
    this.#keyring.erase()
  }

  /** The sealed first frame of a direct link. */
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
      this.#intake.begin(message[2])
      return true
    } catch (error) {
      if (error instanceof Refusal) return false
      throw error
    }
  }

  /** A frame came from the peer's side. Throws `Refusal` when it does not open or makes no sense: nothing has changed. */
  receive(frame: Uint8Array): void {
    const startMs = performance.now()
    const opened = this.#keyring.open(frame)
    if (opened.purpose === 1) {
      const activation = decodeActivation(opened.plaintext)
      this.traffic.receivedFrames++
      this.#intake.arrived(opened.counter)
      const session = this.#session
      this.#events.onActivation({
        activation,
        from: this.peer,
        openUs: Math.round((performance.now() - startMs) * 1000),
        took: () => {
          if (session !== this.#session) return
          this.#intake.took(opened.counter)
          this.#scheduleFlow()
        },
      })
      return
    }
    if (opened.purpose === 2) this.#obey(decodeControl(opened.plaintext), opened)
    else throw new Refusal('not-allowed', `a frame for unlocking from ${this.peer}, with which no segment is shared`)
  }

  /** Sends what the peer's window and the carrier have room for. */
  pump(): void {
    while (this.#carrier?.isReady === true && this.#session > 0) {
      const item = this.#backlog.next()
      if (item === undefined) return
      this.#send(this.#carrier, item)
    }
  }

  #send(carrier: Carrier, item: Held): void {
    const parts = encodeActivation(item.activation)
    const sealed = this.#keyring.seal(1, parts)
    const counter = counterOf(sealed[0]!)
    this.#nextCounter = counter + 1
    this.#backlog.sent(item, counter, this.#clock.monotonicMs())
    this.traffic.sentFrames++
    for (const part of sealed) this.traffic.sentBytes += part.length
    carrier.sendFrame(sealed)
  }

  #obey(message: Control, { epoch, ordinal }: Opened): void {
    if (message[0] === controlType.flow) {
      const [, takenBelow, frames, bytes, settled] = message
      this.#backlog.heard(takenBelow, { frames, bytes }, this.#clock.monotonicMs())
      const keys: RequestKey[] = []
      for (const [client, run, requests] of settled) {
        const id = deviceIdOf(client)
        for (const item of this.#backlog.acknowledged(id, run, requests)) keys.push(item)
      }
      if (keys.length > 0) this.#events.onSettled(keys)
      this.pump()
    } else if (message[0] === controlType.ratchet) {
      this.#keyring.follow({ epoch, ordinal, ratchet: message[2] })
    } else if (message[0] !== controlType.hello) {
      throw new Refusal('not-allowed', `control message ${message[0]} from ${this.peer}, which only the hub may send`)
    }
  }

  /** One FLOW for all that happens in this turn of the event loop. */
  #scheduleFlow(): void {
    this.#flowIsDue = true
    if (this.#flowIsScheduled) return
    this.#flowIsScheduled = true
    queueMicrotask(() => {
      this.#flowIsScheduled = false
      this.#sendFlow()
    })
  }

  #sendFlow(): void {
    while (this.#flowIsDue || this.#settled.size > 0) {
      // What a lost carrier does not take is not lost: the peer sends again, and hears again that it is settled.
      if (this.#carrier === undefined || this.#session === 0) return
      this.#flowIsDue = false
      const settled: [Uint8Array, Uint8Array, number[]][] = []
      let room = maxAcknowledged
      for (const [name, { key, requests }] of this.#settled) {
        if (room === 0) break
        const told = requests.splice(0, room)
        room -= told.length
        settled.push([idBytes(key.client), key.run, told])
        if (requests.length === 0) this.#settled.delete(name)
      }
      const flow = encodeControl([
        controlType.flow,
        this.#intake.takenBelow,
        this.#window.frames,
        this.#window.bytes,
        settled,
      ])
      this.#carrier.sendControl(this.#keyring.seal(2, [flow]))
    }
  }

  #checkLater(): void {
    this.#cancelCheck = this.#clock.after(resendCheckMs, () => {
      const carrier = this.#carrier
      if (carrier === undefined) return
      const item = carrier.isReady && this.#session > 0 ? this.#backlog.overdue(this.#clock.monotonicMs()) : undefined
      if (item !== undefined) {
        this.traffic.resentFrames++
        this.#send(carrier, item)
      }
      this.#checkLater()
    })
  }
}

/** Bytes of a frame for the window: its tensors, and what the rest of a frame has at most in common use. */
function sizeOf(activation: Activation): number {
  let bytes = 512
  for (const { data } of activation.tensors) {
    bytes += data instanceof Uint8Array ? data.length : data.reduce((sum, text) => sum + text.length * 3, 0)
  }
  return bytes
}

/** The window that a receiver gives unless it is configured: a full client window, and 64 MiB of activations. */
export const defaultWindow: Window = { frames: maxOpenRequests, bytes: 64 << 20 }
