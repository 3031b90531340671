/** Requests that a peer need not keep any longer and has not been told of: each once, in messages of limited size. */

import { idBytes } from '../ids.js'
import { runName, type RequestKey } from './requests.js'

/** Requests, and runs of clients, in one message at most: keeps it below the 8 KiB of a control frame. */
const maxRequests = 512
const maxRuns = 64

export class Settled {
  readonly #runs = new Map<string, { key: RequestKey; requests: Set<number> }>()

  get isEmpty(): boolean {
    return this.#runs.size === 0
  }

  add(key: RequestKey): void {
    const name = runName(key)
    const known = this.#runs.get(name)
    if (known === undefined) this.#runs.set(name, { key, requests: new Set([key.request]) })
    else known.requests.add(key.request)
  }

  /** As many as one message may name, as FLOW has them. They are not given again unless they are added again. */
  take(): [client: Uint8Array, run: Uint8Array, requests: number[]][] {
    const taken: [Uint8Array, Uint8Array, number[]][] = []
    let room = maxRequests
    for (const [name, { key, requests }] of this.#runs) {
      if (room === 0 || taken.length === maxRuns) break
      const some = [...requests].slice(0, room)
      room -= some.length
      for (const request of some) requests.delete(request)
      if (requests.size === 0) this.#runs.delete(name)
      taken.push([idBytes(key.client), key.run, some])
    }
    return taken
  }

  clear(): void {
    this.#runs.clear()
  }
}
