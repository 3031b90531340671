/**
 * Aedes made safe: one MQTT 3.1.1 broker for one plane. Every decision is made synchronously, from memory: Aedes handles
 * the packets of one read at the same time, so a decision that waits would change their order.
 */

import { Aedes, type AedesOptions, type Client, type ConnectPacket, type PublishPacket } from 'aedes'
import { createServer, type AddressInfo, type Server } from 'node:net'
import type { Duplex } from 'node:stream'
import { asBuffer } from '#shared/bytes.js'
import { systemClock, type Clock } from '#shared/clock.js'
import { reasonOf, Refusal } from '#shared/errors.js'
import { isDeviceId, type DeviceId, type FleetId } from '#shared/ids.js'
import { readTopic, topicOf, topics, type ReadTopic, type Topic } from '#shared/protocol/topics.js'
import { isLate, mayPublish, maySubscribe, type Rights } from './access.js'
import { Admission } from './admission.js'
import { guard, withoutDeduplication } from './guard.js'
import { defaultLimits, type Limits } from './limits.js'

/** Something that was refused, for the log and the counters. Never a reason to end the process. */
export interface BrokerRefusal {
  readonly reason: string
  /** Who it came from, as far as known. */
  readonly client: string | undefined
  readonly topic: string | undefined
}

/** A message of a client that passed the access rules and is about to be routed. */
export interface Incoming extends ReadTopic {
  readonly topic: string
  readonly payload: Uint8Array
  readonly device: DeviceId
}

export interface BrokerOptions {
  readonly fleet: FleetId
  readonly plane: Topic['plane']
  /** The hub's own id: a peer of every device, and no client's. */
  readonly hub: DeviceId
  /** Only rates and bans are measured with it; Aedes' own timeouts are the system's. */
  readonly clock?: Clock
  readonly limits?: Partial<Limits>
}

export interface StreamOptions {
  /** Where the connection is from; connections of one address are limited. */
  readonly address?: string
  /** Keepalive 0 is allowed: for streams in memory, which cannot die silently. */
  readonly mayIdle?: boolean
}

export interface Broker {
  readonly fleet: FleetId
  readonly plane: Topic['plane']
  /** What was refused, by reason. */
  readonly refused: ReadonlyMap<string, number>
  onRefused(listener: (refusal: BrokerRefusal) => void): void
  /** One inspector may look at every message before it is routed, and refuse it by giving a reason. */
  inspect(inspector: ((incoming: Incoming) => string | undefined) | undefined): void
  /**
   * The hub knows this device. `peers`: what it may publish and read from now on; takes away subscriptions that it has
   * lost. `token`: its password on the relay. Throws `Refusal('over-limit')` where no more devices can be known.
   */
  allow(device: DeviceId, grant: { readonly peers?: ReadonlySet<DeviceId>; readonly token?: Uint8Array }): void
  /** Takes all rights, the password included, and cuts the connection. */
  forget(device: DeviceId): void
  /** Cuts the connection of a device; it may come again. */
  kick(device: DeviceId): void
  /** Publishes as the hub; resolves once every reader has taken it or was cut. */
  publish(topic: string, payload: Uint8Array, flags: { readonly qos: 0 | 1; readonly retain: boolean }): Promise<void>
  /** Serves MQTT on any stream. */
  handle(stream: Duplex, options?: StreamOptions): void
  /** Serves MQTT over TCP; port 0 picks a free one. Throws `Refusal('port-in-use')`. */
  listen(where: { readonly host: string; readonly port: number }): Promise<{ host: string; port: number }>
  close(): Promise<void>
}

/**
 * Lets a refused message be acknowledged and lost. Refusing it by an error would close the connection, and MQTT.js would
 * send the same message again on the next one, for ever. Nobody may have a filter that matches where it goes.
 */
function sink(packet: PublishPacket, done: (error: null) => void): void {
  packet.topic = 'sunk'
  packet.payload = Buffer.alloc(0)
  packet.retain = false
  if (packet.qos === 2) packet.qos = 0 // no acknowledgement: what was sent with QoS 2 is not even looked at
  done(null)
}

interface Connection {
  readonly mayIdle: boolean
  password?: Uint8Array
}

