/** What strangers and broken clients may try: each is refused by name, and harms nobody else. */

import t, { type Test } from 'tap'
import * as fc from 'fast-check'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createBroker, type Broker, type BrokerRefusal } from '#broker/bus/broker.js'
import type { Limits } from '#broker/bus/limits.js'
import { dialTcp } from '#device/link/dial.js'
import { concat, utf8 } from '#shared/bytes.js'
import { SteppedClock } from '#shared/clock.js'
import { newDeviceId, newFleetId, type DeviceId } from '#shared/ids.js'
import { filterOf, fleetRoot, topicOf } from '#shared/protocol/topics.js'
import { seededRandom } from '#shared/random.js'
import { Collected, controlPlane } from '#test/support/control-plane.js'
import { memoryLink } from '#test/support/memory-link.js'
import { RawClient, rawConnect, rawPublish, rawSubscribe, type RawConnect } from '#test/support/raw-mqtt.js'

const random = seededRandom('guards')
const fleet = newFleetId(random)
const hub = newDeviceId(random)
const mib = 2 ** 20
const [self, other] = [newDeviceId(random), newDeviceId(random)]

interface Opened {
  readonly broker: Broker
  readonly refusals: Collected<BrokerRefusal>
  readonly clock: SteppedClock
  /** A connection over which nothing was said yet. */
  readonly dial: () => RawClient
  /** A connection that was let in. */
  readonly enter: (id: DeviceId, options?: Partial<RawConnect>) => Promise<RawClient>
}

async function open(t: Test, limits: Partial<Limits> = {}): Promise<Opened> {
  const clock = new SteppedClock()
  const broker = await createBroker({ fleet, plane: 'control', hub, limits, clock })
  const refusals = new Collected<BrokerRefusal>()
  broker.onRefused(refusals.add)
  t.teardown(() => broker.close())
  const dial = (): RawClient => {
    const [here, there] = memoryLink()
    broker.handle(there)
    return new RawClient(here)
  }
  const enter: Opened['enter'] = async (id, options) => {
    const client = dial()
    t.strictSame(await client.say(rawConnect({ id, ...options })), { type: 2, codes: [0] })
    return client
  }
  return { broker, refusals, clock, dial, enter }
}

/** A QoS 1 publish on the own branch: its acknowledgement shows that all before it was dealt with. */
const fine = (id: DeviceId): Uint8Array => rawPublish(topicOf(fleet, 'birth', id), new Uint8Array(9), { qos: 1 })

t.test('a CONNECT that announces 256 MB is cut before it is buffered', async (t) => {
  const { broker, refusals } = await open(t)
  const socket = dialTcp(await broker.listen({ host: '127.0.0.1', port: 0 }))() as Socket
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(Uint8Array.of(0x10, 0xff, 0xff, 0xff, 0x7f))
  while (!socket.destroyed)
    await new Promise((resolve) => socket.write(new Uint8Array(65_536), () => setImmediate(resolve)))
  t.ok(socket.bytesWritten < 8 * mib, `${socket.bytesWritten} bytes left here, most of them into the kernel's buffers`)
  t.match(refusals.values, [{ reason: 'over-limit' }])
})

t.test('packets above the largest of the table are cut, also after the CONNECT', async (t) => {
  const { broker, refusals } = await open(t)
  const client = new RawClient(dialTcp(await broker.listen({ host: '127.0.0.1', port: 0 }))())
  t.match(await client.say(rawConnect({ id: self })), { codes: [0] })
  client.stream.write(rawPublish(topicOf(fleet, 'birth', self), new Uint8Array(2 * mib), { qos: 1 }))
  await client.closed()
  t.match(refusals.values, [{ reason: 'over-limit', client: self }])
})

t.test('a connection that says nothing is closed after a while', async (t) => {
  const { dial } = await open(t, { connectTimeoutMs: 20 })
  await dial().closed()
})

