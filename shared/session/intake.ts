/**
 * The receiving end of flow control for one peer: which of its frames are still in our queue, hence what to tell it.
 * Counters are those of the p = 1 frames of one session, so a frame that was lost is released when a later one arrives.
 * Pure state.
 */

import { Refusal } from '../errors.js'
import { maxFrameBytes } from '../protocol/frame.js'
import type { Window } from './backlog.js'

/** A frame in our queue. */
export interface Queued {
  readonly counter: number
  readonly bytes: number
}

/** Windows that may lie in our queue: a new way or a new plan can bring what its sender no longer counts. */
const toleratedWindows = 2

export class Intake {
  readonly #window: Window
  readonly #queued = new Set<Queued>()
  /** Of earlier sessions, whose counters mean nothing in the present one. */
  readonly #stale = new Set<Queued>()
  #next = 0

  constructor(window: Window) {
    this.#window = window
  }

  /** The peer begins or goes on: its next frame will have this counter, all before it are no longer under way. */
  begin(nextCounter: number): void {
    this.#next = Math.max(this.#next, nextCounter)
  }

  /** A new session of the pair counts from 0 again. What is in the queue stays there, and takes room. */
  restart(): void {
    for (const frame of this.#queued) this.#stale.add(frame)
    this.#queued.clear()
    this.#next = 0
  }

  /**
   * A frame came. `isStale`: under an earlier session. Throws `Refusal('over-limit')` when its sender takes no notice of
   * the window: what it sends is not kept.
   */
  arrived(frame: Queued, isStale = false): void {
    const frames = this.#queued.size + this.#stale.size + 1
    const bytes = bytesOf(this.#queued) + bytesOf(this.#stale) + frame.bytes
    // One frame may be as large as frames can be, and come twice.
    const maxBytes = toleratedWindows * Math.max(this.#window.bytes, maxFrameBytes)
    if (frames > toleratedWindows * this.#window.frames || bytes > maxBytes) {
      throw new Refusal(
        'over-limit',
        `a frame of ${frame.bytes} bytes is far beyond the window of ${this.#window.frames} frames and ${this.#window.bytes} bytes`,
      )
    }
    if (isStale) {
      this.#stale.add(frame)
      return
    }
    this.#queued.add(frame)
    this.#next = Math.max(this.#next, frame.counter + 1)
  }

  /** The frame left the queue: its work has begun, or it needed none. Says whether it was there. */
  took(frame: Queued): boolean {
    return this.#queued.delete(frame) || this.#stale.delete(frame)
  }

  /** Every frame below this counter has left the queue or never came. */
  get takenBelow(): number {
    let oldest = this.#next
    for (const { counter } of this.#queued) oldest = Math.min(oldest, counter)
    return oldest
  }

  /** What the peer may have under way or in our queue, counted from `takenBelow`. */
  get room(): Window {
    return {
      frames: Math.max(0, this.#window.frames - this.#stale.size),
      bytes: Math.max(0, this.#window.bytes - bytesOf(this.#stale)),
    }
  }
}

function bytesOf(frames: ReadonlySet<Queued>): number {
  let sum = 0
  for (const { bytes } of frames) sum += bytes
  return sum
}
