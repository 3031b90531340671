import t from 'tap'
import { openRelayLink } from '#device/link/relay.js'
import { dialTcp } from '#device/link/dial.js'
import { equal, concat } from '#shared/bytes.js'
import { systemClock } from '#shared/clock.js'
import { newDeviceId, type DeviceId } from '#shared/ids.js'
import { chunkBytes, chunksOf } from '#shared/protocol/chunk.js'
import { Outbox } from '#shared/protocol/outbox.js'
import { Collected, next } from '#test/support/control-plane.js'
import { memoryDial, memoryLink } from '#test/support/memory-link.js'
import { RawClient, rawConnect, rawPublish } from '#test/support/raw-mqtt.js'
import { relayPlane, type RelayDevice } from '#test/support/relay-plane.js'

t.test('frames of any size arrive whole, in order and once, and so do acknowledgements', async (t) => {
  const { devices, random, relay } = await relayPlane(t)
  const [a, b] = (await devices(2)) as [RelayDevice, RelayDevice]
  const frames = new Collected<{ from: DeviceId; bytes: Uint8Array }>()
  b.link.onFrame((from, bytes) => frames.add({ from, bytes }))
  const oks = new Collected<string>()
  a.link.onOk((from, bytes) => oks.add(`${from} ${[...bytes].join()}`))

  const sent = [0, 1, 1000, chunkBytes, chunkBytes + 1, 3_000_000].map((length) => [random(length), random(16)])
  t.strictSame(
    await Promise.all(sent.map((parts) => a.link.send(b.id, parts))),
    sent.map(() => true),
  )
  const got = await frames.until(sent.length)
  t.ok(sent.every((parts, i) => equal(got[i]!.bytes, concat(parts)) && got[i]!.from === a.id))
  t.equal(await b.link.sendOk(a.id, Uint8Array.of(7)), true)
  t.strictSame(await oks.until(1), [`${b.id} 7`])
  t.strictSame([...relay.refused], [])
})

t.test('several senders reach one device at once, each with its own frames', async (t) => {
  const { devices, random } = await relayPlane(t)
  const [target, ...senders] = (await devices(4)) as [RelayDevice, ...RelayDevice[]]
  const frames = new Collected<{ from: DeviceId; bytes: Uint8Array }>()
  target.link.onFrame((from, bytes) => frames.add({ from, bytes }))
  const sent = senders.flatMap(({ id, link }) =>
    Array.from({ length: 5 }, () => {
      const bytes = new Uint8Array(600_000).fill(random(1)[0]!)
      void link.send(target.id, [bytes])
      return { id, bytes }
    }),
  )
  const got = await frames.until(sent.length)
  for (const { id } of senders) {
    const [mine, theirs] = [got.filter(({ from }) => from === id), sent.filter((one) => one.id === id)]
    t.ok(mine.every(({ bytes }, i) => equal(bytes, theirs[i]!.bytes)))
    t.equal(mine.length, 5)
  }
})

t.test('what is sent to somebody who is no peer is lost and counted, and the sender stays connected', async (t) => {
  const { devices, relay, refusals } = await relayPlane(t)
  const [a, b] = (await devices(2)) as [RelayDevice, RelayDevice]
  relay.allow(a.id, { peers: new Set() })
  const frames = new Collected<number>()
  b.link.onFrame((_from, bytes) => frames.add(bytes.length))
  // Many more than any other refusal would be forgiven: the plan changed, and frames were on their way.
  for (let i = 0; i < 200; i++) t.equal(await a.link.send(b.id, [new Uint8Array(10)]), true)
  await a.link.sendOk(a.id, new Uint8Array(1))
  t.match((await refusals.until(201))[0], { client: a.id, reason: 'not-allowed' })
  relay.allow(a.id, { peers: new Set([b.id]) })
  await a.link.send(b.id, [new Uint8Array(11)])
  t.strictSame(await frames.until(1), [11])
  t.equal(relay.refused.get('not-allowed'), 201)
  t.ok(a.link.online)
})

t.test('only who has the token of an id gets in under it', async (t) => {
  const { devices, relay, fleet, random } = await relayPlane(t)
  const [a] = (await devices(1)) as [RelayDevice]
  const tries = [
    { id: a.id, token: random(32), reason: 'bad-password' },
    { id: newDeviceId(random), token: a.token, reason: 'unknown-sender' },
    { id: a.id, token: new Uint8Array(31), reason: 'bad-password' },
  ]
  for (const { id, token, reason } of tries) {
    const before = relay.refused.get(reason) ?? 0
    const connect = memoryDial((stream) => relay.handle(stream))
    const closed = new Promise<void>((resolve) => {
      const link = openRelayLink({
        fleet,
        id,
        token,
        bootId: random(8),
        clock: systemClock,
        random,
        keepaliveSeconds: 0,
        connect: () => connect().once('close', () => resolve(link.close())),
      })
    })
    await closed
    t.equal(relay.refused.get(reason), before + 1)
  }
  t.ok(a.link.online, 'whoever is in stays in')
  const down = next(a.link.onOffline.bind(a.link))
  relay.forget(a.id)
  await down
})

