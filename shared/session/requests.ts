/**
 * What a stage or a client remembers of requests, so that each is done once although frames may come twice (WIRE,
 * "Acknowledgement"): per run of a client the requests in hand and those done, above a low-water mark that the client
 * moves. Pure state, no clock.
 */

import { toHex } from '../bytes.js'
import { Refusal } from '../errors.js'
import type { DeviceId } from '../ids.js'

/** Names one request in the whole fleet: (client, run of its process, number). */
export interface RequestKey {
  readonly client: DeviceId
  /** The client's bootId, 8 bytes. */
  readonly run: Uint8Array
  readonly request: number
}

/**
 * Whether a request comes before another in the one order of all requests that every member knows. The first of those
 * that are open never waits for room, at no hop: so it gets through, and however frames fill the queues while they wait
 * for each other at a stage that takes from several, there is always one that moves.
 */
export function precedes(a: RequestKey, b: RequestKey): boolean {
  if (a.client !== b.client) return a.client < b.client
  if (a.run !== b.run) for (let i = 0; i < a.run.length; i++) if (a.run[i] !== b.run[i]) return a.run[i]! < b.run[i]!
  return a.request < b.request
}

/** Requests of one run that may be open at once: protects the memory of every stage. */
export const maxOpenRequests = 1024
/** Runs (client processes) remembered at once; the longest silent is forgotten. */
export const maxRuns = 256

export type Admission = 'new' | 'in-hand' | 'done'

interface Run {
  low: number
  readonly inHand: Set<number>
  readonly done: Set<number>
}

export function runName(key: { readonly client: DeviceId; readonly run: Uint8Array }): string {
  return `${key.client}/${toHex(key.run)}`
}

export function requestName(key: RequestKey): string {
  return `${runName(key)}/${key.request}`
}

export class Requests {
  readonly #runs = new Map<string, Run>()

  /**
   * Takes note of a request that arrived. `low` is the client's low-water mark: all below it are done.
   * Throws `Refusal('over-limit')` for a number further than `maxOpenRequests` above the mark.
   */
  admit(key: RequestKey, low: number): Admission {
    const run = this.#run(key)
    if (low > run.low) raise(run, low)
    if (key.request < run.low || run.done.has(key.request)) return 'done'
    if (run.inHand.has(key.request)) return 'in-hand'
    if (key.request >= run.low + maxOpenRequests) {
      throw new Refusal(
        'over-limit',
        `request ${key.request} of ${key.client} is more than ${maxOpenRequests} ahead of its oldest open one`,
      )
    }
    run.inHand.add(key.request)
    return 'new'
  }

  /** The request needs no more work here, ever. */
  settle(key: RequestKey): void {
    const run = this.#runs.get(runName(key))
    if (run?.inHand.delete(key.request) === true) run.done.add(key.request)
  }

  get open(): number {
    let open = 0
    for (const run of this.#runs.values()) open += run.inHand.size
    return open
  }

  #run(key: RequestKey): Run {
    const name = runName(key)
    const known = this.#runs.get(name)
    if (known !== undefined) {
      this.#runs.delete(name)
      this.#runs.set(name, known) // the order of the map is the order of silence
      return known
    }
    if (this.#runs.size >= maxRuns) this.#runs.delete(this.#runs.keys().next().value!)
    const fresh: Run = { low: 0, inHand: new Set(), done: new Set() }
    this.#runs.set(name, fresh)
    return fresh
  }
}

function raise(run: Run, low: number): void {
  run.low = low
  for (const request of run.done) if (request < low) run.done.delete(request)
  for (const request of run.inHand) if (request < low) run.inHand.delete(request)
}
