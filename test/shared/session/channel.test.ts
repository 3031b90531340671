import * as fc from 'fast-check'
import t from 'tap'
import { concat } from '#shared/bytes.js'
import { SteppedClock } from '#shared/clock.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { Refusal } from '#shared/errors.js'
import { idBytes, type DeviceId, type FleetId } from '#shared/ids.js'
import { controlType, encodeControl, type Control } from '#shared/protocol/control.js'
import { encodeActivation, type Activation } from '#shared/protocol/tensors.js'
import { seededRandom } from '#shared/random.js'
import { Channel, flowDelayMs, type Arrival, type Carrier } from '#shared/session/channel.js'
import { Keyring } from '#shared/session/keyring.js'
import type { RequestKey } from '#shared/session/requests.js'
import { WatchedClock } from '#test/support/pipeline-world.js'

const fleet: FleetId = 'f0102030405060708'
const idA: DeviceId = 'd000000000000000000000000000000aa'
const idB: DeviceId = 'd000000000000000000000000000000bb'
const run = new Uint8Array(8)

function activation(request: number, more: Partial<Activation> = {}): Activation {
  const data = Uint8Array.of(request, 0, 0, 0)
  const tensors = [{ name: 'x', dtype: 'uint8', shape: [4], data }]
  return { plan: 1, client: idA, run, request, low: 0, stage: 0, hops: [], tensors, ...more }
}

interface End {
  readonly id: DeviceId
  readonly keyring: Keyring
  readonly channel: Channel
  readonly arrivals: Arrival[]
  readonly settled: RequestKey[]
  /** What was sent and has not been taken off. */
  readonly outbox: Uint8Array[]
  refuse: Refusal | undefined
}

/** Two channels with one secret, each writing to a list that the test carries over. */
function ends(options: { window?: { frames: number; bytes: number }; reliable?: boolean; clock?: SteppedClock } = {}) {
  const { window = { frames: 8, bytes: 1 << 20 }, reliable = true, clock = new SteppedClock() } = options
  const random = seededRandom('channel')
  const alerts = { count: 0 }
  const endOf = (id: DeviceId, peer: DeviceId, Ring = Keyring): End => {
    const keyring = new Ring({ fleet, self: id, peer, aeads: nodeAeads, clock, onAlert: () => alerts.count++ })
    const end: End = {
      id,
      keyring,
      arrivals: [],
      settled: [],
      outbox: [],
      refuse: undefined,
      channel: new Channel({
        peer,
        keyring,
        clock,
        window,
        events: {
          onActivation: (arrival) => {
            if (end.refuse !== undefined) throw end.refuse
            end.arrivals.push(arrival)
          },
          onSettled: (keys) => end.settled.push(...keys),
        },
      }),
    }
    return end
  }
  const carrierOf = ({ outbox }: End): Carrier => {
    const send = (sealed: readonly Uint8Array[]): void => void outbox.push(concat(sealed))
    return { kind: reliable ? 'direct' : 'relay', reliable, isReady: true, sendFrame: send, sendControl: send }
  }
  const a = endOf(idA, idB)
  const b = endOf(idB, idA)
  const roots = new Map<number, Uint8Array>()
  return {
    a,
    b,
    endOf,
    carrierOf,
    get alerts() {
      return alerts.count
    },
    /** Gives an end the keys of a session. */
    key(end: End, ordinal = 0): void {
      const prk = roots.get(ordinal) ?? random(32)
      roots.set(ordinal, prk)
      end.keyring.add({ peer: end === a ? idB : idA, epoch: 1, ordinal, alg: 1, prk })
      end.keyring.use(1)
      end.channel.renewed({ epoch: 1, ordinal })
    },
    /** Both ends with keys and carriers, and their first words exchanged. */
    async connected(): Promise<void> {
      this.key(a)
      this.key(b)
      a.channel.attach(carrierOf(a))
      b.channel.attach(carrierOf(b))
      await this.exchange()
    },
    /** Waits for what is told with delay, and carries all that was sent to the other end, until there is nothing. */
    async exchange(): Promise<void> {
      clock.step(flowDelayMs)
      for (let round = 0; round < 20; round++) {
        clock.step(1) // what is not urgent is told within 10 ms
        await Promise.resolve()
        for (const [from, to] of [
          [a, b],
          [b, a],
        ] as const) {
          for (const frame of from.outbox.splice(0)) to.channel.receive(frame)
        }
      }
    },
  }
}

t.test('what is offered arrives, is kept until it is settled, and settled only then', async (t) => {
  const pair = ends()
  await pair.connected()
  pair.a.channel.offer(activation(0))
  await pair.exchange()
  t.equal(pair.b.arrivals[0]!.activation.request, 0)
  t.equal(pair.b.arrivals[0]!.from, idA)
  pair.b.arrivals[0]!.took()
  await pair.exchange()
  t.equal(pair.a.channel.held, 1)
  pair.b.channel.settle(activation(0))
  await pair.exchange()
  t.equal(pair.a.channel.held, 0)
  t.strictSame(
    pair.a.settled.map(({ request }) => request),
    [0],
  )
})

