/** The processes of the clients, as the hub tells: what an earlier one of a client asked, nobody waits for. Pure state. */

import { equal } from '#shared/bytes.js'
import type { DeviceId } from '#shared/ids.js'
import { maxRuns, runName } from '#shared/session/requests.js'

/** A process of a client. */
export interface ClientRun {
  readonly device: DeviceId
  /** Its bootId, 8 bytes. */
  readonly run: Uint8Array
}

export class ClientRuns {
  readonly #current = new Map<DeviceId, Uint8Array>()
  /** In the order in which they ended; the oldest are forgotten. */
  readonly #over = new Set<string>()

  /** These run now: what ran before and is not among them is over. */
  set(clients: readonly ClientRun[]): void {
    const now = new Map(clients.map(({ device, run }) => [device, run]))
    for (const [client, run] of this.#current) {
      const next = now.get(client)
      if (next !== undefined && equal(next, run)) continue
      this.#over.add(runName({ client, run }))
      if (this.#over.size > maxRuns) this.#over.delete(this.#over.values().next().value!)
    }
    this.#current.clear()
    for (const [client, run] of now) {
      this.#current.set(client, run)
      this.#over.delete(runName({ client, run }))
    }
  }

  /** Whether this is the process that runs now, as far as the hub has told. */
  isCurrent(key: { readonly client: DeviceId; readonly run: Uint8Array }): boolean {
    const run = this.#current.get(key.client)
    return run !== undefined && equal(run, key.run)
  }

  /** Whether the hub has told that this process has ended. One that it has not told of yet has not. */
  isOver(key: { readonly client: DeviceId; readonly run: Uint8Array }): boolean {
    return this.#over.size > 0 && this.#over.has(runName(key))
  }
}
