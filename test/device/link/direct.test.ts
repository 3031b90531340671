import * as fc from 'fast-check'
import type { Duplex } from 'node:stream'
import t from 'tap'
import {
  DirectLinks,
  helloWithinMs,
  maxHelloBytes,
  maxRedialAfterMs,
  maxStrangers,
  maxStrangersPerOrigin,
} from '#device/link/direct.js'
import { recordLength } from '#device/link/records.js'
import { concat } from '#shared/bytes.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { Refusal } from '#shared/errors.js'
import { idBytes, type DeviceId, type FleetId } from '#shared/ids.js'
import { encodeActivation, type Activation } from '#shared/protocol/tensors.js'
import { seededRandom } from '#shared/random.js'
import { Channel, type Arrival } from '#shared/session/channel.js'
import { Keyring } from '#shared/session/keyring.js'
import { MemoryNetwork } from '#test/support/memory-network.js'
import { WatchedClock } from '#test/support/pipeline-world.js'

const fleet: FleetId = 'f0102030405060708'
const idA: DeviceId = 'd000000000000000000000000000000aa'
const idB: DeviceId = 'd000000000000000000000000000000bb'
const idC: DeviceId = 'd000000000000000000000000000000cc'
const bootId = new Uint8Array(8)

function activation(request: number): Activation {
  const tensors = [{ name: 'x', dtype: 'uint8', shape: [1], data: Uint8Array.of(request) }]
  return { plan: 1, client: idA, run: bootId, request, low: 0, stage: 0, hops: [], tensors }
}

interface Node {
  readonly id: DeviceId
  readonly links: DirectLinks
  readonly channels: Map<DeviceId, Channel>
  readonly keyrings: Map<DeviceId, Keyring>
  readonly refused: [code: string, peer: DeviceId | undefined][]
  readonly failures: number[]
  readonly changes: boolean[]
  readonly arrivals: Arrival[]
  unwanted: Refusal | undefined
}

/** Nodes on a network in memory, each with keys for each other unless said otherwise. */
async function world(ids: readonly DeviceId[], withKeys = true) {
  const clock = new WatchedClock()
  const network = new MemoryNetwork()
  const random = seededRandom('direct')
  const secrets = new Map<string, Uint8Array>()
  const nodes = new Map<DeviceId, Node>()
  /** Both ends are given the keys of a session. */
  const give = (to: Node, peer: DeviceId, ordinal: number): void => {
    const name = `${[to.id, peer].sort().join()}/${ordinal}`
    const prk = secrets.get(name) ?? random(32)
    secrets.set(name, prk)
    const keyring = to.keyrings.get(peer)!
    keyring.add({ peer, epoch: 1, ordinal, alg: 1, prk })
    keyring.use(1)
    to.links.renew(peer)
    to.channels.get(peer)!.renewed({ epoch: 1, ordinal })
  }
  for (const id of ids) {
    const node: Node = {
      id,
      channels: new Map(),
      keyrings: new Map(),
      refused: [],
      failures: [],
      changes: [],
      arrivals: [],
      unwanted: undefined,
      links: new DirectLinks({
        self: id,
        bootId,
        clock,
        transport: network.transport(id),
        channelOf: (peer) => node.channels.get(peer),
        onRefused: (reason, peer) => node.refused.push([reason.code, peer]),
        onChange: (_, isUp) => node.changes.push(isUp),
        onFailure: (_, failures) => node.failures.push(failures),
      }),
    }
    for (const peer of ids) {
      if (peer === id) continue
      const keyring = new Keyring({ fleet, self: id, peer, aeads: nodeAeads, clock })
      node.keyrings.set(peer, keyring)
      const channel = new Channel({
        peer,
        keyring,
        clock,
        window: { frames: 8, bytes: 1 << 20 },
        events: {
          onActivation: (arrival) => {
            if (node.unwanted !== undefined) throw node.unwanted
            node.arrivals.push(arrival)
            arrival.took()
            channel.settle(arrival.activation)
          },
          onSettled: () => {},
        },
      })
      node.channels.set(peer, channel)
    }
    nodes.set(id, node)
    await node.links.listen()
  }
  if (withKeys) for (const node of nodes.values()) for (const peer of node.channels.keys()) give(node, peer, 0)
  const turns = async (count = 12): Promise<void> => {
    for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  return {
    clock,
    network,
    node: (id: DeviceId): Node => nodes.get(id)!,
    give,
    turns,
    /** Moves time in small steps, with all that follows from each. */
    pass: async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += 25) {
        clock.step(25)
        await turns(4)
      }
    },
    /** Who dials the host and says what it likes. */
    stranger: async (to: DeviceId, bytes?: Uint8Array, from = 'stranger'): Promise<Duplex> => {
      const stream = network.dial(from, to)
      stream.on('error', () => {})
      stream.resume()
      await turns(2)
      if (bytes !== undefined) stream.write(bytes)
      await turns(2)
      return stream
    },
    close: async (): Promise<void> => {
      for (const { links, channels } of nodes.values()) {
        for (const channel of channels.values()) channel.close()
        await links.close()
      }
      await turns()
    },
  }
}