const will = { topic: topicOf(fleet, 'status', self), payload: new Uint8Array(10), qos: 1, retain: true }
const badConnects: readonly [string, string, Partial<RawConnect>][] = [
  ...['constructor', 'toString', '__proto__', 'hasOwnProperty', '', 'd', 'D' + self.slice(1), self + '0', '$SYS'].map(
    (id) => [`client id '${id}'`, 'bad-client-id', { id }] as [string, string, Partial<RawConnect>],
  ),
  ['client id with a control character', 'bad-client-id', { id: self.slice(0, -1) + '\u0007' }],
  ['client id that is no UTF-8', 'bad-client-id', { id: Uint8Array.of(0xff, 0xfe) }],
  ["the hub's id", 'bad-client-id', { id: hub }],
  ['a session that stays', 'not-a-clean-session', { clean: false }],
  ['no keepalive', 'bad-keepalive', { keepalive: 0 }],
  ['a keepalive of 4 s', 'bad-keepalive', { keepalive: 4 }],
  ['a keepalive of 121 s', 'bad-keepalive', { keepalive: 121 }],
  ['MQTT 3.1', 'bad-protocol', { version: 3 }],
  ['MQTT 5', 'bad-protocol', { version: 0x84 }],
  ['a will of somebody else', 'bad-will', { will: { ...will, topic: topicOf(fleet, 'status', other) } }],
  ['a will on another topic', 'bad-will', { will: { ...will, topic: topicOf(fleet, 'endpoint', self) } }],
  ['a will in $SYS', 'bad-will', { will: { ...will, topic: '$SYS/x/new/clients' } }],
  ['a will of QoS 2', 'bad-will', { will: { ...will, qos: 2 } }],
  ['a will of QoS 0', 'bad-will', { will: { ...will, qos: 0 } }],
  ['a will that is not kept', 'bad-will', { will: { ...will, retain: false } }],
  ['a will that is too large', 'bad-will', { will: { ...will, payload: new Uint8Array(5000) } }],
]
t.test('a CONNECT with anything out of order is closed without an answer, and the broker serves on', async (t) => {
  const { broker, dial, enter } = await open(t)
  const witness = await enter(other)
  for (const [name, reason, options] of badConnects) {
    const before = broker.refused.get(reason) ?? 0
    t.equal(await dial().say(rawConnect({ id: self, ...options })), undefined, name)
    t.equal(broker.refused.get(reason), before + 1, `${name} is ${reason}`)
    t.match(await witness.say(fine(other)), { type: 4 })
  }
  await enter(self, { will })
})

t.test('a password that is missing, short or another is answered with "not authorised"', async (t) => {
  const { broker, dial, enter } = await open(t)
  await enter(self)
  for (const password of [new Uint8Array(0), new Uint8Array(31), new Uint8Array(32).fill(1)]) {
    t.strictSame(await dial().say(rawConnect({ id: self, password })), { type: 2, codes: [5] })
  }
  t.equal(broker.refused.get('bad-password'), 3)
})

t.test(
  'an id that the hub does not know is free again when its connection ends, a known one stays taken',
  async (t) => {
    const { broker, dial, enter } = await open(t)
    const password = new Uint8Array(32).fill(7)
    for (const isKnown of [false, true]) {
      if (isKnown) broker.allow(self, {})
      const stream = await enter(self)
      stream.stream.destroy()
      await stream.closed()
      // The broker hears of the end a little later than we do.
      await new Promise((resolve) => setImmediate(resolve))
      const answer = await dial().say(rawConnect({ id: self, password }))
      t.strictSame(answer?.codes, [isKnown ? 5 : 0])
      if (!isKnown) broker.forget(self)
    }
  },
)

