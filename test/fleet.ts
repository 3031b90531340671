/**
 * `tessera-edge/testing`: a whole fleet in one process. The same hub, devices and clients as on real machines, over streams
 * in memory: no ports, no files. Time is stepped by hand and all identities, keys and requests come from a seed.
 */

import { createBroker } from '#broker/bus/broker.js'
import { createRelay } from '#broker/bus/relay.js'
import type { ProfileStore } from '#broker/fleet/profiles.js'
import type { Deployment, DeployRequest } from '#broker/deployments.js'
import { Hub } from '#broker/hub.js'
import type { Profiles } from '#broker/planner/profile.js'
import { Client } from '#device/client.js'
import { Device } from '#device/device.js'
import type { LinkMode } from '#device/link/peers.js'
import type { EngineMode } from '#device/runtime/engine.js'
import { memoryStore, type SegmentStore } from '#device/vault/store.js'
import { SteppedClock } from '#shared/clock.js'
import { nodeAeads, type Aeads } from '#shared/crypto/aead.js'
import { identityFrom, type Identity } from '#shared/crypto/identity.js'
import { Refusal } from '#shared/errors.js'
import { newDeviceId, newFleetId, type DeviceId, type FleetId } from '#shared/ids.js'
import { seededRandom, type Random } from '#shared/random.js'
import { MemoryNetwork } from './support/memory-network.js'

export { MemoryNetwork } from './support/memory-network.js'

export interface FleetOptions {
  /** Devices that are there from the start; 3 unless given. */
  readonly devices?: number
  readonly seed?: string | number
  readonly link?: LinkMode
  /** Inline unless given: worker threads are real, but nobody can step them. */
  readonly engine?: EngineMode | 'auto'
  /** Ciphers of all members: another implementation, or one that records. */
  readonly aeads?: Aeads
  /** What is known of the fleet's speed: the hub has it measured, quickly and roughly, where this is given. */
  readonly profiles?: ProfileStore<Profiles> | undefined
  /** Clients that a plan has at once; 64 unless given. */
  readonly maxClients?: number
  /** What a segment may take of memory on each device; no limit unless given. */
  readonly memoryBytes?: number
  readonly log?: (member: string, event: string, nouns: Record<string, unknown>) => void
}

/** Measurements that are there, and say little: time is not what a fleet in one process is good at. */
const rough = { batchMs: 1, batches: 1 }
/** How far the clock moves between two looks at the event loop. */
const stepMs = 5
/** What has not happened in 10 minutes of the fleet's time will not happen. */
const maxSteps = 120_000

/** Who a member is, from start to start. */
interface Who {
  readonly name: string
  readonly id: DeviceId
  readonly identity: Identity
}

/** A device of the fleet; it can be killed, and started again with the same identity and the same sealed files. */
export class FleetDevice implements Who {
  readonly name: string
  readonly id: DeviceId
  readonly identity: Identity
  readonly #fleet: Fleet
  readonly #store: SegmentStore = memoryStore()
  #device: Device | undefined

  constructor(fleet: Fleet, who: Who) {
    this.#fleet = fleet
    this.name = who.name
    this.id = who.id
    this.identity = who.identity
  }

  /** The running device; throws while it is killed. */
  get device(): Device {
    if (this.#device === undefined) throw new Error(`${this.name} is not running`)
    return this.#device
  }

  async start(): Promise<void> {
    const { engine, memoryBytes } = this.#fleet.options
    this.#device = await this.#fleet.during(
      Device.start({
        ...this.#fleet.memberOptions(this),
        store: this.#store,
        engine,
        effort: rough,
        memoryBytes,
      }),
    )
  }

  /** Ends it without a goodbye: streams break, whatever was in memory is gone. */
  async kill(): Promise<void> {
    const device = this.#device
    this.#device = undefined
    this.#fleet.network.drop(this.name)
    await device?.close()
  }
}

export class Fleet {
  readonly clock: SteppedClock
  readonly network: MemoryNetwork
  readonly hub: Hub
  readonly options: Required<Omit<FleetOptions, 'devices'>>
  readonly devices: FleetDevice[] = []
  readonly clients: Client[] = []
  readonly #fleet: FleetId
  readonly #hubKey: Uint8Array
  readonly #random: Random

  private constructor(parts: {
    clock: SteppedClock
    network: MemoryNetwork
    hub: Hub
    options: Required<Omit<FleetOptions, 'devices'>>
    fleet: FleetId
    hubKey: Uint8Array
    random: Random
  }) {
    this.clock = parts.clock
    this.network = parts.network
    this.hub = parts.hub
    this.options = parts.options
    this.#fleet = parts.fleet
    this.#hubKey = parts.hubKey
    this.#random = parts.random
  }

