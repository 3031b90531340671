/**
 * The sessions held with one peer, in three slots: the epoch before (receives only), the one in use, the next one (FKE 3.6).
 * The order of the verbs is what makes a rotation lose nothing and accept nothing stale:
 * `add(8)` on delivery (opens 8) -> `use(8)` on notice (seals with 8, still opens 7) -> `drop(7)` after the grace window.
 */

import { equal } from '../bytes.js'
import type { Clock } from '../clock.js'
import type { Aeads } from '../crypto/aead.js'
import { sha256 } from '../crypto/hash.js'
import { Refusal } from '../errors.js'
import type { DeviceId, FleetId } from '../ids.js'
import { decodeHeader } from '../protocol/frame.js'
import { type AuthenticationAlert, type Opened, type PairMaterial, PairSession, type Purpose } from './pair.js'

export interface KeyringOptions {
  readonly fleet: FleetId
  readonly self: DeviceId
  readonly peer: DeviceId
  readonly aeads: Aeads
  readonly clock?: Clock
  readonly onAlert?: (alert: AuthenticationAlert) => void
}

/** Sessions of one epoch that open at the same time: a peer that restarts more often loses the oldest. */
export const maxSessionsPerEpoch = 4

/** Where a ratchet took place. */
export interface Ratcheted {
  readonly epoch: number
  readonly ordinal: number
  readonly ratchet: number
}

interface Held {
  readonly session: PairSession
  /** Tells a delivery that repeats itself from a second secret under the same name; nobody gets from it to the secret. */
  readonly fingerprint: Uint8Array
}

interface Slot {
  readonly epoch: number
  /** In the order of their ordinals; the last one seals. */
  held: readonly Held[]
}

export class Keyring {
  readonly #options: KeyringOptions
  #previous: Slot | undefined
  #current: Slot | undefined
  #next: Slot | undefined
  /** The highest (epoch, ordinal) ever added: what was dropped never comes back, or its counters would begin anew. */
  #highest = { epoch: -1, ordinal: -1 }

  constructor(options: KeyringOptions) {
    this.#options = options
  }

