import t, { type Test } from 'tap'
import * as fc from 'fast-check'
import type { Duplex } from 'node:stream'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { pauseMs } from '#device/link/backoff.js'
import { connectControl, type ControlOptions } from '#device/link/control.js'
import { dialTcp } from '#device/link/dial.js'
import { SteppedClock, systemClock } from '#shared/clock.js'
import { newIdentity, type Identity } from '#shared/crypto/identity.js'
import { newDeviceId, newFleetId, type DeviceId } from '#shared/ids.js'
import { Outbox, type Sealed } from '#shared/protocol/outbox.js'
import { seededRandom } from '#shared/random.js'
import { Collected, controlPlane, next, type ControlPlane, type TestDevice } from '#test/support/control-plane.js'
import { memoryDial, memoryLink } from '#test/support/memory-link.js'

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Options of a device whose hub is wherever `connect` leads. */
function alone(connect: () => Duplex, more: Partial<ControlOptions> = {}): ControlOptions {
  const random = seededRandom('alone')
  return {
    fleet: newFleetId(random),
    id: newDeviceId(random),
    identity: newIdentity(random),
    bootId: random(8),
    clock: systemClock,
    random,
    keepaliveSeconds: 0,
    connect,
    ...more,
  }
}

/** A hub that answers nothing, or closes at once. */
const silent = (): Duplex => memoryLink()[0]
const closed = (): Duplex => {
  const [here, there] = memoryLink()
  setImmediate(() => there.destroy())
  return here
}

t.test('pauses between attempts grow from half a second to half a minute, and are spread over all of it', (t) => {
  const random = seededRandom('backoff')
  fc.assert(
    fc.property(fc.nat(2000), (failures) => {
      const pause = pauseMs(failures, random)
      t.ok(pause >= 0 && pause < Math.min(30_000, 500 * 2 ** failures))
    }),
  )
  const sample = Array.from({ length: 1000 }, () => pauseMs(10, random)).sort((a, b) => a - b)
  t.ok(sample[250]! > 5000 && sample[250]! < 10_000 && sample[750]! > 20_000 && sample[750]! < 25_000)
  t.end()
})

t.test('a device that loses the hub tries again with growing pauses until it is there', async (t) => {
  const clock = new SteppedClock()
  const plane = await controlPlane(t)
  let isThere = true
  const attempts = new Collected<number>()
  const dial = memoryDial((stream) => plane.broker.handle(stream, { mayIdle: true }))
  const { id, control } = await plane.device({
    clock,
    connect() {
      attempts.add(clock.monotonicMs())
      return isThere ? dial() : closed()
    },
  })
  const downs = new Collected<string>()
  control.onOffline(downs.add)
  isThere = false
  plane.bus.kick(id)
  await downs.until(1)
  const advance = async (until: () => boolean): Promise<void> => {
    while (!until()) {
      clock.step(10)
      for (let i = 0; i < 5; i++) await tick()
    }
  }
  await advance(() => attempts.values.length === 8)
  const pauses = attempts.values.map((at, i) => at - (attempts.values[i - 1] ?? 0)).slice(1)
  t.ok(
    pauses.every((pause, i) => pause <= 500 * 2 ** i + 20),
    `paused for ${pauses.join(', ')} ms`,
  )
  t.ok(Math.max(...pauses) > 1000)
  t.strictSame(downs.values.length, 1, 'said once')
  isThere = true
  await advance(() => control.online)
  t.equal(attempts.values.length, 9)
})

t.test('without a hub a device that shall not wait is told so, with the address and the remedy', async (t) => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  const hosts: readonly [() => Duplex, RegExp][] = [
    [
      dialTcp({ host: '127.0.0.1', port }),
      /no hub answers at hub\.local:1883 \(connect ECONNREFUSED .*\): start the hub/,
    ],
    [silent, /no hub answers at hub\.local:1883: start the hub there or correct the address/],
    [closed, /no hub answers at hub\.local:1883 \(the connection ended\)/],
    [
      () => {
        throw new Error('no such network')
      },
      /\(no such network\)/,
    ],
  ]
  for (const [connect, message] of hosts) {
    const clock = new SteppedClock()
    const options = alone(connect, { clock, waitForHub: false, connectTimeoutMs: 5000, where: 'hub.local:1883' })
    const outcome: unknown[] = []
    connectControl(options).catch((error: unknown) => outcome.push(error))
    let stepped = 0
    while (outcome.length === 0) {
      for (let i = 0; i < 20; i++) await tick()
      clock.step(500)
      stepped += 500
    }
    t.match(outcome[0], { name: 'Refusal', code: 'hub-unreachable', message })
    t.ok(stepped >= 5000)
  }
})

