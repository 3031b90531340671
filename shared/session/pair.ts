/**
 * One pair session: seals and opens the frames between this device and one peer under one secret (FKE 3.5). Secrets and
 * counters live in memory only; a process that restarts needs new material.
 */

import { lengthOf } from '../bytes.js'
import { type Clock, systemClock } from '../clock.js'
import { type Aead, type Aeads, type AlgId, forged, keyBytes } from '../crypto/aead.js'
import { Refusal } from '../errors.js'
import type { DeviceId, FleetId } from '../ids.js'
import {
  decodeHeader,
  encodeHeader,
  frameOverhead,
  headerBytes,
  maxEpoch,
  maxFrameBytes,
  maxOrdinal,
  type Purpose,
  purposes,
} from '../protocol/frame.js'
import { alertFailures, Failures } from './failures.js'
import { type Generation, Generations, maxRatchetsAhead } from './generations.js'
import { type ReceiveKey, TrafficKey } from './traffic.js'

export type { Purpose } from '../protocol/frame.js'

/** A secret shared with one peer, as a key source gives it. */
export interface PairMaterial {
  readonly peer: DeviceId
  readonly epoch: number
  /** Which session of this pair in this epoch, 16 bits; rises with each new handshake. */
  readonly ordinal: number
  readonly alg: AlgId
  /** PairPRK or HubPRK, 32 bytes. */
  readonly prk: Uint8Array
}

export interface PairOptions {
  readonly fleet: FleetId
  readonly self: DeviceId
  /** Its secret is copied: the giver may wipe its own. */
  readonly material: PairMaterial
  readonly aeads: Aeads
  readonly clock?: Clock
  /** Called when 64 frames failed to authenticate within a minute. */
  readonly onAlert?: (alert: AuthenticationAlert) => void
}

export interface AuthenticationAlert {
  readonly peer: DeviceId
  readonly epoch: number
  readonly ordinal: number
  readonly failures: number
}

export interface Opened {
  readonly purpose: Purpose
  readonly epoch: number
  readonly ordinal: number
  /** How often the session was ratcheted when the frame was sealed; whole, not mod 256. */
  readonly ratchet: number
  /** The header's 64 bits: ordinal and counter. */
  readonly seq: bigint
  readonly counter: number
  /** Alone in its buffer, `byteOffset` 0, transferable. */
  readonly plaintext: Uint8Array<ArrayBuffer>
}

export class PairSession {
  readonly peer: DeviceId
  readonly epoch: number
  readonly ordinal: number
  readonly #fleet: FleetId
  readonly #self: DeviceId
  readonly #alg: AlgId
  readonly #aead: Aead
  readonly #onAlert: (alert: AuthenticationAlert) => void
  readonly #generations: Generations
  readonly #failures: Failures
  /** One key per purpose, of the current generation; empty once erased. */
  #send: readonly TrafficKey[]
  /** Frames sealed per purpose. They go on counting across ratchets, so that a seq names one frame of the session. */
  readonly #counters = purposes.map(() => 0)

  constructor({ fleet, self, material, aeads, clock = systemClock, onAlert = () => {} }: PairOptions) {
    const { peer, epoch, ordinal, alg, prk } = material
    // Both directions would have the same keys.
    if (peer === self) throw new RangeError('a device has no session with itself')
    if (prk.length !== keyBytes) throw new RangeError(`a pair secret has ${keyBytes} bytes, not ${prk.length}`)
    if (!isUint(epoch, maxEpoch) || !isUint(ordinal, maxOrdinal)) {
      throw new RangeError(`no session has epoch ${epoch} and ordinal ${ordinal}`)
    }
    this.peer = peer
    this.epoch = epoch
    this.ordinal = ordinal
    this.#fleet = fleet
    this.#self = self
    this.#alg = alg
    this.#aead = aeads(alg)
    this.#onAlert = onAlert
    this.#failures = new Failures(clock)
    this.#generations = new Generations({ fleet, self, peer, epoch, prk, clock })
    this.#send = this.#sendKeys()
  }

  /** How often the session was ratcheted so far. */
  get ratchets(): number {
    return this.#generations.current.ratchet
  }

  /** Whether a sending key is near its limit, so that `ratchet` should be called and the peer be told. */
  get needsRatchet(): boolean {
    return this.#send.some((key) => key.isNearlySpent)
  }

