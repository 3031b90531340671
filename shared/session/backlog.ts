/**
 * What one party has to send to one peer, and has sent without being told that it is settled (D17): items stay, in clear
 * and in memory, until the peer acknowledges them; flow control by the peer's window in frames and bytes. Pure state:
 * the caller seals, sends and keeps time.
 */

import type { DeviceId } from '../ids.js'
import { precedes, requestName, runName, type RequestKey } from './requests.js'

export interface Item extends RequestKey {
  /** Size on the wire, for the byte window. */
  readonly bytes: number
}

/** What the peer has room for: frames and bytes that may be under way or in its queue. */
export interface Window {
  readonly frames: number
  readonly bytes: number
}

/** Assumed until the peer has spoken: one frame, of any size. */
export const firstWindow: Window = { frames: 1, bytes: 0 }

/** An item that a link may have lost goes again when it was not settled for so long; doubles for it up to the maximum. */
export const resendAfterMs = 1000
export const maxResendAfterMs = 30_000
/** No item is taken for lost before so many times what settling usually takes. */
const usualTimes = 4

interface Entry<T> {
  readonly item: T
  isHeld: boolean
  isWaiting: boolean
  sends: number
  /** Of the last frame that carried the item. */
  counter: number
  sentMs: number
  patienceMs: number
}

export class Backlog<T extends Item> {
  /** Unsettled items by name, in the order of their offer. */
  readonly #items = new Map<string, Entry<T>>()
  #waiting: Entry<T>[] = []
  /**
   * Items sent of which the peer has not said that they left its queue, by the counter of their last frame, ascending.
   * An item counts once, however often it was sent: its copies are dropped by the peer as they come.
   */
  readonly #flying = new Map<number, Entry<T>>()
  #flyingBytes = 0
  #window = firstWindow
  /** How long settling takes, as a moving average of items that were sent once. */
  #usualMs = 0

  /** Items offered and not yet acknowledged. */
  get held(): number {
    return this.#items.size
  }

  /** Items under way or in the peer's queue. */
  get flying(): Window {
    return { frames: this.#flying.size, bytes: this.#flyingBytes }
  }

  offer(item: T): void {
    const name = requestName(item)
    if (this.#items.has(name)) return
    const entry: Entry<T> = { item, isHeld: true, isWaiting: true, sends: 0, counter: -1, sentMs: 0, patienceMs: 0 }
    this.#items.set(name, entry)
    this.#waiting.push(entry)
  }

  /** The item to send now, if the window has room for it; then call `sent`. */
  next(): T | undefined {
    return this.#nextEntry()?.item
  }

  /** The item that `next` gave went out in the frame with this counter. Says whether it went before. */
  sent(item: T, counter: number, nowMs: number): boolean {
    const entry = this.#items.get(requestName(item))
    if (entry === undefined) return false
    this.#land(entry)
    this.#waiting.splice(this.#waiting.indexOf(entry), 1)
    entry.isWaiting = false
    entry.counter = counter
    entry.sentMs = nowMs
    const firstMs = Math.max(resendAfterMs, usualTimes * this.#usualMs)
    entry.patienceMs = Math.min(entry.sends === 0 ? firstMs : entry.patienceMs * 2, maxResendAfterMs)
    this.#flying.set(counter, entry)
    this.#flyingBytes += item.bytes
    return ++entry.sends > 1
  }

  /** Every frame of ours below `takenBelow` has left the peer's queue, or will never be in it; its window is now this. */
  heard(takenBelow: number, window: Window): void {
    for (const [counter, entry] of this.#flying) {
      if (counter >= takenBelow) break
      this.#land(entry)
    }
    this.#window = window
  }

  /** The peer says that these requests are settled; returns the items that it so releases. */
  acknowledged(client: DeviceId, run: Uint8Array, requests: readonly number[], nowMs: number): T[] {
    const released: T[] = []
    const prefix = runName({ client, run })
    for (const request of requests) {
      const name = `${prefix}/${request}`
      const entry = this.#items.get(name)
      if (entry === undefined) continue
      // A copy that is still under way is dropped as it comes: it takes no room.
      this.#land(entry)
      this.#items.delete(name)
      entry.isHeld = false
      released.push(entry.item)
      // Of an item that went twice nobody knows which one was answered.
      if (entry.sends === 1) this.#usualMs += (nowMs - entry.sentMs - this.#usualMs) / 8
    }
    return released
  }

  /** On a link that may lose frames: items that were sent and not settled for too long wait again, before all others. */
  requeueOverdue(nowMs: number): void {
    const isOverdue = ({ isWaiting, sentMs, patienceMs }: Entry<T>): boolean =>
      !isWaiting && nowMs - sentMs >= patienceMs
    this.#requeue([...this.#items.values()].filter(isOverdue))
  }

  /** The way to the peer is another: what was under way may be lost, all that is unsettled goes again. */
  resendAll(): void {
    this.#requeue([...this.#items.values()].filter((entry) => !entry.isWaiting))
  }

  /** The peer or we begin anew, counters too: nothing is under way, and nobody has given us a window. */
  restart(): void {
    this.resendAll()
    this.#flying.clear()
    this.#flyingBytes = 0
    this.#window = firstWindow
  }

  /** Drops all items, for a plan that is over; returns what was held. Their frames are no longer counted. */
  clear(): T[] {
    const held = [...this.#items.values()].map((entry) => entry.item)
    this.#items.clear()
    this.#waiting = []
    this.#flying.clear()
    this.#flyingBytes = 0
    return held
  }

  #nextEntry(): Entry<T> | undefined {
    while (this.#waiting[0]?.isHeld === false) this.#waiting.shift() // settled meanwhile
    const first = this.#waiting[0]
    if (first === undefined || this.#hasRoom(first)) return first
    // What counts as flying goes again without room of its own: it may be its very loss that fills the window.
    const lost = this.#waiting.find((entry) => entry.isHeld && this.#isFlying(entry))
    return lost ?? this.#firstOfAll()
  }

  /** The first of all unsettled items, where it waits: see `precedes`. Takes a frame's room more than there is. */
  #firstOfAll(): Entry<T> | undefined {
    let first: Entry<T> | undefined
    for (const entry of this.#items.values()) {
      if (first === undefined || precedes(entry.item, first.item)) first = entry
    }
    return first?.isWaiting === true ? first : undefined
  }

  #hasRoom(entry: Entry<T>): boolean {
    if (this.#flying.size === 0 || this.#isFlying(entry)) return true
    const { frames, bytes } = this.#window
    return this.#flying.size < frames && this.#flyingBytes + entry.item.bytes <= bytes
  }

  /** Before all that waits; what counts as flying first, because it needs no room. */
  #requeue(entries: readonly Entry<T>[]): void {
    const flying = entries.filter((entry) => this.#isFlying(entry))
    const others = entries.filter((entry) => !this.#isFlying(entry))
    for (const entry of entries) entry.isWaiting = true
    this.#waiting = [...flying, ...others, ...this.#waiting]
  }

  #isFlying(entry: Entry<T>): boolean {
    return this.#flying.get(entry.counter) === entry
  }

  #land(entry: Entry<T>): void {
    if (!this.#isFlying(entry)) return
    this.#flying.delete(entry.counter)
    this.#flyingBytes -= entry.item.bytes
  }
}