t.test('a device that waits for its hub says so once, and can be stopped', async (t) => {
  const clock = new SteppedClock()
  const stop = new AbortController()
  const waiting = new Collected<string>()
  const connected = connectControl(alone(closed, { clock, onWaiting: waiting.add, signal: stop.signal }))
  const outcome = t.rejects(connected, { name: 'Refusal', code: 'cancelled' })
  await waiting.until(1)
  for (let i = 0; i < 50; i++) {
    clock.step(1000)
    await tick()
  }
  t.strictSame(waiting.values, ['the connection ended'])
  stop.abort()
  await outcome
  const early = new AbortController()
  early.abort()
  await t.rejects(connectControl(alone(silent, { signal: early.signal })), { code: 'cancelled' })
})

/** Says as the hub of `plane` what it never said, past its bus. */
function forgedBy(plane: ControlPlane, identity: Identity, from: DeviceId = plane.hubId) {
  const outbox = new Outbox({
    fleet: plane.fleet,
    from,
    bootId: plane.random(8),
    clock: systemClock,
    sign: identity.sign,
  })
  const publish = ({ topic, payload }: Sealed, retain = false): Promise<void> =>
    plane.broker.publish(topic, payload, { qos: 1, retain })
  return { outbox, publish }
}

async function obedient(t: Test, options: (plane: ControlPlane) => Partial<ControlOptions> = () => ({})) {
  const plane = await controlPlane(t)
  const device = await plane.device(options(plane))
  const commands = new Collected<string>()
  device.control.on('command', ({ body }) => commands.add(body.name))
  const hub = new Collected<number>()
  device.control.on('hub', ({ body }) => hub.add(body.term))
  await hub.until(1)
  /** What was refused once everything before a last true command was dealt with. */
  const refusals = async (): Promise<string[]> => {
    const count = commands.values.length
    await plane.bus.publish('command', [device.id], { name: 'exit' })
    await commands.until((all) => all.length > count && all.at(-1) === 'exit')
    return device.refusals.map(({ reason }) => reason)
  }
  return { plane, device, commands, refusals }
}

t.test('a device obeys the hub that it met first and nobody else', async (t) => {
  const { plane, device, commands, refusals } = await obedient(t)
  const thief = newIdentity(plane.random)
  const asHub = forgedBy(plane, thief)
  await asHub.publish(asHub.outbox.seal('command', [device.id], { name: 'drain' }))
  const asAnother = forgedBy(plane, thief, newDeviceId(plane.random))
  await asAnother.publish(asAnother.outbox.seal('command', [device.id], { name: 'drain' }))
  const claim = { state: 'online', id: plane.hubId, key: thief.publicKey, term: 9 } as const
  await asHub.publish(asHub.outbox.seal('hub', [], claim))
  const stolen = { ...claim, key: plane.hubIdentity.publicKey }
  await asHub.publish(asHub.outbox.seal('hub', [], stolen))
  t.strictSame(await refusals(), ['bad-signature', 'unknown-sender', 'unknown-sender', 'bad-signature'])
  t.strictSame(commands.values, ['exit'])
  t.same(device.control.hub, { id: plane.hubId, key: plane.hubIdentity.publicKey })
})

t.test('a device that was given the key of its hub follows no other, not even the first it meets', async (t) => {
  const plane = await controlPlane(t)
  const { control, refusals, id } = await plane.device({ hubKey: plane.random(32) })
  await plane.bus.publish('command', [id], { name: 'exit' })
  while (refusals.length < 2) await tick()
  t.strictSame(
    refusals.map(({ reason }) => reason),
    ['unknown-sender', 'bad-signature'],
  )
  t.equal(control.hub, undefined)
  const friend = await obedient(t, ({ hubIdentity }) => ({ hubKey: hubIdentity.publicKey }))
  t.strictSame(await friend.refusals(), [])
})

t.test('what the hub said is obeyed once, in time, and not of an older term or boot', async (t) => {
  const { plane, device, commands } = await obedient(t)
  const { outbox, publish } = forgedBy(plane, plane.hubIdentity) // the hub after a restart
  await plane.bus.publish('command', [device.id], { name: 'rebirth' })
  const drain = outbox.seal('command', [device.id], { name: 'drain' })
  await publish(drain)
  await publish(drain)
  await publish(outbox.seal('command', [device.id], { name: 'rebirth' }, { expiresMs: Date.now() - 1 }))
  await publish({ topic: drain.topic, payload: new Uint8Array(20) })
  const older = { state: 'online', id: plane.hubId, key: plane.hubIdentity.publicKey, term: 0 } as const
  await publish(outbox.seal('hub', [], older))
  await plane.bus.publish('command', [device.id], { name: 'exit' }) // of the boot that is over
  while (device.refusals.length < 5) await tick()
  t.strictSame(
    device.refusals.map(({ reason }) => reason),
    ['replayed', 'replayed', 'bad-message', 'replayed', 'replayed'],
  )
  t.strictSame(commands.values, ['rebirth', 'drain'])
})