/** Starts a broker. Nobody reaches it before `handle` or `listen`. */
export async function createBroker(options: BrokerOptions): Promise<Broker> {
  const { fleet, plane, hub, clock = systemClock } = options
  const limits: Limits = { ...defaultLimits[plane], ...options.limits }
  const admission = new Admission(plane === 'relay' ? 'token' : 'first-come', limits)
  const peers = new Map<DeviceId, ReadonlySet<DeviceId>>()
  const onlyHub: ReadonlySet<DeviceId> = new Set([hub])
  const rightsOf = (device: DeviceId): Rights => ({ fleet, plane, device, peers: peers.get(device) ?? onlyHub })

  const refused = new Map<string, number>()
  const listeners: ((refusal: BrokerRefusal) => void)[] = []
  const refuse = (reason: string, client: string | undefined, topic?: string): void => {
    refused.set(reason, (refused.get(reason) ?? 0) + 1)
    for (const listener of listeners) listener({ reason, client, topic })
  }

  let inspector: ((incoming: Incoming) => string | undefined) | undefined
  const connections = new WeakMap<Client, Connection>()
  const streams = new Set<Duplex>()
  const addresses = new Map<string, number>()
  const servers: Server[] = []
  let isClosed = false

  const hooks: AedesOptions = {
    preConnect(client, packet, done) {
      const reason = connectRefusal(packet, { fleet, plane, hub, limits }, connections.get(client)?.mayIdle === true)
      if (reason === undefined) return done(null, true)
      refuse(reason, printable(packet.clientId))
      done(new Error(reason), false)
    },
    authenticate(client, _user, password, done) {
      const reason = admission.refusalOf(client.id as DeviceId, password, clock.monotonicMs())
      const connection = connections.get(client)
      if (connection !== undefined && password !== undefined) connection.password = password
      if (reason === undefined) return done(null, true)
      refuse(reason, client.id)
      done(Object.assign(new Error(reason), { returnCode: 5 }), null)
    },
    authorizePublish(client, packet, done) {
      // Nobody but a client publishes here: the hub does it through `publish`, and wills have the client they are of.
      if (isClosed || client === null) return sink(packet, done)
      const device = client.id as DeviceId
      const reason = publishRefusal(device, packet)
      if (reason === undefined) return done(null)
      refuse(reason, device, printable(packet.topic))
      // Late: the plan changed meanwhile. Replayed: sent again because the connection broke before the acknowledgement.
      const isHarmless = reason === 'replayed' || isLate(rightsOf(device), packet.topic)
      if (!isHarmless && admission.blame(device, clock.monotonicMs())) setImmediate(() => client.close())
      sink(packet, done)
    },
    authorizeSubscribe(client, subscription, done) {
      if (maySubscribe(rightsOf(client.id as DeviceId), subscription.topic)) return done(null, subscription)
      refuse('not-allowed', client.id, printable(subscription.topic))
      done(null, null)
    },
    authorizeForward(client, packet) {
      const waiting = client.conn.writableLength
      if (packet.qos === 0 ? waiting <= limits.dropLagBytes : waiting <= limits.closeLagBytes) return packet
      refuse('lagging', client.id, packet.topic)
      if (packet.qos > 0) client.close()
      return null
    },
  }

  function publishRefusal(device: DeviceId, packet: PublishPacket): string | undefined {
    if (packet.qos === 2) return 'qos-2'
    const read = readTopic(fleet, packet.topic)
    if (read === undefined || !mayPublish(rightsOf(device), packet.topic)) return 'not-allowed'
    const entry = topics[read.name]
    if (packet.qos !== entry.qos || packet.retain !== entry.retain) return 'not-allowed'
    if (packet.payload.length > entry.maxBytes) return 'over-limit'
    const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload
    return inspector?.({ ...read, topic: packet.topic, payload, device })
  }

  const aedes = await Aedes.createBroker({
    ...hooks,
    concurrency: 0, // its 100 slots are shared by all clients: one frozen reader would stop everybody
    drainTimeout: limits.drainTimeoutMs,
    connectTimeout: limits.connectTimeoutMs,
  })
  withoutDeduplication(aedes)
  aedes.on('clientDisconnect', (client) => admission.left(client.id as DeviceId, clock.monotonicMs()))
  // Whoever took over from an own earlier connection has its id still: the end of that one has just freed it.
  aedes.on('client', (client) => {
    admission.refusalOf(client.id as DeviceId, connections.get(client)?.password, clock.monotonicMs())
  })
  const clientOf = (device: DeviceId): (Client & { readonly subscriptions: object }) | undefined =>
    (aedes as unknown as { clients: Record<string, Client & { readonly subscriptions: object }> }).clients[device]

  const broker: Broker = {
    fleet,
    plane,
    refused,
    onRefused: (listener) => void listeners.push(listener),
    inspect: (given) => void (inspector = given),
    allow(device, grant) {
      if (!admission.know(device, grant.token, clock.monotonicMs())) {
        throw new Refusal(
          'over-limit',
          `the hub knows ${limits.knownDevices} devices already: remove some to add ${device}`,
        )
      }
      if (grant.peers === undefined) return
      peers.set(device, new Set([...grant.peers, hub]))
      const client = clientOf(device)
      const lost = Object.keys(client?.subscriptions ?? {}).filter((filter) => !maySubscribe(rightsOf(device), filter))
      // Aedes takes plain filters here, whatever its types say, and dies without a callback.
      if (lost.length > 0) client?.unsubscribe(lost as never, () => {})
    },
    forget(device) {
      peers.delete(device)
      admission.forget(device)
      clientOf(device)?.close()
    },
    kick: (device) => clientOf(device)?.close(),
    publish: (topic, payload, { qos, retain }) =>
      new Promise((resolve, reject) => {
        if (isClosed) return reject(new Refusal('cancelled', `the broker is closed, nothing goes out on ${topic}`))
        const packet = { cmd: 'publish' as const, topic, payload: asBuffer(payload), qos, retain, dup: false }
        aedes.publish(packet, (error) => (error ? reject(error) : resolve()))
      }),
    handle(stream, { address, mayIdle = false } = {}) {
      const fromThere = address === undefined ? 0 : (addresses.get(address) ?? 0)
      if (isClosed || streams.size >= limits.connections || fromThere >= limits.connectionsPerAddress) {
        refuse(isClosed ? 'closed' : 'over-limit', address)
        stream.on('error', () => {}) // nobody else listens to this stream
        stream.destroy()
        return
      }
      streams.add(stream)
      if (address !== undefined) addresses.set(address, fromThere + 1)
      stream.once('close', () => {
        streams.delete(stream)
        const device = client.id as DeviceId | null // one that left before Aedes had registered it
        if (device !== null && clientOf(device) === undefined) admission.left(device, clock.monotonicMs())
        if (address === undefined) return
        const left = addresses.get(address)! - 1
        if (left === 0) addresses.delete(address)
        else addresses.set(address, left)
      })
      const client = aedes.handle(stream)
      connections.set(client, { mayIdle })
      guard(client, limits, clock, () => refuse('over-limit', client.id ?? address))
    },
    async listen({ host, port }) {
      const server = createServer({ noDelay: true }, (socket) => {
        broker.handle(socket, { address: socket.remoteAddress ?? 'unknown' })
      })
      servers.push(server)
      await new Promise<void>((resolve, reject) => {
        server.once('error', (error: NodeJS.ErrnoException) => reject(listenRefusal(error, host, port)))
        server.listen({ host, port }, resolve)
      })
      server.on('error', (error) => refuse(`accept: ${reasonOf(error)}`, undefined))
      return { host, port: (server.address() as AddressInfo).port }
    },
    async close() {
      if (isClosed) return
      isClosed = true
      const stopped = servers.map((server) => new Promise((resolve) => server.close(resolve)))
      await new Promise<void>((resolve) => aedes.close(resolve))
      for (const stream of streams) stream.destroy()
      await Promise.all(stopped)
    },
  }
  return broker
}