t.test('news for the peer waits for more, but not when the peer may be out of room', async (t) => {
  const pair = ends({ window: { frames: 8, bytes: 1 << 20 } })
  await pair.connected()
  for (let request = 0; request < 4; request++) pair.a.channel.offer(activation(request))
  await pair.exchange()
  pair.b.arrivals[0]!.took()
  pair.b.channel.settle(activation(0))
  await Promise.resolve()
  t.equal(pair.b.outbox.length, 0, 'one of eight frames has left the queue')
  pair.b.arrivals[1]!.took()
  await Promise.resolve()
  t.equal(pair.b.outbox.length, 1, 'a quarter of the window is told at once, and all else with it')
  await pair.exchange()
  t.equal(pair.a.channel.held, 3)
})

t.test('the window is counted anew in a new session: late words of the earlier one release nothing', async (t) => {
  const pair = ends({ window: { frames: 2, bytes: 1 << 20 } })
  await pair.connected()
  for (let request = 0; request < 10; request++) {
    pair.a.channel.offer(activation(request))
    await pair.exchange()
    pair.b.arrivals[request]!.took()
    pair.b.channel.settle(activation(request))
    await pair.exchange()
  }
  // B has the new keys first; A still sends under the old ones.
  pair.key(pair.b, 1)
  pair.a.channel.offer(activation(10))
  await Promise.resolve()
  const late = pair.a.outbox.splice(0)
  pair.b.outbox.length = 0 // A could not open it
  for (const frame of late) pair.b.channel.receive(frame)
  t.equal(pair.b.arrivals.length, 11, 'what was sealed before is still taken')
  pair.key(pair.a, 1)
  await pair.exchange()
  for (let request = 11; request < 20; request++) pair.a.channel.offer(activation(request))
  await pair.exchange()
  const queued = pair.b.arrivals.slice(10)
  t.equal(queued.length, 2, 'the late one and its copy: nothing is beyond the window')
})

t.test('a session that is told again changes nothing', async (t) => {
  const pair = ends()
  await pair.connected()
  pair.a.channel.offer(activation(0))
  await pair.exchange()
  pair.a.channel.renewed({ epoch: 1, ordinal: 0 })
  await pair.exchange()
  t.equal(pair.b.arrivals.length, 1)
  t.equal(pair.a.channel.traffic.resentFrames, 0)
})

t.test('a frame that is not wanted is no fault of the link: it is returned, and takes no room', async (t) => {
  const pair = ends({ window: { frames: 1, bytes: 1 << 20 } })
  await pair.connected()
  pair.b.refuse = new Refusal('not-allowed', 'not here')
  pair.a.channel.offer(activation(0))
  await Promise.resolve()
  const [frame] = pair.a.outbox.splice(0)
  t.equal(pair.b.channel.receive(frame!), pair.b.refuse)
  pair.b.refuse = undefined
  await pair.exchange()
  pair.a.channel.offer(activation(1))
  await pair.exchange()
  t.equal(pair.b.arrivals.length, 1, 'the window is free')
})

t.test('a bug in whoever takes activations is thrown, not refused', async (t) => {
  const pair = ends()
  await pair.connected()
  pair.a.channel.offer(activation(0))
  pair.b.arrivals.push = () => {
    throw new TypeError('a bug')
  }
  t.throws(() => pair.b.channel.receive(pair.a.outbox[0]!), TypeError)
})

t.test('an activation that no frame can carry is refused when it is offered, and blocks nothing', async (t) => {
  const pair = ends()
  await pair.connected()
  const tooLarge = [{ name: 'x', dtype: 'uint8', shape: [65 << 20], data: new Uint8Array(65 << 20) }]
  t.throws(() => pair.a.channel.offer(activation(0, { tensors: tooLarge })), { code: 'over-limit' })
  const wrong = [{ name: 'x', dtype: 'uint8', shape: [3], data: new Uint8Array(4) }]
  t.throws(() => pair.a.channel.offer(activation(1, { tensors: wrong })), { code: 'bad-tensor' })
  t.equal(pair.a.channel.held, 0)
  pair.a.channel.offer(activation(2))
  await pair.exchange()
  t.equal(pair.b.arrivals[0]!.activation.request, 2)
})

