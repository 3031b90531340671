/**
 * Who may hold a connection under which id. Until mTLS brings certificates, a client proves its id with a password of 32
 * bytes. On the relay it is a random token that the hub handed out over the control plane. On the control plane the
 * first connection of an id brings its own (made from the device's identity), and from then on that id is taken: a second
 * connection with a foreign id does not push the device out. The password travels in clear where TCP has no TLS, so this
 * keeps out strangers, not somebody who reads the network; what messages say is safe by their signatures and seals.
 */

import { equal } from '#shared/bytes.js'
import type { DeviceId } from '#shared/ids.js'
import { TokenBucket } from './bucket.js'
import type { Limits } from './limits.js'

export const passwordBytes = 32

interface Entry {
  password: Uint8Array | undefined
  refusals: TokenBucket
  bannedUntilMs: number
  /** The hub knows this device; what strangers leave behind goes when their connection does. */
  isKnown: boolean
}

export class Admission {
  readonly #entries = new Map<DeviceId, Entry>()
  readonly #limits: Limits
  readonly #policy: 'first-come' | 'token'

  constructor(policy: 'first-come' | 'token', limits: Limits) {
    this.#policy = policy
    this.#limits = limits
  }

  /** Whether there is room for one more id. */
  get isFull(): boolean {
    return this.#entries.size >= this.#limits.knownDevices
  }

  /** The hub knows this device, and on the relay its token. Gives false where no more ids can be remembered. */
  know(device: DeviceId, token: Uint8Array | undefined, nowMs: number): boolean {
    const entry = this.#entryOf(device, nowMs)
    if (entry === undefined) return false
    entry.isKnown = true
    if (token !== undefined) entry.password = Uint8Array.from(token)
    return true
  }

  forget(device: DeviceId): void {
    this.#entries.delete(device)
  }

  /** Why a connection is refused, `undefined` if it is not. */
  refusalOf(device: DeviceId, password: Uint8Array | undefined, nowMs: number): string | undefined {
    if (password?.length !== passwordBytes) return 'bad-password'
    const entry = this.#policy === 'token' ? this.#entries.get(device) : this.#entryOf(device, nowMs)
    if (entry === undefined) return this.#policy === 'token' ? 'unknown-sender' : 'over-limit'
    if (nowMs < entry.bannedUntilMs) return 'banned'
    if (entry.password === undefined) {
      if (this.#policy === 'token') return 'unknown-sender'
      entry.password = Uint8Array.from(password)
    }
    return equal(entry.password, password) ? undefined : 'bad-password'
  }

  /** Counts a refused message; gives whether the client is now banned. */
  blame(device: DeviceId, nowMs: number): boolean {
    const entry = this.#entryOf(device, nowMs)
    if (entry === undefined || entry.refusals.take(1, nowMs) === 0) return false
    entry.bannedUntilMs = nowMs + this.#limits.banMs
    return true
  }

  /** A connection ended: ids that the hub does not know are free again, unless they are banned. */
  left(device: DeviceId, nowMs: number): void {
    const entry = this.#entries.get(device)
    if (entry !== undefined && !entry.isKnown && nowMs >= entry.bannedUntilMs) this.#entries.delete(device)
  }

  #entryOf(device: DeviceId, nowMs: number): Entry | undefined {
    const known = this.#entries.get(device)
    if (known !== undefined) return known
    if (this.isFull) this.#sweep(nowMs)
    if (this.isFull) return undefined
    const { refusals: capacity, refusalsForgivenPerSecond: perSecond } = this.#limits
    const entry = {
      password: undefined,
      refusals: new TokenBucket({ capacity, perSecond, nowMs }),
      bannedUntilMs: -Infinity,
      isKnown: false,
    }
    this.#entries.set(device, entry)
    return entry
  }

  /** Strangers whose ban is over. */
  #sweep(nowMs: number): void {
    for (const [device, entry] of this.#entries) {
      const wasBanned = entry.bannedUntilMs > -Infinity
      if (!entry.isKnown && wasBanned && nowMs >= entry.bannedUntilMs) this.#entries.delete(device)
    }
  }
}