t.test('a second connection with the right password takes over from the first', async (t) => {
  const { enter, dial } = await open(t)
  const first = await enter(self)
  const second = await enter(self)
  await first.closed()
  t.match(await second.say(fine(self)), { type: 4 })
  const answer = await dial().say(rawConnect({ id: self, password: new Uint8Array(32).fill(1) }))
  t.match(answer, { codes: [5] }, 'and the id stays taken')
})

const root = fleetRoot(fleet)
const status = topicOf(fleet, 'status', self)
const badPublishes: readonly [string, string, string | Uint8Array, { qos?: number; retain?: boolean }, number][] = [
  ['in $SYS, where Aedes listens for orders', 'not-allowed', `$SYS/x/new/clients`, { qos: 1 }, 5],
  ['on a topic of the hub', 'not-allowed', topicOf(fleet, 'hub'), { qos: 1, retain: true }, 5],
  ['an assignment to itself', 'not-allowed', topicOf(fleet, 'assignment', self), { qos: 1, retain: true }, 5],
  ['in the branch of another', 'not-allowed', topicOf(fleet, 'status', other), { qos: 1, retain: true }, 5],
  ['under the name of another', 'not-allowed', topicOf(fleet, 'peer', hub, other), { qos: 1 }, 5],
  ['to a device that is no peer', 'not-allowed', topicOf(fleet, 'peer', other, self), { qos: 1 }, 5],
  ['on a topic of the relay', 'not-allowed', topicOf(fleet, 'in', hub, self), { qos: 0 }, 5],
  ['in another fleet', 'not-allowed', topicOf('f0000000000000000', 'status', self), { qos: 1, retain: true }, 5],
  ['below a topic of the table', 'not-allowed', `${status}/more`, { qos: 1, retain: true }, 5],
  ['with a control character', 'not-allowed', `${status}\u0000`, { qos: 1, retain: true }, 5],
  [
    'with bytes that are no UTF-8',
    'not-allowed',
    concat([utf8(`${root}/d/`), Uint8Array.of(0xc3, 0x28)]),
    { qos: 1 },
    5,
  ],
  ['retained where the table says no', 'not-allowed', topicOf(fleet, 'birth', self), { qos: 1, retain: true }, 5],
  ['not retained where the table says so', 'not-allowed', status, { qos: 1, retain: false }, 5],
  ['with QoS 0 where the table says 1', 'not-allowed', status, { qos: 0, retain: true }, 5],
  ['with QoS 2', 'qos-2', status, { qos: 2, retain: true }, 5],
  ['more than the topic takes', 'over-limit', status, { qos: 1, retain: true }, 4097],
]
t.test('a publish that is not allowed is acknowledged, sunk and counted; its client stays connected', async (t) => {
  for (const [name, reason, topic, flags, length] of badPublishes) {
    const { broker, enter, refusals } = await open(t)
    const inspected = new Collected<string>()
    broker.inspect((incoming) => {
      inspected.add(incoming.topic)
      return undefined
    })
    broker.allow(other, { peers: new Set([self, other]) })
    const reader = await enter(other)
    t.match(await reader.say(rawSubscribe([filterOf(fleet, 'status', self), filterOf(fleet, 'peer', other)])), {
      type: 9,
    })

    const stream = await enter(self)
    if (flags.qos === 1) t.match(await stream.say(rawPublish(topic, new Uint8Array(length), flags)), { type: 4 }, name)
    else stream.stream.write(rawPublish(topic, new Uint8Array(length), flags))
    t.match(await stream.say(fine(self)), { type: 4 }, name)
    t.match(refusals.values, [{ reason, client: self }], name)
    t.strictSame(inspected.values, [topicOf(fleet, 'birth', self)], name)
    t.equal(reader.packets.length, 2, `${name}: nothing is heard of it`)
    t.notMatch(refusals.values[0]!.topic, /[^ -~]/, 'what goes to the log is printable')
  }
})

