/** One reader that takes nothing off its socket must cost the others nothing and the hub little. Loopback sockets. */

import t, { type Test } from 'tap'
import { Aedes } from 'aedes'
import { MqttClient } from 'mqtt'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { createBroker, type Broker } from '#broker/bus/broker.js'
import { createBus } from '#broker/bus/bus.js'
import { connectControl } from '#device/link/control.js'
import { dialTcp } from '#device/link/dial.js'
import { openRelayLink } from '#device/link/relay.js'
import { systemClock } from '#shared/clock.js'
import { newIdentity } from '#shared/crypto/identity.js'
import { newDeviceId, newFleetId, type DeviceId } from '#shared/ids.js'
import { filterOf, topicOf } from '#shared/protocol/topics.js'
import { seededRandom } from '#shared/random.js'
import { birthOf, Collected } from '#test/support/control-plane.js'
import { rawConnect, rawSubscribe } from '#test/support/raw-mqtt.js'

const kib = 1024
const mib = 1024 * kib

/** A server whose ends of the connections can be looked at, in the order in which they came. */
async function serve(t: Test, accept: (socket: Socket) => void): Promise<{ port: number; sockets: Socket[] }> {
  const sockets: Socket[] = []
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.push(socket)
    accept(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, sockets }
}

/** Connects under `id`, subscribes, and reads nothing any more once both were granted. */
async function freeze(port: number, id: string, filters: readonly string[]): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.on('error', () => {}) // it is cut in the end
  socket.write(rawConnect({ id }))
  await new Promise((resolve) => socket.once('data', resolve))
  socket.write(rawSubscribe(filters))
  await new Promise((resolve) => socket.once('data', resolve))
  socket.pause()
  return socket
}

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

t.test('as Aedes comes, one frozen reader stops the traffic of everybody', async (t) => {
  const aedes = await Aedes.createBroker()
  const { mq } = aedes as unknown as { mq: { readonly current: number; readonly length: number } }
  const { port, sockets } = await serve(t, (socket) => aedes.handle(socket))
  await freeze(port, 'frozen', ['frames/#'])
  const open = (clientId: string): Promise<MqttClient> =>
    new Promise((resolve) => {
      const client = new MqttClient(() => connect({ port, host: '127.0.0.1' }), {
        clientId,
        reconnectPeriod: 0,
        keepalive: 0,
      })
      client.once('connect', () => resolve(client))
    })
  const [reader, writer, sender] = [await open('reader'), await open('writer'), await open('sender')]
  const got = new Collected<string>()
  reader.on('message', (topic) => got.add(topic))
  await reader.subscribeAsync('words/#')
  await writer.publishAsync('words/first', 'x')
  await got.until(1)

  const frame = Buffer.alloc(256 * kib)
  for (let i = 0; i < 400; i++) sender.publish('frames/1', frame)
  while (mq.length < 100) await tick() // all 100 slots of the broker wait for the frozen reader
  t.equal(mq.current, 100)
  const waiting = mq.length
  const arrived = got.values.length
  for (let i = 0; i < 50; i++) await writer.publishAsync('words/more', 'x')
  while (mq.length < waiting + 50) await tick()
  t.equal(got.values.length, arrived, 'nothing more gets through')
  t.ok(sockets[0]!.writableLength > 16 * mib, `${sockets[0]!.writableLength} bytes wait in the hub`)

  for (const client of [reader, writer, sender]) client.end(true)
  for (const socket of sockets) socket.destroy()
  await new Promise<void>((resolve) => aedes.close(resolve))
})

async function openBroker(
  t: Test,
  plane: 'control' | 'relay',
  limits = {},
): Promise<{ broker: Broker; hub: DeviceId }> {
  const hub = newDeviceId(random)
  const broker = await createBroker({ fleet, plane, hub, limits: { drainTimeoutMs: 2000, ...limits } })
  t.teardown(() => broker.close())
  return { broker, hub }
}
const random = seededRandom('frozen')
const fleet = newFleetId(random)

