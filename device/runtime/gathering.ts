/**
 * The requests that came to a stage and are not settled, from the first tensor of one to the word of the last to whom its
 * results went. Pure state; its size is bounded by the windows of those who send.
 */

import type { Activation } from '#shared/protocol/tensors.js'
import type { Arrival } from '#shared/session/channel.js'
import { precedes, runName, type RequestKey } from '#shared/session/requests.js'

export interface InHand {
  readonly key: RequestKey
  readonly name: string
  /** By the legs that the stage takes from; empty once its run has begun. */
  arrivals: (Arrival | undefined)[]
  /** Legs that have not brought theirs. */
  missing: number
  /** When the first one came, and then when the last one did: in milliseconds, monotonic. */
  sinceMs: number
  /** Why it ends without the rest of it. */
  failure: Activation['failure']
  /** Bytes of its results; `undefined` before there are any. */
  retainedBytes: number | undefined
  /** The legs whose end has not settled the results. */
  unsettled: number[]
}

const none: readonly InHand[] = []

export class Gathering {
  readonly #legs: number
  readonly #byName = new Map<string, InHand>()
  readonly #incomplete = new Set<InHand>()

  /** `legs`: how many frames make up a request. */
  constructor(legs: number) {
    this.#legs = legs
  }

  get size(): number {
    return this.#byName.size
  }

  /** Requests of which only a part came. */
  get incomplete(): number {
    return this.#incomplete.size
  }

  /** By `requestName`. */
  get(name: string): InHand | undefined {
    return this.#byName.get(name)
  }

  /** Takes note of a request of which nothing has come yet. */
  begin(name: string, { client, run, request }: RequestKey, nowMs: number): InHand {
    const fresh: InHand = {
      key: { client, run, request },
      name,
      arrivals: Array.from({ length: this.#legs }, () => undefined),
      missing: this.#legs,
      sinceMs: nowMs,
      failure: undefined,
      retainedBytes: undefined,
      unsettled: [],
    }
    this.#byName.set(name, fresh)
    return fresh
  }

  /** Something came by a leg. `'copy'`: it did before. `'complete'`: nothing is missing any more. */
  add(inHand: InHand, leg: number, arrival: Arrival): 'copy' | 'part' | 'complete' {
    if (inHand.missing === 0 || inHand.arrivals[leg] !== undefined) return 'copy'
    inHand.arrivals[leg] = arrival
    if (--inHand.missing > 0) {
      this.#incomplete.add(inHand)
      return 'part'
    }
    if (this.#legs > 1) this.#incomplete.delete(inHand)
    return 'complete'
  }

  /** The rest of a request will not come: it is complete with this failure. */
  fail(inHand: InHand, failure: InHand['failure']): void {
    inHand.failure = failure
    inHand.missing = 0
    this.#incomplete.delete(inHand)
  }

  /** Forgets a request: it is settled, or nobody waits for it. */
  end(inHand: InHand): void {
    this.#byName.delete(inHand.name)
    if (inHand.missing > 0) this.#incomplete.delete(inHand)
  }

  /** Requests of which only a part came, those for which this holds. */
  incompleteWhere(holds: (key: RequestKey) => boolean): InHand[] {
    return [...this.#incomplete].filter(({ key }) => holds(key))
  }

  /** Incomplete requests of a run below its low-water mark. */
  passed(run: Pick<RequestKey, 'client' | 'run'>, low: number): readonly InHand[] {
    if (this.#incomplete.size === 0) return none
    const name = runName(run)
    return this.incompleteWhere((key) => key.request < low && runName(key) === name)
  }

  /** The first of all requests in hand, in the order that all members know. */
  get first(): InHand | undefined {
    let first: InHand | undefined
    for (const inHand of this.#byName.values()) {
      if (first === undefined || precedes(inHand.key, first.key)) first = inHand
    }
    return first
  }

  /** What has come of incomplete requests. */
  *waiting(): Generator<Arrival> {
    for (const { arrivals } of this.#incomplete)
      for (const arrival of arrivals) if (arrival !== undefined) yield arrival
  }
}
