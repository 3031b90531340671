/**
 * What one party has to send to one peer, and has sent without being told that it is settled (D17): items stay, in clear
 * and in memory, until the peer acknowledges them; flow control by the peer's window in frames and bytes. Pure state:
 * the caller seals, sends and keeps time.
 */

import type { DeviceId } from '../ids.js'
import { runName, type RequestKey } from './requests.js'

export interface Item extends RequestKey {
  /** Size on the wire, for the byte window. */
  readonly bytes: number
}

/** The peer's window, as its last FLOW said. */
export interface Window {
  readonly frames: number
  readonly bytes: number
}

/** Assumed until the peer has spoken: one frame, of any size. */
export const firstWindow: Window = { frames: 1, bytes: 0 }

/** Without a word from the peer for so long, an unreliable link sends the oldest item again; doubles up to the maximum. */
export const resendAfterMs = 1000
export const maxResendAfterMs = 30_000

export class Backlog<T extends Item> {
  /** Un-acknowledged items in the order of their offer; `counter` of the last frame that carried the item, if sent. */
  readonly #items = new Map<string, { item: T; counter: number | undefined }>()
  readonly #waiting: string[] = []
  /** Frames that the peer has not yet taken out of its queue, by counter: bytes. */
  readonly #flying = new Map<number, number>()
  #flyingBytes = 0
  #window = firstWindow
  #heardMs: number
  #patienceMs = resendAfterMs

  constructor(nowMs: number) {
    this.#heardMs = nowMs
  }

  /** Items offered and not yet acknowledged. */
  get held(): number {
    return this.#items.size
  }

  offer(item: T): void {
    const name = itemName(item)
    if (this.#items.has(name)) return
    this.#items.set(name, { item, counter: undefined })
    this.#waiting.push(name)
  }

  /** The item to send now, if the window has room for it; then call `sent`. */
  next(): T | undefined {
    for (let name = this.#waiting[0]; name !== undefined; name = this.#waiting[0]) {
      const entry = this.#items.get(name)
      if (entry === undefined) {
        this.#waiting.shift() // acknowledged meanwhile
        continue
      }
      if (this.#flying.size > 0) {
        if (this.#flying.size >= this.#window.frames) return undefined
        if (this.#flyingBytes + entry.item.bytes > this.#window.bytes) return undefined
      }
      return entry.item
    }
    return undefined
  }

  /** `item`, which `next` or `overdue` gave, went out in the frame with this counter. */
  sent(item: T, counter: number, nowMs: number): void {
    const name = itemName(item)
    const entry = this.#items.get(name)
    if (entry === undefined) return
    if (this.#waiting[0] === name) this.#waiting.shift()
    if (this.#flying.size === 0) this.#heardMs = nowMs
    entry.counter = counter
    this.#flying.set(counter, item.bytes)
    this.#flyingBytes += item.bytes
  }

  /** The peer has taken every frame below `takenBelow` out of its queue, or will never see it. */
  heard(takenBelow: number, window: Window, nowMs: number): void {
    for (const [counter, bytes] of this.#flying) {
      if (counter >= takenBelow) break
      this.#flying.delete(counter)
      this.#flyingBytes -= bytes
    }
    this.#window = window
    this.#heardMs = nowMs
    this.#patienceMs = resendAfterMs
  }

  /** The peer says that these requests are settled; returns the items that it so releases. */
  acknowledged(client: DeviceId, run: Uint8Array, requests: readonly number[]): T[] {
    const released: T[] = []
    const prefix = runName({ client, run })
    for (const request of requests) {
      const name = `${prefix}/${request}`
      const entry = this.#items.get(name)
      if (entry === undefined) continue
      this.#items.delete(name)
      released.push(entry.item)
    }
    return released
  }

  /** On a link that may lose frames: the oldest item that was sent and of which nothing was heard for too long. */
  overdue(nowMs: number): T | undefined {
    if (nowMs - this.#heardMs < this.#patienceMs) return undefined
    for (const { item, counter } of this.#items.values()) {
      if (counter === undefined) continue
      this.#heardMs = nowMs
      this.#patienceMs = Math.min(this.#patienceMs * 2, maxResendAfterMs)
      return item
    }
    return undefined
  }

  /** The link or the session is new: whatever was under way is lost, every item goes again in its order. */
  restart(nowMs: number): void {
    this.#waiting.length = 0
    for (const [name, entry] of this.#items) {
      entry.counter = undefined
      this.#waiting.push(name)
    }
    this.#flying.clear()
    this.#flyingBytes = 0
    this.#window = firstWindow
    this.#heardMs = nowMs
    this.#patienceMs = resendAfterMs
  }

  /** Drops everything, for a plan that is over; returns what was held. */
  clear(): T[] {
    const held = [...this.#items.values()].map((entry) => entry.item)
    this.#items.clear()
    this.#waiting.length = 0
    return held
  }
}

function itemName(item: Item): string {
  return `${runName(item)}/${item.request}`
}