t.test('a key that is nearly spent is followed by the next one while frames flow', async (t) => {
  const clock = new SteppedClock()
  const pair = ends({ clock })
  let isSpent = false
  /** As after 15 GiB. */
  class SpentKeyring extends Keyring {
    override get needsRatchet(): boolean {
      return isSpent
    }
    override ratchet() {
      isSpent = false
      return super.ratchet()
    }
  }
  const spent = pair.endOf(idA, idB, SpentKeyring)
  Object.assign(pair.a, spent)
  pair.key(pair.a)
  pair.key(pair.b)
  pair.a.channel.attach(pair.carrierOf(pair.a))
  pair.b.channel.attach(pair.carrierOf(pair.b))
  await pair.exchange()
  isSpent = true
  pair.a.channel.offer(activation(0))
  await pair.exchange()
  clock.step(3000) // the old keys are gone
  pair.b.channel.settle(activation(0))
  await pair.exchange()
  t.notOk(isSpent)
  t.equal(pair.b.arrivals.length, 1)
  t.equal(pair.a.channel.held, 0, 'and the way back is under the new one as well')
  for (const end of [pair.a, pair.b]) t.equal(end.outbox.length, 0)
})

t.test('more is settled than one message holds: it is told in several of at most 8 KiB', async (t) => {
  const pair = ends({ window: { frames: 4096, bytes: 1 << 26 } })
  await pair.connected()
  const runs = Array.from({ length: 200 }, (_, i) => Uint8Array.of(0, 0, 0, 0, 0, 0, 1, i))
  const offered = runs.flatMap((run) => Array.from({ length: 6 }, (_, i) => activation(2 ** 40 + i, { run })))
  for (const one of offered) pair.a.channel.offer(one)
  await pair.exchange()
  for (const { activation, took } of pair.b.arrivals) {
    took()
    pair.b.channel.settle(activation)
    pair.b.channel.settle(activation) // twice is once
  }
  await Promise.resolve()
  const sizes = pair.b.outbox.map((frame) => frame.length)
  t.ok(
    sizes.length > 1 && Math.max(...sizes) <= 8192,
    `${sizes.length} messages of at most ${Math.max(...sizes)} bytes`,
  )
  await pair.exchange()
  t.equal(pair.a.channel.held, 0)
  t.equal(pair.a.settled.length, offered.length)
})

t.test('a peer that takes no notice of the window is refused, and what it sent before is kept', async (t) => {
  const pair = ends({ window: { frames: 2, bytes: 1 << 20 } })
  await pair.connected()
  const frames = Array.from({ length: 5 }, (_, i) => concat(pair.a.keyring.seal(1, encodeActivation(activation(i)))))
  for (const frame of frames.slice(0, 4)) t.equal(pair.b.channel.receive(frame), undefined)
  t.throws(() => pair.b.channel.receive(frames[4]!), { code: 'over-limit' })
  t.equal(pair.b.arrivals.length, 4)
})

t.test('peers say to each other what peers say: other control messages and purposes are refused', async (t) => {
  const pair = ends()
  await pair.connected()
  const messages: Control[] = [
    [controlType.seed, 1, 1, new Uint8Array(32), []],
    [controlType.dek, 'seg', 1, new Uint8Array(32), new Uint8Array(32)],
    [controlType.root, idBytes(idA), run, run, 1, 0, 1, new Uint8Array(32), new Uint8Array(32)],
    [controlType.relay, 'host', 1, new Uint8Array(32)],
  ]
  for (const message of messages) {
    const frame = concat(pair.a.keyring.seal(2, [encodeControl(message)]))
    t.throws(() => pair.b.channel.receive(frame), { code: 'not-allowed' }, `type ${message[0]}`)
  }
  t.throws(() => pair.b.channel.receive(concat(pair.a.keyring.seal(3, [run]))), { code: 'not-allowed' })
  t.throws(() => pair.b.channel.receive(concat(pair.a.keyring.seal(2, [run]))), { code: 'bad-message' })
  t.throws(() => pair.b.channel.receive(concat(pair.a.keyring.seal(1, [run]))), { code: 'bad-message' })
  t.strictSame(pair.b.arrivals, [])
})

t.test('probes are answered while the link is measured, and refused without harm elsewhere', async (t) => {
  const pair = ends()
  const { a, b } = pair
  const exchange = () => pair.exchange()
  t.equal(a.channel.probe(0, new Uint8Array(0)), undefined, 'there is no way yet')
  await pair.connected()
  const echoes: [number, number][] = []
  a.channel.prober = { answers: false, onEcho: (probe, openNs) => echoes.push([probe, openNs]) }
  t.ok(a.channel.probe(1, new Uint8Array(5000))! >= 0)
  const refused = b.channel.receive(a.outbox.shift()!)
  t.match(refused, { code: 'not-allowed' }, 'told, and no fault of the link')
  await exchange()
  t.strictSame(echoes, [])
  b.channel.prober = { answers: true, onEcho: () => t.fail('nobody asked here') }
  a.channel.probe(2, new Uint8Array(5000))
  await exchange()
  t.equal(echoes.length, 1)
  t.equal(echoes[0]![0], 2)
  t.ok(echoes[0]![1] >= 0)
  b.channel.probe(3, new Uint8Array(1))
  await exchange()
  t.equal(echoes.length, 1, 'who asks does not answer for it')
  a.channel.offer(activation(0))
  await exchange()
  t.equal(b.arrivals.length, 1, 'activations go on')
})

