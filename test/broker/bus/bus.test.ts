import t from 'tap'
import { connectControl } from '#device/link/control.js'
import { systemClock } from '#shared/clock.js'
import { newIdentity } from '#shared/crypto/identity.js'
import { newDeviceId, type DeviceId } from '#shared/ids.js'
import type { AnyMessage } from '#shared/protocol/inbox.js'
import { birthOf, Collected, controlPlane, next } from '#test/support/control-plane.js'
import { memoryDial } from '#test/support/memory-link.js'

t.test('a device introduces itself, is assigned work, reports, and is heard leaving', async (t) => {
  const { bus, device, hubId } = await controlPlane(t)
  const heard = new Collected<AnyMessage>()
  bus.on('birth', heard.add)
  bus.on('status', heard.add)
  bus.on('assigned', heard.add)
  bus.on('peer', heard.add)
  const { id, control, born } = await device()
  bus.on('birth', (message) => {
    void bus.publish('assignment', [message.envelope.from], { rev: 3, work: { kind: 'none' } })
  })
  const assignment = next((listener) => control.on('assignment', ({ body }) => listener(body)))
  await born()
  t.strictSame(await assignment, { rev: 3, work: { kind: 'none' } })
  t.equal(control.hub?.id, hubId)

  await control.publish('assigned', [id], { rev: 3, state: 'ready' })
  await control.publish('peer', [hubId, id], Uint8Array.of(1, 2, 3))
  await control.close()
  const messages = await heard.until(5)
  t.strictSame(
    messages.map(({ name, body }) =>
      name === 'birth' ? [name, body.name] : [name, name === 'peer' ? [...body] : body],
    ),
    [
      ['birth', 'shelf 3'],
      ['status', { state: 'online' }],
      ['assigned', { rev: 3, state: 'ready' }],
      ['peer', [1, 2, 3]],
      ['status', { state: 'offline' }],
    ],
  )
  t.strictSame([...bus.refused], [])
})

t.test('a device that comes late gets what the hub has said to it and to all', async (t) => {
  const { bus, device, random } = await controlPlane(t)
  const id = newDeviceId(random)
  await bus.publish('assignment', [id], { rev: 1, work: { kind: 'none' } })
  await bus.publish('assignment', [id], { rev: 2, work: { kind: 'none' } })
  const { control } = await device({ id })
  const body = await next<{ rev: number }>((listener) => control.on('assignment', (message) => listener(message.body)))
  t.equal(body.rev, 2)
})

t.test('what the hub had the broker forget is not there for who comes later', async (t) => {
  const { bus, device, random } = await controlPlane(t)
  const id = newDeviceId(random)
  await bus.publish('assignment', [id], { rev: 1, work: { kind: 'none' } })
  await bus.clear('assignment', [id])
  const { control } = await device({ id })
  const heard = new Collected<number | string>()
  control.on('assignment', ({ body }) => heard.add(body.rev))
  control.on('command', ({ body }) => heard.add(body.name))
  await bus.publish('command', [id], { name: 'rebirth' })
  t.strictSame(await heard.until(1), ['rebirth'])
  await t.rejects(bus.clear('command', [id]), /not retained/)
})

t.test('two devices follow each other only when the hub has made them peers and given them the keys', async (t) => {
  const { bus, device } = await controlPlane(t)
  const [a, b] = [await device(), await device()]
  await a.born()
  await b.born()
  await b.control.publish('endpoint', [b.id], { addresses: [{ host: '10.0.0.2', port: 4433 }] })

  a.control.setPeers(new Set([b.id]))
  const denied = new Collected<string>()
  while (a.refusals.length < 2) await new Promise((resolve) => setImmediate(resolve))
  for (const { reason } of a.refusals) denied.add(reason)
  t.strictSame(denied.values, ['not-allowed', 'not-allowed'], 'the hub does not know of them yet')

  bus.setPeers(a.id, new Set([b.id]))
  bus.setPeers(b.id, new Set([a.id]))
  const heard = new Collected<unknown>()
  a.control.on('endpoint', ({ body }, levels) => heard.add([levels[0], body.addresses.length]))
  a.control.on('status', ({ body }, levels) => heard.add([levels[0], body.state]))
  a.control.setPeers(new Set([b.id]))
  a.control.pinKey(b.id, bus.keyOf(b.id)!)
  t.same(
    new Set(await heard.until(2)),
    new Set([
      [b.id, 1],
      [b.id, 'online'],
    ]),
  )

  const sealed = next((listener) => a.control.on('peer', ({ body }, levels) => listener([levels[1], [...body]])))
  await b.control.publish('peer', [a.id, b.id], Uint8Array.of(9))
  t.strictSame(await sealed, [b.id, [9]])

  bus.setPeers(b.id, new Set())
  await b.control.publish('peer', [a.id, b.id], Uint8Array.of(10))
  t.equal(bus.refused.get('not-allowed'), 3, 'a former peer is not heard, nor cut')
  t.ok(b.control.online)
})

