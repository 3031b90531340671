/**
 * The hub's publishes, one after the other for each reader's branch. In order, because Aedes gives up the order of what
 * is published at the same time (and, without `withoutDeduplication`, some of it). One lane for each branch, because a
 * publish ends only when its readers have taken it, and a frozen device must not hold up the others for the seconds until
 * it is cut.
 */

import { Refusal } from '#shared/errors.js'

export class Lanes {
  readonly #limit: number
  readonly #lanes = new Map<string, { last: Promise<void>; waiting: number }>()

  /** @param limit jobs that may wait in one lane: memory of the hub while a device does not read */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Runs `job` after all earlier ones of its lane; rejects with `Refusal('over-limit')` where too many wait. */
  run(lane: string, job: () => Promise<void>): Promise<void> {
    const state = this.#lanes.get(lane) ?? { last: Promise.resolve(), waiting: 0 }
    if (state.waiting >= this.#limit) {
      return Promise.reject(
        new Refusal(
          'over-limit',
          `${this.#limit} messages wait for ${lane} already: its device reads too slowly or not`,
        ),
      )
    }
    this.#lanes.set(lane, state)
    state.waiting++
    const done = state.last.then(job).finally(() => {
      if (--state.waiting === 0) this.#lanes.delete(lane)
    })
    state.last = done.catch(() => {}) // its own caller hears of it
    return done
  }
}