t.test('whatever bytes come, only a refusal is thrown, and what comes after them is taken', async (t) => {
  const pair = ends()
  await pair.connected()
  const good = concat(pair.a.keyring.seal(1, encodeActivation(activation(0))))
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, flip]) => {
      const changed = Uint8Array.from(good)
      changed[at]! ^= flip
      return changed
    }),
  )
  fc.assert(
    fc.property(bytes, (bytes) => {
      try {
        pair.b.channel.receive(bytes)
        return false
      } catch (error) {
        return error instanceof Refusal && !pair.b.channel.isHello(bytes)
      }
    }),
  )
  pair.b.channel.receive(good)
  t.equal(pair.b.arrivals.length, 1)
  t.throws(() => pair.b.channel.receive(good), { code: 'replayed' })
})

t.test('a hello is good once, for its peer, under the keys in use', async (t) => {
  const pair = ends()
  t.throws(() => pair.a.channel.sealHello(run), { code: 'stale-epoch' }, 'no keys yet')
  pair.key(pair.a)
  const hello = concat(pair.a.channel.sealHello(run))
  t.notOk(pair.b.channel.isHello(hello), 'the peer has no keys yet')
  pair.key(pair.b)
  t.notOk(pair.a.channel.isHello(hello), 'sent back')
  t.ok(pair.b.channel.isHello(hello))
  t.notOk(pair.b.channel.isHello(hello), 'again')
  t.notOk(pair.b.channel.isHello(concat(pair.a.keyring.seal(1, encodeActivation(activation(0))))))
  t.notOk(
    pair.b.channel.isHello(
      concat(pair.a.keyring.seal(2, [encodeControl([controlType.ratchet, new Uint8Array(16), 1])])),
    ),
  )
})

t.test('hellos that do not open count against no key, frames that do not open do', async (t) => {
  const pair = ends()
  await pair.connected()
  const forged = concat(pair.a.channel.sealHello(run))
  forged[forged.length - 1]! ^= 1
  for (let i = 0; i < 64; i++) t.notOk(pair.b.channel.isHello(forged))
  t.equal(pair.alerts, 0)
  for (let i = 0; i < 64; i++) t.throws(() => pair.b.channel.receive(forged), { code: 'forged' })
  t.equal(pair.alerts, 1)
})

t.test(
  'on a link that loses frames a copy goes after a second, and no timer is left when nothing is held',
  async (t) => {
    const clock = new WatchedClock()
    const pair = ends({ reliable: false, clock })
    await pair.connected()
    t.equal(clock.pending, 0)
    pair.a.channel.offer(activation(0))
    await Promise.resolve()
    pair.a.outbox.length = 0 // lost
    t.equal(clock.pending, 1)
    clock.step(900)
    t.equal(pair.a.outbox.length, 0)
    clock.step(200)
    t.equal(pair.a.outbox.length, 1)
    t.equal(pair.a.channel.traffic.resentFrames, 1)
    await pair.exchange()
    pair.b.channel.settle(activation(0))
    await pair.exchange()
    clock.step(1000)
    t.equal(clock.pending, 0)
  },
)

t.test('a channel that is closed says nothing more, whoever still holds it', async (t) => {
  const clock = new WatchedClock()
  const pair = ends({ reliable: false, clock })
  await pair.connected()
  pair.a.channel.offer(activation(0))
  await pair.exchange()
  pair.a.channel.offer(activation(1))
  pair.a.outbox.length = 0
  t.strictSame(
    pair.a.channel.close().map(({ request }) => request),
    [0, 1],
  )
  pair.key(pair.a, 1)
  pair.a.channel.attach(pair.carrierOf(pair.a))
  pair.a.channel.offer(activation(2))
  pair.a.channel.settle(activation(3))
  pair.a.channel.pump()
  await Promise.resolve()
  clock.step(5000)
  t.strictSame(pair.a.outbox, [])
  t.equal(pair.a.channel.link, 'none')
  t.equal(pair.a.channel.held, 0)
  t.equal(clock.pending, 0)
})

t.test('a carrier that is no longer in use cannot detach the one that is', async (t) => {
  const pair = ends()
  const [old, present] = [pair.carrierOf(pair.a), pair.carrierOf(pair.a)]
  pair.a.channel.attach(old)
  pair.a.channel.attach(present)
  pair.a.channel.detach(old)
  t.equal(pair.a.channel.link, 'direct')
  pair.a.channel.detach(present)
  t.equal(pair.a.channel.link, 'none')
})