  /** Starts a hub and its devices; resolves when all are online. */
  static async start(given: FleetOptions = {}): Promise<Fleet> {
    const {
      devices = 3,
      seed = 1,
      link = 'auto',
      engine = 'inline',
      aeads = nodeAeads,
      profiles,
      maxClients = 64,
      memoryBytes = Infinity,
      log = () => {},
    } = given
    const random = seededRandom(seed)
    const clock = new SteppedClock()
    const network = new MemoryNetwork()
    const fleet = newFleetId(random)
    const id = newDeviceId(random)
    const identity = identityFrom(random(32))
    const broker = await createBroker({ fleet, plane: 'control', hub: id, clock })
    const relay = await createRelay({ fleet, hub: id, inProcess: true })
    network.listen('hub', (stream) => broker.handle(stream, { mayIdle: true }))
    network.listen('relay', (stream) => relay.handle(stream))
    const hub = await Hub.start({
      fleet,
      id,
      identity,
      clock,
      random,
      aeads,
      term: 1,
      broker,
      relay,
      relayAddress: { host: 'relay', port: 0 },
      maxClients,
      ...(profiles === undefined ? {} : { profiles, effort: rough }),
      cutsInline: true,
      log: (event, nouns) => log('hub', event, nouns),
    })
    const options = { seed, link, engine, aeads, profiles, maxClients, memoryBytes, log }
    const whole = new Fleet({ clock, network, hub, options, fleet, hubKey: identity.publicKey, random })
    for (let i = 0; i < devices; i++) await whole.addDevice(`device-${i}`)
    await whole.until(() => hub.members().filter((member) => member.state === 'online').length === devices)
    return whole
  }

  async addDevice(name: string): Promise<FleetDevice> {
    const device = new FleetDevice(this, this.#who(name))
    this.devices.push(device)
    await device.start()
    return device
  }

  /** A client that is online; its pipeline is ready once a model is deployed. */
  async addClient(name = `client-${this.clients.length}`): Promise<Client> {
    const client = await this.during(Client.connect(this.memberOptions(this.#who(name))))
    this.clients.push(client)
    return client
  }

  /** Deploys a model; resolves when every stage is ready. */
  async deploy(request: DeployRequest): Promise<Deployment> {
    const deployment = await this.during(this.hub.deploy(request))
    await this.during(this.hub.ready(60_000))
    return deployment
  }

  /** Steps time until `condition` holds. Throws `Refusal('timed-out')` when it never does. */
  async until(condition: () => boolean): Promise<void> {
    for (let step = 0; !condition(); step++) {
      if (step === maxSteps) throw new Refusal('timed-out', `it did not happen (seed ${this.options.seed})`)
      await this.step(stepMs)
    }
  }

  /** Steps time until `action` settles, and gives what it gives. */
  async during<T>(action: Promise<T>): Promise<T> {
    let isSettled = false
    const settled = action.finally(() => {
      isSettled = true
    })
    settled.catch(() => {}) // thrown below
    await this.until(() => isSettled)
    return settled
  }

  /** Moves time by `ms`, then lets everything that is ready happen. */
  async step(ms: number): Promise<void> {
    this.clock.step(ms)
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve))
  }

  /** Ends all members; nothing goes on afterwards. */
  async close(): Promise<void> {
    for (const client of this.clients) await this.during(client.close())
    for (const device of this.devices) await this.during(device.kill())
    await this.during(this.hub.close())
  }

  /** What every member of this fleet is started with. */
  memberOptions(who: Who) {
    const { link, aeads, log } = this.options
    return {
      fleet: this.#fleet,
      id: who.id,
      identity: who.identity,
      name: who.name,
      clock: this.clock,
      random: this.#random,
      aeads,
      link,
      hubKey: this.#hubKey,
      keepaliveSeconds: 0, // streams in memory cannot die silently
      dialHub: () => this.network.dial(who.name, 'hub'),
      dialRelay: () => this.network.dial(who.name, 'relay'),
      transport: this.network.transport(who.name),
      log: (event: string, nouns: Record<string, unknown>) => log(who.name, event, nouns),
    }
  }

  #who(name: string): Who {
    return { name, id: newDeviceId(this.#random), identity: identityFrom(this.#random(32)) }
  }
}
