/** A hub on TCP: its brokers, its identity, and how devices find it. */

import type { Random } from '#shared/random.js'
import type { Clock } from '#shared/clock.js'
import { toHex } from '#shared/bytes.js'
import type { Aeads } from '#shared/crypto/aead.js'
import type { Identity } from '#shared/crypto/identity.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import type { Log } from '#shared/log.js'
import { createBroker } from './bus/broker.js'
import { createRelay } from './bus/relay.js'
import type { ProfileStore } from './fleet/profiles.js'
import { Hub } from './hub.js'
import type { Profiles } from './planner/profile.js'

export interface StartOptions {
  readonly fleet: FleetId
  readonly id: DeviceId
  readonly identity: Identity
  readonly host: string
  /** 0 = any free port. */
  readonly port: number
  readonly relayPort: number
  /** See `HubOptions`. */
  readonly epoch?: number
  readonly clock: Clock
  readonly random: Random
  readonly aeads: Aeads
  readonly log: Log
  /** See `HubOptions`. */
  readonly profiles?: ProfileStore<Profiles>
}

export interface RunningHub {
  readonly hub: Hub
  readonly address: { readonly host: string; readonly port: number }
  /** What devices and clients are told: `mqtt://HOST:PORT`, the fleet, and the hub's key in hex. */
  readonly uri: string
  readonly fleet: FleetId
  readonly hubKey: string
  readonly relayPort: number
  /** The same as the command line of a device. */
  readonly joinArguments: readonly string[]
  close(): Promise<void>
}

/** Throws `Refusal('port-in-use')` when one of the two ports is taken; nothing is left open then. */
export async function startHub(options: StartOptions): Promise<RunningHub> {
  const { fleet, id, identity, host, port, relayPort, clock } = options
  const broker = await createBroker({ fleet, plane: 'control', hub: id, clock })
  const closers = [() => broker.close()]
  try {
    const relay = await createRelay({
      fleet,
      hub: id,
      listen: { host, port: relayPort },
      onRefused: (refusal) => options.log('refused', { ...refusal, plane: 'relay' }),
      onStopped: (reason) => options.log('relay stopped', { reason }),
    })
    closers.push(() => relay.close())
    const hub = await Hub.start({
      ...options,
      term: Math.floor(clock.nowMs() / 1000),
      broker,
      relay,
      // Devices reach the relay where they reach the hub.
      relayAddress: { host: '', port: relay.address!.port },
    })
    closers.push(() => hub.close())
    // Only now: members of an earlier start come at once, and say once only who they are.
    const address = await broker.listen({ host, port })
    const uri = `mqtt://${host.includes(':') ? `[${host}]` : host}:${address.port}`
    const hubKey = toHex(identity.publicKey)
    return {
      hub,
      address,
      uri,
      fleet,
      hubKey,
      relayPort: relay.address!.port,
      joinArguments: ['--hub', uri, '--fleet', fleet, '--hub-key', hubKey],
      close: () => hub.close(),
    }
  } catch (error) {
    for (const close of closers.reverse()) await close()
    throw error
  }
}