const address = (id: DeviceId) => [{ host: id, port: 1 }]
const record = (...parts: Uint8Array[]): Uint8Array => concat([recordLength(parts), ...parts])

t.test('two peers come together, and what one offers the other gets', async (t) => {
  const { node, turns, clock, close } = await world([idA, idB])
  const [a, b] = [node(idA), node(idB)]
  a.links.dial(idB, address(idB))
  a.channels.get(idB)!.offer(activation(1))
  await turns()
  t.ok(a.links.isUp(idB) && b.links.isUp(idA))
  t.equal(b.arrivals[0]!.activation.request, 1)
  t.equal(a.channels.get(idB)!.held, 0)
  t.equal(clock.pending, 0, 'no deadline is left')
  await close()
  t.strictSame([a.refused, b.refused], [[], []])
})

t.test('before a good hello nobody gets further', async (t) => {
  const { node, stranger, turns, clock, close } = await world([idA, idB, idC])
  const b = node(idB)
  const hello = (from: DeviceId): Uint8Array => concat(node(from).channels.get(idB)!.sealHello(bootId))
  const good = hello(idA)
  const unknown: DeviceId = 'd000000000000000000000000000000ee'
  const cases: [string, Uint8Array, string][] = [
    ['a stranger with an id of its own', record(idBytes(unknown), hello(idA)), 'forged'],
    ['a peer under the id of another', record(idBytes(idC), hello(idA)), 'forged'],
    ['our own id', record(idBytes(idB), hello(idA)), 'forged'],
    ['an id and nothing', record(idBytes(idA)), 'forged'],
    ['no id', record(Uint8Array.of(1)), 'forged'],
    ['nothing in a record', record(), 'over-limit'],
    ['a first record over the limit', recordLength([new Uint8Array(maxHelloBytes + 1)]), 'over-limit'],
    [
      'an activation in place of the hello',
      record(
        idBytes(idA),
        concat(
          node(idA)
            .keyrings.get(idB)!
            .seal(1, encodeActivation(activation(0))),
        ),
      ),
      'forged',
    ],
    ['a request in another protocol', new TextEncoder().encode('GET / HTTP/1.1\r\nHost: b\r\n\r\n'), 'over-limit'],
  ]
  for (const [what, bytes, code] of cases) {
    const stream = await stranger(idB, bytes)
    t.ok(stream.destroyed, what)
    t.strictSame(b.refused.splice(0), [[code, undefined]], what)
  }
  const first = await stranger(idB, record(idBytes(idA), good))
  t.ok(b.links.isUp(idA), 'the real one is let in')
  const replayed = await stranger(idB, record(idBytes(idA), good))
  t.ok(replayed.destroyed)
  t.notOk(first.destroyed, 'and stays when somebody repeats it')
  t.strictSame(b.refused.splice(0), [['forged', undefined]])
  t.strictSame(b.arrivals, [])
  await turns()
  await close()
  t.equal(clock.pending, 0)
})

t.test('whatever bytes come first, in whatever pieces, the connection ends and nothing else does', async (t) => {
  const { node, stranger, turns, close, clock } = await world([idA, idB])
  const good = record(idBytes(idA), concat(node(idA).channels.get(idB)!.sealHello(bootId)))
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 600 }).map((bytes) => concat([recordLength([bytes]), bytes])),
    fc.uint8Array({ minLength: 5, maxLength: 600 }).filter((bytes) => bytes[0]! > 0),
    fc.tuple(fc.integer({ min: 4, max: good.length - 1 }), fc.integer({ min: 1, max: 255 })).map(([at, flip]) => {
      const changed = Uint8Array.from(good)
      changed[at]! ^= flip
      return changed
    }),
  )
  await fc.assert(
    fc.asyncProperty(bytes, fc.integer({ min: 1, max: 50 }), async (bytes, piece) => {
      const stream = await stranger(idB)
      for (let at = 0; at < bytes.length && !stream.destroyed; at += piece) stream.write(bytes.subarray(at, at + piece))
      await turns(3)
      return stream.destroyed && !node(idB).links.isUp(idA)
    }),
    { numRuns: 60 },
  )
  await stranger(idB, good)
  t.ok(node(idB).links.isUp(idA))
  await close()
  t.equal(clock.pending, 0)
})