t.test('what the broker keeps of refused publishes is nothing', async (t) => {
  const { broker, enter } = await open(t)
  broker.inspect(() => 'bad-signature')
  const stream = await enter(self)
  t.match(await stream.say(rawPublish(status, new Uint8Array(5), { qos: 1, retain: true })), { type: 4 })
  broker.inspect(undefined)
  broker.allow(other, { peers: new Set([self]) })
  const reader = await enter(other)
  await reader.say(rawSubscribe([filterOf(fleet, 'status', self)]))
  t.match(await reader.say(fine(other)), { type: 4 }, 'no retained message comes before the acknowledgement')
})

t.test('filters outside the own list are denied, and QoS 1 is the most that is granted', async (t) => {
  const { broker, enter } = await open(t)
  const stream = await enter(self)
  const own = filterOf(fleet, 'command', self)
  const foreign = [
    '#',
    '+/#',
    `${root}/#`,
    '$SYS/#',
    `$share/g/${own}`,
    `${root}/d/+/status`,
    `${root}/d/${self}/#`,
    `${own}\u0001`,
  ]
  t.strictSame(await stream.say(rawSubscribe([...foreign, own], 2)), {
    type: 9,
    codes: [...foreign.map(() => 128), 1],
  })
  t.equal(broker.refused.get('not-allowed'), foreign.length)
  for (const name of ['constructor', '__proto__', 'toString']) {
    t.strictSame(await stream.say(rawSubscribe([name])), { type: 9, codes: [128] }, name)
  }
})

t.test('a device that loses a peer hears no more of it, without asking', async (t) => {
  const { broker, enter } = await open(t)
  broker.allow(self, { peers: new Set([other]) })
  const stream = await enter(self)
  t.match(await stream.say(rawSubscribe([filterOf(fleet, 'status', other)])), { codes: [1] })
  const flags = { qos: 1, retain: false } as const
  await broker.publish(topicOf(fleet, 'status', other), new Uint8Array(3), flags)
  t.match(await stream.until(3), { type: 3 })
  broker.allow(self, { peers: new Set() })
  await new Promise((resolve) => setImmediate(resolve))
  await broker.publish(topicOf(fleet, 'status', other), new Uint8Array(3), flags)
  t.match(await stream.say(fine(self)), { type: 4 })
})

t.test(
  'who repeats what is refused is banned for a while; late messages and repeated ones are no reason',
  async (t) => {
    const { broker, clock, dial, enter } = await open(t, { refusals: 10, refusalsForgivenPerSecond: 1, banMs: 60_000 })
    const stream = await enter(self)
    const late = rawPublish(topicOf(fleet, 'peer', other, self), new Uint8Array(5), { qos: 1 })
    for (let i = 0; i < 50; i++) t.match(await stream.say(late), { type: 4 })
    broker.inspect(() => 'replayed')
    for (let i = 0; i < 50; i++) t.match(await stream.say(fine(self)), { type: 4 })
    broker.inspect(undefined)

    const bad = rawPublish(topicOf(fleet, 'status', other), new Uint8Array(5), { qos: 1, retain: true })
    for (let i = 0; i < 10; i++) t.match(await stream.say(bad), { type: 4 })
    stream.stream.write(bad)
    await stream.closed()
    t.strictSame(await dial().say(rawConnect({ id: self })), { type: 2, codes: [5] })
    t.equal(broker.refused.get('banned'), 1)
    clock.step(60_000)
    await enter(self)
  },
)

t.test('connections are limited, all together and for each address', async (t) => {
  const { broker, refusals, dial } = await open(t, { connections: 3, connectionsPerAddress: 2 })
  const where = await broker.listen({ host: '127.0.0.1', port: 0 })
  const sockets = Array.from({ length: 3 }, () => connect(where).on('error', () => {}))
  await Promise.race(sockets.map((socket) => once(socket.resume(), 'close')))
  t.match(refusals.values, [{ reason: 'over-limit', client: '127.0.0.1' }])
  dial()
  await dial().closed()
  t.match(refusals.values, [{ client: '127.0.0.1' }, { client: undefined }])
  for (const socket of sockets) socket.destroy()
})