t.test('what is sent while the hub is away waits in order; counters are dropped; too much is refused', async (t) => {
  const clock = new SteppedClock()
  const plane = await controlPlane(t)
  const { id, control, born } = await plane.device({ clock })
  await born()
  const heard = new Collected<string>()
  plane.bus.on('assigned', ({ body }) => heard.add(`assigned ${body.rev}`))
  plane.bus.on('telemetry', () => heard.add('telemetry'))
  plane.bus.kick(id)
  await next(control.onOffline.bind(control))

  const telemetry = {
    plan: 0,
    stage: 0,
    frames: 0,
    computeUs: 0,
    queued: 0,
    retained: 0,
    duplicates: 0,
    refused: 0,
    links: [],
    residentBytes: 0,
  }
  await control.publish('telemetry', [id], telemetry)
  const sent = Array.from({ length: 300 }, (_, rev) => control.publish('assigned', [id], { rev, state: 'ready' }))
  const outcomes = Promise.allSettled(sent)
  while (!control.online) {
    clock.step(10)
    await tick()
  }
  const results = await outcomes
  const refused = results.flatMap((result, rev) =>
    result.status === 'rejected' ? [{ rev, reason: result.reason as unknown }] : [],
  )
  t.equal(refused.length, 44)
  t.match(refused[0], { rev: 256, reason: { code: 'over-limit' } })
  await control.publish('telemetry', [id], telemetry)
  t.strictSame(await heard.until(257), [...Array.from({ length: 256 }, (_, rev) => `assigned ${rev}`), 'telemetry'])
})

t.test('however often the connection breaks, each report is heard exactly once and in order', async (t) => {
  const clock = new SteppedClock()
  const plane = await controlPlane(t, { seed: 7 })
  const { id, control, born } = await plane.device({ clock })
  const heard = new Collected<number>()
  plane.bus.on('assigned', ({ body }) => heard.add(body.rev))
  const done: boolean[] = []
  const all = (async () => {
    await born()
    await Promise.all(
      Array.from({ length: 200 }, (_, rev) => control.publish('assigned', [id], { rev, state: 'loading' })),
    )
    done.push(true)
  })()
  let cuts = 0
  const random = seededRandom('cuts')
  while (done.length === 0) {
    for (let i = random(1)[0]! % 4; i >= 0; i--) await tick()
    if (cuts < 60 && control.online) {
      plane.bus.kick(id)
      cuts++
    }
    clock.step(200)
  }
  await all
  t.ok(cuts > 3, `${cuts} cuts`)
  t.strictSame(
    heard.values,
    Array.from({ length: 200 }, (_, rev) => rev),
  )
  const others = plane.refusals.filter(({ reason }) => reason !== 'replayed')
  t.strictSame(others, [])
})

t.test('a hub that has forgotten everything is told again who the device is and where', async (t) => {
  const clock = new SteppedClock()
  const first = await controlPlane(t, { seed: 3 })
  // The same hub after a restart: same id and key, nothing remembered.
  const second = await controlPlane(t, { seed: 3 })
  let current = first
  const { id, control, born } = await first.device({
    clock,
    connect: () => memoryDial((stream) => current.broker.handle(stream, { mayIdle: true }))(),
  })
  await born()
  await control.publish('endpoint', [id], { addresses: [{ host: '10.1.1.1', port: 9000 }] })
  const told = new Collected<string>()
  second.bus.on('birth', ({ name }) => told.add(name))
  second.bus.on('status', ({ body }) => told.add(`status ${body.state}`))
  second.bus.on('endpoint', ({ body }) => told.add(`endpoint ${body.addresses[0]!.host}`))
  current = second
  first.bus.kick(id)
  while (told.values.length < 3) {
    clock.step(20)
    await tick()
  }
  t.strictSame(told.values, ['birth', 'status online', 'endpoint 10.1.1.1'])
  t.strictSame([...second.bus.refused], [])
})