  /** The epochs in the slots. */
  get epochs(): { previous: number | undefined; current: number | undefined; next: number | undefined } {
    return { previous: this.#previous?.epoch, current: this.#current?.epoch, next: this.#next?.epoch }
  }

  /** Whether `ratchet` should be called: a key in use is near its limit. */
  get needsRatchet(): boolean {
    return this.#sealing()?.needsRatchet ?? false
  }

  /**
   * Takes a secret: frames under it open from now on. In an epoch that is in use it also seals from now on, as it replaces
   * a session whose other end is gone; a later epoch waits for `use`. The same delivery again changes nothing.
   * Throws `Refusal`: `'stale-epoch'` for what is not newer than all that ever was here, `'bad-message'` for a second
   * secret under one name, `'not-allowed'` for an epoch after one that still waits for `use` or `drop`.
   */
  add(material: PairMaterial): void {
    const { peer, epoch, ordinal, prk } = material
    if (peer !== this.#options.peer)
      throw new RangeError(`a secret shared with ${peer} in the keyring of ${this.#options.peer}`)
    const fingerprint = sha256(prk)
    const known = this.#slot(epoch)?.held.find(({ session }) => session.ordinal === ordinal)
    if (known !== undefined) {
      if (equal(known.fingerprint, fingerprint)) return
      throw new Refusal(
        'bad-message',
        `${name(peer, epoch, ordinal)} came with two secrets: an ordinal is used once, ask for a new one`,
      )
    }
    const { epoch: highestEpoch, ordinal: highestOrdinal } = this.#highest
    if (epoch < highestEpoch || (epoch === highestEpoch && ordinal <= highestOrdinal)) {
      const newest = `the newest so far is ${highestOrdinal} of ${highestEpoch}`
      throw new Refusal('stale-epoch', `${name(peer, epoch, ordinal)} comes too late, ${newest}: ask for a newer one`)
    }
    if (this.#next !== undefined && this.#next.epoch !== epoch) {
      throw new Refusal(
        'not-allowed',
        `${name(peer, epoch, ordinal)} comes while ${this.#next.epoch} waits: use or drop that first`,
      )
    }
    const { fleet, self, aeads, clock, onAlert } = this.#options
    const session = new PairSession({
      fleet,
      self,
      material,
      aeads,
      ...(clock && { clock }),
      ...(onAlert && { onAlert }),
    })
    this.#highest = { epoch, ordinal }
    const slot = this.#slot(epoch) ?? (this.#next = { epoch, held: [] })
    slot.held = [...slot.held, { session, fingerprint }]
    if (slot.held.length > maxSessionsPerEpoch) this.drop(epoch, slot.held[0]!.session.ordinal)
  }

  /**
   * Seals with `epoch` from now on; the one so far only opens until dropped. In use already: nothing changes.
   * Throws `Refusal('stale-epoch')` for an epoch that was not added, `'not-allowed'` while the epoch before the one in use is
   * still held: with a fourth, stale frames could be accepted.
   */
  use(epoch: number): void {
    if (this.#current?.epoch === epoch) return
    const { peer } = this.#options
    if (this.#next?.epoch !== epoch) {
      throw new Refusal(
        'stale-epoch',
        `there are no keys for epoch ${epoch} with ${peer}, ${this.#heldEpochs()}: add them first`,
      )
    }
    if (this.#previous !== undefined) {
      throw new Refusal(
        'not-allowed',
        `epoch ${this.#previous.epoch} with ${peer} is still held: drop it before ${epoch} is used`,
      )
    }
    this.#previous = this.#current
    this.#current = this.#next
    this.#next = undefined
  }

  /** Wipes all sessions of an epoch, or the one with `ordinal`. What is not held needs no dropping. */
  drop(epoch: number, ordinal?: number): void {
    const slot = this.#slot(epoch)
    if (slot === undefined) return
    for (const { session } of slot.held) if (ordinal === undefined || session.ordinal === ordinal) session.erase()
    slot.held = slot.held.filter(({ session }) => ordinal !== undefined && session.ordinal !== ordinal)
    // An epoch stays in its slot without sessions: the next one of the same epoch takes over at once.
    if (ordinal !== undefined) return
    if (this.#previous === slot) this.#previous = undefined
    if (this.#current === slot) this.#current = undefined
    if (this.#next === slot) this.#next = undefined
  }

  /** Wipes everything. */
  erase(): void {
    for (const slot of [this.#previous, this.#current, this.#next]) if (slot !== undefined) this.drop(slot.epoch)
  }

  /** Seals with the newest session of the epoch in use; throws as `PairSession.seal`, `'stale-epoch'` while there is none. */
  seal(purpose: Purpose, parts: readonly Uint8Array[]): Uint8Array[] {
    return this.#inUse().seal(purpose, parts)
  }

  /**
   * Opens a frame with the session its header names, never by trial. The first valid frame of the next epoch says that the
   * peer uses it, and is followed as soon as the slots allow. Throws as `PairSession.open`.
   */
  open(frame: Uint8Array, options?: { countFailure?: boolean }): Opened {
    const { epoch, ordinal } = decodeHeader(frame)
    const opened = this.#session(epoch, ordinal).open(frame, options)
    if (this.#next?.epoch === epoch && this.#previous === undefined) this.use(epoch)
    return opened
  }

  /** Ratchets the session that seals; the caller tells the peer. Throws as `PairSession.ratchet`. */
  ratchet(): Ratcheted {
    const session = this.#inUse()
    return { epoch: session.epoch, ordinal: session.ordinal, ratchet: session.ratchet() }
  }

  /** Follows the peer's announcement, which came in a frame of the same epoch and ordinal. Throws as `PairSession.ratchet`. */
  follow({ epoch, ordinal, ratchet }: Ratcheted): void {
    this.#session(epoch, ordinal).ratchet(ratchet)
  }

  #slot(epoch: number): Slot | undefined {
    return [this.#current, this.#previous, this.#next].find((slot) => slot?.epoch === epoch)
  }

  #session(epoch: number, ordinal: number): PairSession {
    const held = this.#slot(epoch)?.held.find(({ session }) => session.ordinal === ordinal)
    if (held !== undefined) return held.session
    const { peer } = this.#options
    throw new Refusal(
      'stale-epoch',
      `${name(peer, epoch, ordinal)} is not held, ${this.#heldEpochs()}: seal with a newer one`,
    )
  }

  #sealing(): PairSession | undefined {
    return this.#current?.held.at(-1)?.session
  }

  #inUse(): PairSession {
    const session = this.#sealing()
    if (session !== undefined) return session
    throw new Refusal('stale-epoch', `no epoch is in use with ${this.#options.peer}: wait for its keys`)
  }

  #heldEpochs(): string {
    const held = Object.values(this.epochs).filter((epoch) => epoch !== undefined)
    return held.length === 0 ? 'none is held' : `held are epochs ${held.join(', ')}`
  }
}

function name(peer: DeviceId, epoch: number, ordinal: number): string {
  return `session ${ordinal} of epoch ${epoch} with ${peer}`
}