t.test('a client that is faster than allowed is slowed down, not cut, and loses nothing', async (t) => {
  const { broker, clock, enter } = await open(t, { packetsPerSecond: 100, burstPackets: 20 })
  const inspected = new Collected<number>()
  broker.inspect(({ payload }) => {
    inspected.add(payload[0]!)
    return undefined
  })
  const stream = await enter(self)
  const packets = Array.from({ length: 60 }, (_, i) =>
    rawPublish(topicOf(fleet, 'birth', self), new Uint8Array(4000).fill(i), { qos: 1, messageId: i + 1 }),
  )
  for (const packet of packets) stream.stream.write(packet)
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  const before = inspected.values.length
  t.ok(before < 60, `${before} of 60 were taken at once`)
  while (inspected.values.length < 60) {
    clock.step(10)
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.strictSame(
    inspected.values,
    packets.map((_, i) => i),
  )
  t.notOk(stream.isClosed)
})

t.test('whatever bytes come, the broker neither dies nor stops to serve others', async (t) => {
  const { broker, refusals, device, random } = await controlPlane(t)
  const { id, control, born } = await device()
  await born()
  const someone = newDeviceId(random)
  const valid = [
    rawConnect({ id: someone, will: { topic: status, payload: new Uint8Array(9), qos: 1, retain: true } }),
    rawSubscribe(['#', filterOf(broker.fleet, 'command', someone)]),
    rawPublish(topicOf(broker.fleet, 'birth', someone), new Uint8Array(50), { qos: 1 }),
    rawPublish(topicOf(broker.fleet, 'peer', id, someone), new Uint8Array(50), { qos: 2 }),
    Uint8Array.of(0x62, 2, 0, 9, 0x40, 2, 0, 1, 0xc0, 0, 0xe0, 0),
  ]
  const mutated = fc
    .tuple(
      fc.array(fc.constantFrom(...valid), { minLength: 1, maxLength: 5 }),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
    )
    .map(([packets, changes]) => {
      const bytes = concat(packets)
      for (const [at, value] of changes) bytes[at % bytes.length] = value
      return bytes
    })
  const welcome = rawConnect({ id: someone })
  let round = 0
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated), fc.boolean(), async (bytes, isWelcome) => {
      const [here, there] = memoryLink()
      here.on('error', () => {}).resume()
      broker.handle(there)
      if (isWelcome) here.write(welcome)
      here.write(bytes)
      await new Promise((resolve) => setImmediate(resolve))
      here.end()
      await control.publish('assigned', [id], { rev: round++, state: 'ready' })
      t.ok(control.online)
    }),
    { numRuns: 200 },
  )
  t.ok(refusals.length > 0)
})

t.test('a closed broker has let go of everything within a second, and of whoever comes later at once', async (t) => {
  const { broker, enter, dial } = await open(t)
  const where = await broker.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect(where)
  await once(socket, 'connect')
  const clients = [await enter(self, { will }), dial(), new RawClient(socket)]
  await broker.close()
  await Promise.all(clients.map((client) => client.closed()))
  t.equal(broker.refused.size, 0, 'the wills at the end are no refusals')
  await dial().closed()
  await t.rejects(broker.publish('x', new Uint8Array(1), { qos: 0, retain: false }), { code: 'cancelled' })
  await broker.close()
})

t.test('a port that is taken is refused by name', async (t) => {
  const { broker } = await open(t)
  const { host, port } = await broker.listen({ host: '127.0.0.1', port: 0 })
  await t.rejects(broker.listen({ host, port }), {
    code: 'port-in-use',
    message: `127.0.0.1:${port} is in use: stop the program that listens there, or choose another port`,
  })
  await t.rejects(broker.listen({ host: '203.0.113.1', port }), { code: 'bad-config' })
})