t.test('a birth under an id whose key is pinned is refused with any other key', async (t) => {
  const { bus, broker, device, random, fleet } = await controlPlane(t)
  const births = new Collected<DeviceId>()
  bus.on('birth', ({ envelope }) => births.add(envelope.from))
  const owner = await device()
  await owner.born()
  await births.until(1)
  t.same(bus.keyOf(owner.id), owner.identity.publicKey)
  await owner.control.close()

  // The broker turns a stranger away already; here one that has come past it, with the password of the owner.
  const stranger = newIdentity(random)
  const thief = {
    publicKey: stranger.publicKey,
    sign: (m: Uint8Array) => (m[0] === 0x83 ? owner.identity : stranger).sign(m),
  }
  const control = await connectControl({
    fleet,
    id: owner.id,
    identity: thief,
    bootId: random(8),
    clock: systemClock,
    random,
    keepaliveSeconds: 0,
    connect: memoryDial((stream) => broker.handle(stream, { mayIdle: true })),
  })
  t.teardown(() => control.close())
  await control.publish('birth', [owner.id], birthOf(stranger.publicKey, random))
  t.equal(bus.refused.get('unknown-sender'), 1, 'with its own key in it')
  await control.publish('birth', [owner.id], birthOf(owner.identity.publicKey, random))
  t.equal(bus.refused.get('bad-signature'), 3, 'with the key of the owner; the status that follows each birth too')
  t.equal(births.values.length, 1)
})

t.test('a second connection under a taken id is turned away and does not push the device out', async (t) => {
  const { bus, device } = await controlPlane(t)
  const owner = await device()
  await owner.born()
  const offline = new Collected<string>()
  owner.control.onOffline(offline.add)
  await t.rejects(device({ id: owner.id, waitForHub: false, where: 'hub.local:1883' }), {
    code: 'not-allowed',
    message: /hub\.local:1883 turns d[0-9a-f]{32} away/,
  })
  t.equal(bus.refused.get('bad-password'), 1)
  await owner.control.publish('assigned', [owner.id], { rev: 1, state: 'ready' })
  t.strictSame(offline.values, [])

  await owner.control.close()
  const again = await device({ id: owner.id, identity: owner.identity })
  t.ok(again.control.online, 'the same identity may come back')
})

t.test('nothing but a birth is heard from a device that has not introduced itself', async (t) => {
  const { bus, device } = await controlPlane(t)
  const { id, control, born } = await device()
  const heard = new Collected<string>()
  bus.on('assigned', ({ name }) => heard.add(name))
  bus.on('birth', ({ name }) => heard.add(name))
  const report = control.publish('assigned', [id], { rev: 1, state: 'loading' })
  await born()
  await report
  t.strictSame(await heard.until(2), ['birth', 'assigned'], 'it waited for the birth')
  t.strictSame([...bus.refused], [])
})

t.test('a message that does not fit its topic, or too many for one device, are refused to the hub', async (t) => {
  const { bus, device } = await controlPlane(t)
  const { id } = await device()
  await t.rejects(bus.publish('peer', [id, id], new Uint8Array(10_000)), { code: 'over-limit' })
  const sent = Array.from({ length: 1025 }, () => bus.publish('command', [id], { name: 'rebirth' }))
  const outcomes = await Promise.allSettled(sent)
  t.equal(outcomes.filter(({ status }) => status === 'rejected').length, 1)
  await t.rejects(bus.publish('status', [id], { state: 'online' }), /for devices to say/)
})

t.test('a kicked device comes back by itself', async (t) => {
  const { bus, device } = await controlPlane(t)
  const { id, control, born } = await device()
  await born()
  const down = next(control.onOffline.bind(control))
  const up = next<void>((listener) => control.onOnline(() => listener()))
  const statuses = new Collected<string>()
  bus.on('status', ({ body }) => statuses.add(body.state))
  bus.kick(id)
  await down
  await up
  t.ok(control.online)
  t.strictSame(await statuses.until(2), ['offline', 'online'], 'its last will is heard, then its return')
  t.strictSame([...bus.refused], [])
})