/** Why a CONNECT is refused before anything of it is believed. */
function connectRefusal(
  packet: ConnectPacket,
  { fleet, plane, hub, limits }: Pick<BrokerOptions, 'fleet' | 'plane' | 'hub'> & { limits: Limits },
  mayIdle: boolean,
): string | undefined {
  // The pattern also keeps out the names of Object.prototype's members.
  if (!isDeviceId(packet.clientId) || packet.clientId === hub) return 'bad-client-id'
  if (packet.protocolVersion !== 4 || (packet as { bridgeMode?: boolean }).bridgeMode === true) return 'bad-protocol'
  if (packet.clean !== true) return 'not-a-clean-session'
  const { min, max } = limits.keepaliveSeconds
  const keepalive = packet.keepalive ?? 0
  if (!(keepalive === 0 && mayIdle) && (keepalive < min || keepalive > max)) return 'bad-keepalive'
  const will = packet.will
  if (will === undefined) return undefined
  const isOwnStatus = plane === 'control' && will.topic === topicOf(fleet, 'status', packet.clientId)
  if (!isOwnStatus || will.qos !== topics.status.qos || will.retain !== topics.status.retain) return 'bad-will'
  return will.payload.length > topics.status.maxBytes ? 'bad-will' : undefined
}

function listenRefusal(error: NodeJS.ErrnoException, host: string, port: number): Error {
  if (error.code === 'EADDRINUSE') {
    return new Refusal(
      'port-in-use',
      `${host}:${port} is in use: stop the program that listens there, or choose another port`,
    )
  }
  return new Refusal(
    'bad-config',
    `cannot listen on ${host}:${port} (${error.code ?? reasonOf(error)}): choose another address`,
  )
}

/** Text of a stranger as it may go to a log: short, and without control characters. */
function printable(text: string | undefined): string | undefined {
  return text?.slice(0, 200).replace(/[^ -~]/g, '?')
}