t.test(
  'on the relay, frames for a frozen device cost the others nothing, little memory, and end with its cut',
  async (t) => {
    const { broker } = await openBroker(t, 'relay')
    const { port, sockets } = await serve(t, (socket) => broker.handle(socket))
    const [frozen, reader, sender] = [0, 1, 2].map(() => newDeviceId(random)) as [DeviceId, DeviceId, DeviceId]
    for (const id of [frozen, reader, sender]) {
      broker.allow(id, { token: new Uint8Array(32), peers: new Set([frozen, reader, sender]) })
    }
    await freeze(port, frozen, [filterOf(fleet, 'in', frozen), filterOf(fleet, 'ok', frozen)])
    const [there] = sockets as [Socket]
    const cut = new Promise((resolve) => there.once('close', resolve))
    let isCut = false
    void cut.then(() => (isCut = true))

    const open = async (id: DeviceId) => {
      const token = new Uint8Array(32)
      const connectHere = dialTcp({ host: '127.0.0.1', port })
      const link = openRelayLink({
        fleet,
        id,
        token,
        bootId: random(8),
        clock: systemClock,
        random,
        connect: connectHere,
      })
      t.teardown(() => link.close())
      await new Promise<void>((resolve) => link.onOnline(resolve))
      return link
    }
    const [from, to] = [await open(sender), await open(reader)]
    const frames = new Collected<number>()
    to.onFrame((_from, bytes) => frames.add(bytes.length))
    const oks = new Collected<number>()
    to.onOk((_from, bytes) => oks.add(bytes.length))

    // The same sender has frames for both, and small messages in between.
    let mostWaiting = 0
    let whileFrozen = 0
    const frame = new Uint8Array(256 * kib - 8)
    for (let i = 0; i < 150; i++) {
      const both = [from.send(frozen, [frame]), from.send(reader, [frame]), from.sendOk(reader, new Uint8Array(10))]
      t.strictSame(await Promise.all(both), [true, true, true])
      mostWaiting = Math.max(mostWaiting, there.writableLength)
      if (!isCut) whileFrozen = frames.values.length
    }
    t.equal((await frames.until(150)).length, 150)
    t.equal((await oks.until(150)).length, 150)
    await cut
    t.ok(whileFrozen > 0, `${whileFrozen} frames arrived before the cut`)
    t.ok(mostWaiting <= 8 * mib + 2 * 257 * kib, `at most ${mostWaiting} bytes waited in the hub`)
    t.comment(`${whileFrozen} of 150 frames before the cut, at most ${mostWaiting} bytes waiting`)
  },
)

t.test('on the control plane, blocks for a frozen device do not hold up what the hub tells the others', async (t) => {
  const { broker, hub } = await openBroker(t, 'control', { drainTimeoutMs: 60_000 })
  const identity = newIdentity(random)
  const bus = createBus({ fleet, id: hub, identity, bootId: random(8), clock: systemClock, broker })
  const { port, sockets } = await serve(t, (socket) => broker.handle(socket))
  await bus.publish('hub', [], { state: 'online', id: hub, key: identity.publicKey, term: 1 })
  const frozen = newDeviceId(random)
  await freeze(port, frozen, [filterOf(fleet, 'blob', frozen)])
  const [there] = sockets as [Socket]

  const [id, me] = [newDeviceId(random), newIdentity(random)]
  const control = await connectControl({
    fleet,
    id,
    identity: me,
    bootId: random(8),
    clock: systemClock,
    random,
    connect: dialTcp({ host: '127.0.0.1', port }),
  })
  t.teardown(() => control.close())
  await control.publish('birth', [id], birthOf(me.publicKey, random))
  const commands = new Collected<string>()
  control.on('command', ({ body }) => commands.add(body.name))

  let blocks = 0
  const sent = Array.from({ length: 20 }, (_, i) =>
    bus.publish('blob', [frozen, 'ab12cd34', i], new Uint8Array(mib)).then(() => blocks++),
  )
  while (there.writableLength === 0) await tick() // its socket is full, from here on blocks wait
  for (let i = 0; i < 200; i++) await bus.publish('command', [id], { name: 'rebirth' })
  await commands.until(200)
  t.ok(blocks < 20, `${blocks} of 20 blocks were out when the last command arrived`)
  t.ok(there.writableLength <= 2 * mib, `${there.writableLength} bytes wait in the hub`)
  bus.kick(frozen)
  await Promise.all(sent)
  t.ok(control.online)
})

t.test('a device that cannot be told QoS 1 any more is cut at once', async (t) => {
  const { broker, hub } = await openBroker(t, 'control', { closeLagBytes: 64 * kib, drainTimeoutMs: 60_000 })
  const { port, sockets } = await serve(t, (socket) => broker.handle(socket))
  const frozen = newDeviceId(random)
  await freeze(port, frozen, [filterOf(fleet, 'assignment', frozen), filterOf(fleet, 'peer', frozen)])
  const [there] = sockets as [Socket]
  const payload = new Uint8Array(256 * kib)
  const topic = topicOf(fleet, 'peer', frozen, hub)
  while (!there.destroyed) {
    void broker.publish(topic, payload, { qos: 1, retain: false })
    await tick()
  }
  t.ok(broker.refused.get('lagging')! >= 1)
})