  /**
   * The frame in pieces: 16-byte header, ciphertext (one piece per part), tag. Throws `Refusal('key-exhausted')` at the
   * limit of a key, until ratcheted; `'over-limit'` for more than a frame holds; `'stale-epoch'` once erased.
   */
  seal(purpose: Purpose, parts: readonly Uint8Array[]): Uint8Array[] {
    const key = this.#send[purpose - 1]
    if (key === undefined) throw this.#erased()
    const bytes = lengthOf(parts)
    if (bytes > maxFrameBytes - frameOverhead) {
      throw new Refusal(
        'over-limit',
        `${bytes} bytes do not fit a frame of at most ${maxFrameBytes}: cut the model elsewhere`,
      )
    }
    if (!key.allows(bytes)) {
      throw new Refusal('key-exhausted', `the key to ${this.peer} has sealed all that one key may: ratchet the session`)
    }
    // Both are counted before sealing: whatever fails from here on, this counter is never used again.
    const counter = this.#counters[purpose - 1]!++
    key.count(bytes)
    const { epoch, ordinal } = this
    // The header travels in clear and is authenticated: no frame passes for one of another purpose, epoch or session.
    const header = encodeHeader({ purpose, alg: this.#alg, ratchet: this.ratchets & 255, epoch, ordinal, counter })
    const frame = this.#aead.seal(key.key, key.nonceFor(header), header, parts)
    frame.unshift(header)
    return frame
  }

  /**
   * Opens one frame of the peer's. A frame from after a ratchet that this end has not heard of yet is itself the
   * authentic notice of it, and is followed. `countFailure: false` is for frames before a link's hello, which anybody may
   * send. Throws `Refusal`: `'bad-message'` for what is no frame, `'stale-epoch'` for one of another session or of an
   * erased key, `'replayed'`, `'forged'`, `'key-exhausted'` for a key past its limits.
   */
  open(frame: Uint8Array, { countFailure = true }: { countFailure?: boolean } = {}): Opened {
    const header = decodeHeader(frame)
    const { purpose, counter, ordinal, epoch } = header
    if (this.#send.length === 0) throw this.#erased()
    if (epoch !== this.epoch || ordinal !== this.ordinal) {
      const held = `held is ${this.ordinal} of ${this.epoch}`
      throw new Refusal('stale-epoch', `the frame is of session ${ordinal} of epoch ${epoch}, ${held}: seal it anew`)
    }
    // Fixed per epoch: a key never serves two ciphers.
    if (header.alg !== this.#alg) throw forged()
    const generation = this.#generationOf(header.ratchet)
    const key = generation.receive[purpose - 1]!
    const bytes = frame.length - frameOverhead
    if (key.isDropped || !key.allows(bytes)) {
      throw new Refusal(
        'key-exhausted',
        `the key from ${this.peer} has opened all that one key may: ratchet the session`,
      )
    }
    if (!key.window.admits(counter)) {
      throw new Refusal('replayed', `frame ${counter} from ${this.peer} was taken before, or is too late to tell`)
    }
    const ad = frame.subarray(0, headerBytes)
    let plaintext: Uint8Array<ArrayBuffer>
    try {
      plaintext = this.#aead.open(key.key, key.nonceFor(ad), ad, frame.subarray(headerBytes))
    } catch (refusal) {
      if (countFailure) this.#failed(key)
      throw refusal
    }
    key.window.take(counter)
    key.count(bytes)
    if (generation.ratchet > this.ratchets) this.#advanceTo(generation.ratchet)
    const seq = (BigInt(ordinal) << 48n) | BigInt(counter)
    return { purpose, epoch, ordinal, ratchet: generation.ratchet, seq, counter, plaintext }
  }

  /**
   * Moves all keys of the session, both directions, one hash on, or to the number `to` that the peer announced in an
   * authenticated frame; a number already reached changes nothing. What was before opens for 2 s more, then is erased.
   * Returns the number in force. Throws `Refusal('bad-message')` for a number too far ahead, `'stale-epoch'` once erased.
   */
  ratchet(to: number = this.ratchets + 1): number {
    if (this.#send.length === 0) throw this.#erased()
    if (!Number.isInteger(to) || to > this.ratchets + maxRatchetsAhead) {
      throw new Refusal(
        'bad-message',
        `${this.peer} announced ratchet ${to}, this end is at ${this.ratchets}: start a new session`,
      )
    }
    if (to > this.ratchets) this.#advanceTo(to)
    return this.ratchets
  }

  /** Wipes every secret; from then on the session refuses. */
  erase(): void {
    this.#generations.erase()
    for (const key of this.#send) key.erase()
    this.#send = []
  }

  #generationOf(ratchetByte: number): Generation {
    const generation = this.#generations.find(ratchetByte)
    if (generation !== undefined) return generation
    const held = `this end is at ${this.ratchets & 255}`
    throw new Refusal('stale-epoch', `the frame is of ratchet ${ratchetByte} (mod 256), ${held}: seal it anew`)
  }

  #advanceTo(number: number): void {
    this.#generations.advanceTo(number)
    for (const key of this.#send) key.erase()
    this.#send = this.#sendKeys()
  }

  #sendKeys(): readonly TrafficKey[] {
    const { prk, ratchet } = this.#generations.current
    const way = { fleet: this.#fleet, epoch: this.epoch, ratchet, from: this.#self, to: this.peer }
    return purposes.map((purpose) => new TrafficKey(prk, { ...way, purpose }))
  }

  #failed(key: ReceiveKey): void {
    key.fail()
    const { peer, epoch, ordinal } = this
    if (this.#failures.add()) this.#onAlert({ peer, epoch, ordinal, failures: alertFailures })
  }

  #erased(): Refusal {
    return new Refusal(
      'stale-epoch',
      `the session with ${this.peer} of epoch ${this.epoch} is over: seal with the next one`,
    )
  }
}

function isUint(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max
}
