/** The keys that frames of one direction, purpose and ratchet are under, and how much one key may do (FKE 3.5). */

import { wipe } from '../bytes.js'
import { trafficIv, trafficKey, type TrafficFacts } from '../crypto/schedule.js'
import { ReplayWindow } from './window.js'

/** Frames one key seals or opens: keeps the odds of a forgery against GCM and Poly1305 far below 2^-57. */
export const maxFramesPerKey = 2 ** 24
/** 16 GiB of plaintext per key. */
export const maxBytesPerKey = 2 ** 34
/** Forged frames after which a key is dropped, whoever sent them. */
export const maxFailuresPerKey = 2 ** 16

/** A key with its frame counter's iv. `facts.from` is who seals under it. */
export class TrafficKey {
  readonly key: Uint8Array
  readonly #iv: Uint8Array
  readonly #nonce: Uint8Array
  #frames = 0
  #bytes = 0

  constructor(prk: Uint8Array, facts: TrafficFacts) {
    this.key = trafficKey(prk, facts)
    this.#iv = trafficIv(prk, facts)
    this.#nonce = Uint8Array.from(this.#iv)
  }

  /** `iv XOR (4 zero bytes, seq)`. The same buffer at every call: good until the next one. */
  nonceFor(header: Uint8Array): Uint8Array {
    // The last 8 bytes of a header are its seq.
    for (let i = 4; i < 12; i++) this.#nonce[i] = this.#iv[i]! ^ header[i + 4]!
    return this.#nonce
  }

  /** Whether one more frame of `bytes` stays within the limits. */
  allows(bytes: number): boolean {
    return this.#frames < maxFramesPerKey && this.#bytes + bytes <= maxBytesPerKey
  }

  count(bytes: number): void {
    this.#frames++
    this.#bytes += bytes
  }

  /** Whether 15/16 of a limit are used: time to ratchet while frames still flow. */
  get isNearlySpent(): boolean {
    return this.#frames >= maxFramesPerKey * (15 / 16) || this.#bytes >= maxBytesPerKey * (15 / 16)
  }

  erase(): void {
    wipe(this.key, this.#iv, this.#nonce)
  }
}

/** A key that opens: with the counters it has seen and the forgeries it has met. */
export class ReceiveKey extends TrafficKey {
  readonly window = new ReplayWindow()
  #failures = 0

  get isDropped(): boolean {
    return this.#failures >= maxFailuresPerKey
  }

  fail(): void {
    if (++this.#failures === maxFailuresPerKey) this.erase()
  }
}