t.test('what peers say is read with the key that the hub gave, and waits for it', async (t) => {
  const { bus, device, refusals, broker, fleet, random } = await controlPlane(t)
  const [a, b] = [await device(), await device()]
  await b.born()
  await b.control.publish('endpoint', [b.id], { addresses: [] })
  bus.setPeers(a.id, new Set([b.id]))
  const heard = new Collected<string>()
  a.control.on('endpoint', (_message, levels) => heard.add(`endpoint ${levels[0]}`))
  a.control.on('status', ({ body }) => heard.add(body.state))
  a.control.setPeers(new Set([b.id]))
  for (let i = 0; i < 20; i++) await tick()
  t.strictSame(heard.values, [])
  a.control.pinKey(b.id, b.identity.publicKey)
  t.same(new Set(await heard.until(2)), new Set(['online', `endpoint ${b.id}`]))

  // Somebody past the hub's own checks, on an external broker say.
  const thief = new Outbox({ fleet, from: b.id, bootId: random(8), clock: systemClock, sign: newIdentity(random).sign })
  const { topic, payload } = thief.seal('endpoint', [b.id], { addresses: [{ host: 'evil', port: 1 }] })
  await broker.publish(topic, payload, { qos: 1, retain: true })
  while (a.refusals.length === 0) await tick()
  t.match(a.refusals, [{ reason: 'bad-signature', topic }])

  a.control.setPeers(new Set())
  await b.control.publish('endpoint', [b.id], { addresses: [] })
  for (let i = 0; i < 20; i++) await tick()
  t.equal(heard.values.length, 2, 'a former peer is not heard')
  t.strictSame(refusals, [])
})

t.test('who leaves says so, has its endpoint forgotten, and sends nothing any more', async (t) => {
  const { bus, device } = await controlPlane(t)
  const [a, b] = [await device(), await device()]
  const statuses = new Collected<string>()
  bus.on('status', ({ body }) => statuses.add(body.state))
  await a.born()
  await a.control.publish('endpoint', [a.id], { addresses: [{ host: '10.0.0.1', port: 1 }] })
  await a.control.close()
  await a.control.close()
  t.strictSame(statuses.values, ['online', 'offline'], 'and no last will')
  t.notOk(a.control.online)
  await t.rejects(a.control.publish('assigned', [a.id], { rev: 1, state: 'ready' }), { code: 'cancelled' })
  const follow = async (follower: TestDevice): Promise<string[]> => {
    bus.setPeers(follower.id, new Set([a.id]))
    follower.control.pinKey(a.id, a.identity.publicKey)
    const heard = new Collected<string>()
    follower.control.on('endpoint', () => heard.add('endpoint'))
    follower.control.on('status', ({ body }) => heard.add(body.state))
    follower.control.on('command', () => heard.add('command'))
    follower.control.setPeers(new Set([a.id]))
    await heard.until((all) => all.includes('offline'))
    await bus.publish('command', [follower.id], { name: 'rebirth' })
    return [...(await heard.until((all) => all.includes('command')))]
  }
  // An acknowledgement says that the broker has a message, not yet that it keeps it: the first may hear older ones too.
  await follow(b)
  t.strictSame(await follow(await device()), ['offline', 'command'])
})

t.test('what comes before anybody listens waits for the first handler, up to a limit', async (t) => {
  const { bus, device } = await controlPlane(t)
  const { id, control, refusals } = await device()
  for (let i = 0; i < 70; i++) await bus.publish('command', [id], { name: 'rebirth' })
  while (refusals.length === 0) await tick()
  const heard = new Collected<string>()
  control.on('command', ({ body }) => heard.add(body.name))
  t.ok(heard.values.length >= 60 && heard.values.length <= 64, `${heard.values.length} waited`)
  t.match(refusals, [{ reason: 'over-limit' }])
})

t.test('a device cannot say what is for the hub to say, or on the wrong connection', async (t) => {
  const { device } = await controlPlane(t)
  const { id, control } = await device()
  await t.rejects(control.publish('command', [id], { name: 'drain' }), /not for a device to say/)
  await t.rejects(control.publish('in', [id, id], new Uint8Array(1)), /not for a device to say/)
})

t.test('over TCP small messages leave at once', async (t) => {
  const plane = await controlPlane(t)
  const dial = dialTcp(await plane.broker.listen({ host: '127.0.0.1', port: 0 }))
  const noDelays: boolean[] = []
  const { born, control } = await plane.device({
    keepaliveSeconds: 15,
    connect() {
      const socket = dial() as Socket
      const setNoDelay = socket.setNoDelay.bind(socket)
      socket.setNoDelay = (isOn) => {
        noDelays.push(isOn ?? true)
        return setNoDelay(isOn)
      }
      return socket
    },
  })
  await born()
  t.strictSame(noDelays, [true])
  t.ok(control.online)
})

t.test('a tap on the link sees what passes: topics in clear, signed bodies too', async (t) => {
  const { broker, device } = await controlPlane(t)
  let seen = ''
  const onBytes = (bytes: Uint8Array): void => void (seen += Buffer.from(bytes).toString('latin1'))
  const dial = memoryDial((stream) => broker.handle(stream, { mayIdle: true }), { onBytes })
  const { id, born } = await device({ connect: dial })
  await born()
  t.ok(seen.includes(`/d/${id}/birth`))
  t.ok(seen.includes('shelf 3'))
})