t.test('a frame that is too large is refused, and one to send while offline is not taken', async (t) => {
  const { devices, relay } = await relayPlane(t)
  const [a, b] = (await devices(2, { maxFrameBytes: 1000 })) as [RelayDevice, RelayDevice]
  await t.rejects(a.link.send(b.id, [new Uint8Array(1001)]), { code: 'over-limit' })
  await t.rejects(a.link.sendOk(b.id, new Uint8Array(20_000)), { code: 'over-limit' })
  relay.forget(a.id)
  await next(a.link.onOffline.bind(a.link))
  t.equal(await a.link.send(b.id, [new Uint8Array(1)]), false)
  t.equal(await a.link.sendOk(b.id, new Uint8Array(1)), false)
})

t.test('a frame whose connection breaks under way is reported lost, and the next connection carries on', async (t) => {
  const { devices, relay } = await relayPlane(t)
  const [a, b] = (await devices(2)) as [RelayDevice, RelayDevice]
  const frames = new Collected<number>()
  b.link.onFrame((_from, bytes) => frames.add(bytes.length))
  const lost = a.link.send(b.id, [new Uint8Array(20_000_000)])
  const again = next<void>((listener) => a.link.onOnline(() => listener()))
  const grant = { token: a.token, peers: new Set([b.id]) }
  relay.forget(a.id)
  relay.allow(a.id, grant)
  t.equal(await lost, false)
  await again
  t.equal(await a.link.send(b.id, [new Uint8Array(300_000)]), true)
  t.strictSame(await frames.until(1), [300_000])
})

t.test('bytes that are no chunk are refused by name, and what follows is heard', async (t) => {
  const { relay, devices, fleet, random } = await relayPlane(t)
  const refused = new Collected<string>()
  const [target] = (await devices(1, { onRefused: ({ reason }) => refused.add(reason) })) as [RelayDevice]
  const frames = new Collected<number>()
  target.link.onFrame((_from, bytes) => frames.add(bytes.length))
  const id = newDeviceId(random)
  relay.allow(id, { token: new Uint8Array(32), peers: new Set([target.id]) })
  const [here, there] = memoryLink()
  relay.handle(there)
  const stranger = new RawClient(here)
  t.match(await stranger.say(rawConnect({ id })), { codes: [0] })

  const bootId = random(8)
  const saidBy = (from: DeviceId): Outbox => new Outbox({ fleet, from, bootId, clock: systemClock, sign: () => bootId })
  const [chunk] = [...chunksOf(0, [new Uint8Array(5)])]
  const { topic, payload } = saidBy(id).seal('in', [target.id, id], chunk!)
  stranger.stream.write(rawPublish(topic, random(50)))
  stranger.stream.write(rawPublish(topic, saidBy(id).seal('in', [target.id, id], random(3)).payload))
  stranger.stream.write(rawPublish(topic, saidBy(target.id).seal('in', [target.id, id], chunk!).payload))
  stranger.stream.write(rawPublish(topic, payload))
  t.strictSame(await frames.until(1), [5])
  t.strictSame(refused.values, ['bad-message', 'bad-message', 'unknown-sender'])
})

t.test('in its own thread the relay serves TCP and reports what it refuses', async (t) => {
  const refused = new Collected<string>()
  const { devices, relay, fleet } = await relayPlane(t, {
    inProcess: false,
    listen: { host: '127.0.0.1', port: 0 },
    onRefused: ({ reason }) => refused.add(reason),
  })
  const connect = dialTcp(relay.address!)
  const [a, b] = (await devices(2, { connect, keepaliveSeconds: 30 })) as [RelayDevice, RelayDevice]
  const frame = next<number>((listener) => b.link.onFrame((_from, bytes) => listener(bytes.length)))
  t.equal(await a.link.send(b.id, [new Uint8Array(5_000_000)]), true)
  t.equal(await frame, 5_000_000)
  relay.allow(a.id, { peers: new Set() })
  // The order is on its way to the other thread: send until it is there.
  while (refused.values.length === 0) {
    await a.link.send(b.id, [new Uint8Array(1)])
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.equal(refused.values[0], 'not-allowed')
  t.ok(relay.refused.get('not-allowed')! >= 1)
  t.throws(() => relay.handle(connect()), /TCP connections only/)
  await t.rejects(relayPlane(t, { inProcess: false, listen: relay.address! }), {
    code: 'port-in-use',
    message: new RegExp(`127\\.0\\.0\\.1:${relay.address!.port} is in use: stop the program`),
  })
  t.ok(fleet)
})
