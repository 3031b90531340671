/** Whose word a device takes: the hub's by its key, each peer's by the key that the hub gave for it. */

import { equal } from '#shared/bytes.js'
import { verifyWith } from '#shared/crypto/identity.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import type { Envelope, Verify } from '#shared/protocol/codec.js'
import type { HubState } from '#shared/protocol/messages.js'
import { topics, type TopicName } from '#shared/protocol/topics.js'

interface Known {
  readonly key: Uint8Array
  readonly verify: Verify
}

function known(key: Uint8Array): Known {
  return { key: Uint8Array.from(key), verify: verifyWith(key) }
}

export class Trust {
  readonly #expected: Known | undefined
  readonly #peers = new Map<DeviceId, Known>()
  #hub: (Known & { readonly id: DeviceId }) | undefined
  #highestTerm = 0

  /** @param hubKey the hub's key; without it the first hub that is heard is believed for the life of the process */
  constructor(hubKey: Uint8Array | undefined) {
    this.#expected = hubKey === undefined ? undefined : known(hubKey)
  }

  get hub(): { readonly id: DeviceId; readonly key: Uint8Array } | undefined {
    return this.#hub === undefined ? undefined : { id: this.#hub.id, key: this.#hub.key }
  }

  /** The check for what `said` came with; `undefined` for a stranger. Throws `Refusal('unknown-sender')`. */
  verifierOf(name: TopicName, said: Envelope, body: unknown): Verify | undefined {
    if (topics[name].from !== 'hub') return this.#peers.get(said.from)?.verify
    const hub = this.#hub ?? this.#expected
    if (name !== 'hub') return hub?.verify
    const { id, key } = body as HubState
    if (id !== said.from || (hub !== undefined && !equal(hub.key, key))) {
      throw new Refusal('unknown-sender', `${said.from} says it is the hub, with another id or key than the hub's`)
    }
    return hub?.verify ?? verifyWith(key)
  }

  /** Takes note of a verified word of the hub about itself; throws `Refusal('replayed')` for one of an older term. */
  meet({ id, key, term }: HubState): void {
    if (term < this.#highestTerm) {
      throw new Refusal('replayed', `the hub speaks in term ${term}, it was in ${this.#highestTerm} already`)
    }
    this.#highestTerm = term
    this.#hub ??= { id, ...known(key) }
  }

  knows(peer: DeviceId): boolean {
    return this.#peers.has(peer)
  }

  /** Takes the key of a peer; gives whether it replaces another one. */
  pin(peer: DeviceId, key: Uint8Array): boolean {
    const before = this.#peers.get(peer)
    this.#peers.set(peer, known(key))
    return before !== undefined && !equal(before.key, key)
  }
}
