/**
 * `tessera-edge/testing`: a whole fleet in one process. The same hub, devices and clients as on real machines, over streams
 * in memory: no ports, no files; time is stepped by hand and everything random comes from a seed, so a run repeats.
 */

import { createBroker } from '#broker/bus/broker.js'
import { createRelay } from '#broker/bus/relay.js'
import { Hub, type Deployment, type DeployRequest } from '#broker/hub.js'
import { Client } from '#device/client.js'
import { Device } from '#device/device.js'
import type { LinkMode } from '#device/link/peers.js'
import type { EngineMode } from '#device/runtime/engine.js'
import { memoryStore, type SegmentStore } from '#device/vault/store.js'
import { SteppedClock } from '#shared/clock.js'
import { nodeAeads, type Aeads } from '#shared/crypto/aead.js'
import { identityFrom, type Identity } from '#shared/crypto/identity.js'
import { Refusal } from '#shared/errors.js'
import { newDeviceId, newFleetId, type DeviceId } from '#shared/ids.js'
import { seededRandom, type Random } from '#shared/random.js'
import { MemoryNetwork } from './support/memory-network.js'

export { MemoryNetwork } from './support/memory-network.js'

export interface FleetOptions {
  /** Devices that are there from the start. */
  readonly devices?: number
  readonly seed?: string | number
  readonly link?: LinkMode
  readonly engine?: EngineMode | 'auto'
  /** Ciphers of all members: another implementation, or one that records. */
  readonly aeads?: Aeads
  readonly log?: (member: string, event: string, nouns: Record<string, unknown>) => void
}

/** How far the clock moves between two looks at the event loop. */
const stepMs = 5
/** Steps after which something that was waited for will not happen any more (10 minutes of the fleet's time). */
const maxSteps = 120_000

/** A device of the fleet that can be killed and started again with the same identity and the same sealed files. */
export interface FleetDevice {
  readonly name: string
  readonly id: DeviceId
  readonly device: Device
  /** Ends its process without a word: streams break, memory is gone. */
  kill(): Promise<void>
  /** Starts it again; another process of the same device. */
  start(): Promise<void>
}

export class Fleet {
  readonly clock = new SteppedClock()
  readonly network = new MemoryNetwork()
  readonly hub: Hub
  readonly devices: FleetDevice[] = []
  readonly clients: Client[] = []
  readonly #options: Required<Omit<FleetOptions, 'devices'>>
  readonly #random: Random
  readonly #common: { readonly fleet: ReturnType<typeof newFleetId>; readonly hubKey: Uint8Array }

  private constructor(options: Required<Omit<FleetOptions, 'devices'>>, random: Random, common: Fleet['#common'], hub: (fleet: Fleet) => Hub) {
    this.#options = options
    this.#random = random
    this.#common = common
    this.hub = hub(this)
  }

  /** Starts a hub and `devices` devices, and waits until all are online. */
  static async start({ devices = 3, seed = 1, link = 'auto', engine = 'inline', aeads = nodeAeads, log = () => {} }: FleetOptions = {}): Promise<Fleet> {
    const random = seededRandom(seed)
    const fleetId = newFleetId(random)
    const id = newDeviceId(random)
    const identity = identityFrom(random(32))
    const clock = new SteppedClock()
    const network = new MemoryNetwork()
    const broker = await createBroker({ fleet: fleetId, plane: 'control', hub: id, clock })
    const relay = await createRelay({ fleet: fleetId, hub: id, clock, inProcess: true })
    network.listen('hub', (stream) => broker.handle(stream, { mayIdle: true }))
    network.listen('relay', (stream) => relay.handle(stream))
    const hub = await Hub.start({
      fleet: fleetId,
      id,
      identity,
      clock,
      random,
      aeads,
      term: 1,
      broker,
      relay,
      relayAddress: { host: 'relay', port: 0 },
      cutsInline: true,
      log: (event, nouns) => log('hub', event, nouns),
    })
    const fleet = new Fleet({ clock, network, hub, random, common: { fleet: fleetId, hubKey: identity.publicKey }, options: { seed, link, engine, aeads, log } })
    for (let i = 0; i < devices; i++) await fleet.addDevice(`device-${i}`)
    await fleet.until(() => hub.members().filter((member) => member.state === 'online').length === devices)
    return fleet
  }
}
