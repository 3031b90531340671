/**
 * The receiving end of flow control for one peer: which of its frames are still in our queue, hence what to tell it.
 * Counters are those of the p = 1 frames, so a frame that was lost is released when a later one arrives. Pure state.
 */
export class Intake {
  /** Counters of frames in our queue. */
  readonly #queued = new Set<number>()
  #next = 0

  /** The peer begins or goes on: its next frame will have this counter, all before it are no longer under way. */
  begin(nextCounter: number): void {
    this.#next = Math.max(this.#next, nextCounter)
  }

  /** A new session of the pair counts from 0 again; frames of the old one in the queue are no longer told of. */
  restart(): void {
    this.#queued.clear()
    this.#next = 0
  }

  arrived(counter: number): void {
    this.#queued.add(counter)
    this.#next = Math.max(this.#next, counter + 1)
  }

  /** The frame left the queue: its work has begun, or it needed none. */
  took(counter: number): void {
    this.#queued.delete(counter)
  }

  /** Every frame below this counter has left the queue or never came. */
  get takenBelow(): number {
    let oldest = this.#next
    for (const counter of this.#queued) oldest = Math.min(oldest, counter)
    return oldest
  }
}