t.test('who says nothing is sent away after two seconds, on both sides', async (t) => {
  const { node, stranger, clock, turns, network, close } = await world([idA, idB])
  const silent = await stranger(idB)
  const slow = await stranger(idB, Uint8Array.of(0, 0, 0, 100, 1, 2, 3))
  clock.step(helloWithinMs - 1)
  t.notOk(silent.destroyed || slow.destroyed)
  clock.step(1)
  await turns()
  t.ok(silent.destroyed && slow.destroyed)
  t.strictSame(node(idB).refused, [
    ['timed-out', undefined],
    ['timed-out', undefined],
  ])
  const accepted: Duplex[] = []
  network.listen('mute', (stream) => accepted.push(stream))
  node(idA).links.dial(idB, [{ host: 'mute', port: 1 }])
  await turns()
  clock.step(helloWithinMs)
  await turns()
  t.ok(accepted[0]!.destroyed)
  t.strictSame(node(idA).refused, [['timed-out', idB]])
  t.strictSame(node(idA).failures, [1])
  await close()
})

t.test('strangers are counted by origin and in all, and room is made again', async (t) => {
  const { node, stranger, clock, turns, close } = await world([idA, idB])
  const b = node(idB)
  for (let i = 0; i < maxStrangersPerOrigin; i++) t.notOk((await stranger(idB, undefined, 'one')).destroyed)
  t.ok((await stranger(idB, undefined, 'one')).destroyed)
  t.strictSame(b.refused.splice(0), [['over-limit', undefined]])
  for (let i = maxStrangersPerOrigin; i < maxStrangers; i++) {
    t.notOk((await stranger(idB, undefined, `host-${i}`)).destroyed)
  }
  t.ok((await stranger(idB, undefined, 'last')).destroyed)
  t.strictSame(b.refused.splice(0), [['over-limit', undefined]])
  clock.step(helloWithinMs)
  await turns()
  node(idA).links.dial(idB, address(idB))
  await turns()
  t.ok(b.links.isUp(idA))
  t.notOk((await stranger(idB, undefined, idA)).destroyed, 'a peer that is up is no stranger')
  await close()
})

t.test('one frame that does not open ends the connection, and the next one heals it', async (t) => {
  const { node, turns, pass, stranger, close } = await world([idA, idB])
  const [a, b] = [node(idA), node(idB)]
  const taken = await stranger(idB, record(idBytes(idA), concat(a.channels.get(idB)!.sealHello(bootId))))
  const forged = concat(a.keyrings.get(idB)!.seal(1, encodeActivation(activation(0))))
  forged[forged.length - 1]! ^= 1
  taken.write(record(forged))
  await turns()
  t.ok(taken.destroyed)
  t.strictSame(b.refused.splice(0), [['forged', idA]])
  t.strictSame(b.changes, [true, false])
  a.links.dial(idB, address(idB))
  a.channels.get(idB)!.offer(activation(7))
  await pass(100)
  t.equal(b.arrivals[0]!.activation.request, 7)
  await close()
})

t.test('a frame that opens but is not wanted is refused, and the connection stays', async (t) => {
  const { node, turns, close } = await world([idA, idB])
  const [a, b] = [node(idA), node(idB)]
  a.links.dial(idB, address(idB))
  await turns()
  b.unwanted = new Refusal('not-allowed', 'of another plan')
  a.channels.get(idB)!.offer(activation(0))
  await turns()
  b.unwanted = undefined
  a.channels.get(idB)!.offer(activation(1))
  await turns()
  t.strictSame(b.refused, [['not-allowed', idA]])
  t.strictSame(b.changes, [true])
  t.equal(b.arrivals.length, 1)
  await close()
})

t.test('two that dial each other end with one connection, the same for both', async (t) => {
  for (const delayed of [0, 1, 2, 3, 4, 5, 6]) {
    const { node, turns, pass, close, clock } = await world([idA, idB])
    const [a, b] = [node(idA), node(idB)]
    a.links.dial(idB, address(idB))
    await turns(delayed)
    b.links.dial(idA, address(idA))
    await pass(500)
    t.ok(a.links.isUp(idB) && b.links.isUp(idA), `dialled ${delayed} turns later`)
    const changes = [a.changes.length, b.changes.length]
    a.channels.get(idB)!.offer(activation(1))
    b.channels.get(idA)!.offer(activation(2))
    await pass(10_000)
    t.strictSame([a.changes.length, b.changes.length], changes, 'it is the same after 10 s')
    t.equal(a.arrivals.length, 1)
    t.equal(b.arrivals.length, 1)
    await close()
    t.equal(clock.pending, 0)
  }
})

t.test('under new keys the connection is made anew', async (t) => {
  const { node, give, turns, pass, close, network } = await world([idA, idB])
  const [a, b] = [node(idA), node(idB)]
  a.links.dial(idB, address(idB))
  await turns()
  let dialled = 0
  const dial = network.dial.bind(network)
  network.dial = (from, to) => {
    dialled++
    return dial(from, to)
  }
  give(b, idA, 1) // B restarted: A hears of it later
  await pass(100)
  const before = dialled
  give(a, idB, 1)
  await pass(400)
  t.ok(dialled > before)
  t.ok(a.links.isUp(idB) && b.links.isUp(idA))
  a.channels.get(idB)!.offer(activation(3))
  await turns()
  t.equal(b.arrivals[0]!.activation.request, 3)
  await close()
})

t.test('without keys nothing is said, and dialling goes on until there are some', async (t) => {
  const { node, give, pass, close } = await world([idA, idB], false)
  const [a, b] = [node(idA), node(idB)]
  a.links.dial(idB, address(idB))
  await pass(300)
  t.notOk(a.links.isUp(idB))
  give(a, idB, 0)
  give(b, idA, 0)
  await pass(2000)
  t.ok(a.links.isUp(idB))
  await close()
})

t.test(
  'a peer that does not answer is dialled with growing pauses, at each of its addresses, until hung up',
  async (t) => {
    const { node, clock, pass, network, turns, close } = await world([idA, idB])
    const a = node(idA)
    network.cut(idA, idB)
    a.links.dial(idB, [...address('d00'), ...address(idB)])
    const atMs: number[] = []
    let seen = 0
    for (let ms = 0; ms < 30_000; ms += 25) {
      await pass(25)
      if (a.failures.length > seen) atMs.push(ms)
      seen = a.failures.length
    }
    const pauses = atMs.slice(1).map((ms, i) => ms - atMs[i]!)
    t.strictSame(pauses.slice(0, 6), [50, 100, 200, 400, 800, 1600])
    t.ok(pauses.slice(7).every((pause) => pause === maxRedialAfterMs))
    network.mend(idA, idB)
    await pass(2 * maxRedialAfterMs)
    t.ok(a.links.isUp(idB))
    a.links.hangUp(idB)
    await turns()
    const failures = a.failures.length
    await pass(2 * maxRedialAfterMs)
    t.notOk(a.links.isUp(idB))
    t.equal(a.failures.length, failures)
    t.equal(clock.pending, 0)
    await close()
  },
)

t.test('a link that the peer made and that ends is dialled again by whoever knows an address', async (t) => {
  const { node, pass, turns, network, close } = await world([idA, idB])
  const [a, b] = [node(idA), node(idB)]
  b.links.dial(idA, address(idA))
  await turns()
  a.links.dial(idB, address(idB)) // up already: nothing to do now
  await turns()
  t.strictSame(a.changes, [true])
  b.links.hangUp(idA)
  await pass(500)
  t.ok(a.links.isUp(idB) && b.links.isUp(idA))
  t.strictSame(b.changes, [true, false, true])
  network.drop(idB)
  await pass(500)
  t.ok(a.links.isUp(idB))
  await close()
})

t.test('a connection that ends as soon as it is up is not made again ever faster', async (t) => {
  const { node, pass, close } = await world([idA, idB])
  const [a, b] = [node(idA), node(idB)]
  a.links.dial(idB, address(idB))
  let ups = 0
  for (let ms = 0; ms < 20_000; ms += 25) {
    await pass(25)
    if (!b.links.isUp(idA)) continue
    ups++
    b.links.hangUp(idA)
  }
  t.ok(ups > 5 && ups < 15, `${ups} times in 20 s`)
  t.ok(a.failures.at(-1)! > 5)
  await close()
})
