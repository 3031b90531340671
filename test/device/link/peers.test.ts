import t from 'tap'
import { Peers, relayAfterMs, type LinkMode } from '#device/link/peers.js'
import type { RelayLink } from '#device/link/relay.js'
import { concat } from '#shared/bytes.js'
import { nodeAeads, type Aeads } from '#shared/crypto/aead.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import type { Activation } from '#shared/protocol/tensors.js'
import { seededRandom } from '#shared/random.js'
import type { LinkKind } from '#shared/session/channel.js'
import type { PairMaterial } from '#shared/session/pair.js'
import { MemoryNetwork } from '#test/support/memory-network.js'
import { WatchedClock } from '#test/support/pipeline-world.js'
import { recordingAeads } from '#test/support/recording-aead.js'

const fleet: FleetId = 'f0102030405060708'
const idA: DeviceId = 'd000000000000000000000000000000aa'
const idB: DeviceId = 'd000000000000000000000000000000bb'
const stranger: DeviceId = 'd000000000000000000000000000000ee'
const run = new Uint8Array(8)

function activation(request: number): Activation {
  const tensors = [{ name: 'x', dtype: 'uint8', shape: [1], data: Uint8Array.of(request) }]
  return { plan: 1, client: idA, run, request, low: 0, stage: 0, hops: [], tensors }
}

type Listener = (from: DeviceId, bytes: Uint8Array) => void

/** A relay in memory: takes frames for whoever is on it, when the test says that it is there. */
class MemoryRelay {
  readonly #ends = new Map<DeviceId, { frame: Listener[]; ok: Listener[]; online: (() => void)[] }>()
  isOnline = true

  link(self: DeviceId): RelayLink {
    const end = { frame: [] as Listener[], ok: [] as Listener[], online: [] as (() => void)[] }
    this.#ends.set(self, end)
    const give = (to: DeviceId, kind: 'frame' | 'ok', bytes: Uint8Array): Promise<boolean> => {
      const { isOnline } = this
      if (isOnline) setImmediate(() => this.#ends.get(to)?.[kind].forEach((listener) => listener(self, bytes)))
      return Promise.resolve(isOnline)
    }
    const online = (): boolean => this.isOnline
    return {
      send: (to, parts) => give(to, 'frame', concat(parts)),
      sendOk: (to, bytes) => give(to, 'ok', bytes),
      onFrame: (listener) => void end.frame.push(listener),
      onOk: (listener) => void end.ok.push(listener),
      get online() {
        return online()
      },
      onOnline: (listener) => void end.online.push(listener),
      onOffline: () => {},
      renew: () => {},
      lostFrames: 0,
      close: () => Promise.resolve(),
    }
  }

  comeBack(): void {
    this.isOnline = true
    for (const { online } of this.#ends.values()) for (const listener of online) listener()
  }

  /** A frame from somebody whom nobody knows. */
  forge(to: DeviceId, bytes: Uint8Array): void {
    this.#ends.get(to)!.frame.forEach((listener) => listener(stranger, bytes))
  }
}

interface Node {
  readonly id: DeviceId
  readonly peers: Peers
  readonly arrivals: number[]
  readonly refused: string[]
  readonly links: (LinkKind | 'none')[]
  give: (material: PairMaterial) => void
}

async function pairOf(modes: readonly [LinkMode, LinkMode], aeads: Aeads = nodeAeads) {
  const clock = new WatchedClock()
  const network = new MemoryNetwork()
  const relay = new MemoryRelay()
  const random = seededRandom('peers')
  const nodeOf = (id: DeviceId, mode: LinkMode): Node => {
    const takers = new Set<(material: PairMaterial) => void>()
    let newest: PairMaterial | undefined
    const node: Node = {
      id,
      arrivals: [],
      refused: [],
      links: [],
      give: (material) => {
        newest = material
        for (const take of takers) take(material)
      },
      peers: new Peers({
        fleet,
        self: id,
        bootId: run,
        clock,
        aeads,
        mode,
        transport: network.transport(id),
        keySource: {
          subscribe: (_, take) => {
            takers.add(take)
            if (newest !== undefined) take(newest)
            return () => takers.delete(take)
          },
        },
        window: { frames: 8, bytes: 1 << 20 },
        events: {
          onActivation: ({ activation, took, from }) => {
            node.arrivals.push(activation.request)
            took()
            node.peers.channel(from).settle(activation)
          },
          onSettled: () => {},
        },
        onRefused: ({ code }) => node.refused.push(code),
        onLink: (_, link) => node.links.push(link),
      }),
    }
    return node
  }
  const a = nodeOf(idA, modes[0])
  const b = nodeOf(idB, modes[1])
  const addresses = new Map([
    [idA, await a.peers.listen()],
    [idB, await b.peers.listen()],
  ])
  const meet = (): void => {
    a.peers.set(new Set([idB]), new Set([idB]))
    b.peers.set(new Set([idA]), new Set())
    a.peers.reachableAt(idB, addresses.get(idB)!)
    b.peers.reachableAt(idA, addresses.get(idA)!)
  }
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 50) {
      clock.step(50)
      for (let turn = 0; turn < 6; turn++) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return {
    a,
    b,
    clock,
    network,
    relay,
    meet,
    pass,
    giveKeys: (ordinal = 0): void => {
      const prk = random(32)
      a.give({ peer: idB, epoch: 1, ordinal, alg: 1, prk })
      b.give({ peer: idA, epoch: 1, ordinal, alg: 1, prk })
    },
    close: async (): Promise<void> => {
      await a.peers.close()
      await b.peers.close()
      await pass(5000)
    },
  }
}

t.test('two that are peers again go on under their keys, and no nonce serves twice', async (t) => {
  const { aeads, seals } = recordingAeads()
  const { a, b, meet, giveKeys, pass, close } = await pairOf(['direct', 'direct'], aeads)
  giveKeys()
  for (let time = 0; time < 4; time++) {
    meet()
    await pass(200)
    a.peers.channel(idB).offer(activation(time))
    b.peers.channel(idA).offer(activation(time))
    await pass(200)
    t.strictSame([a.peers.channel(idB).held, b.peers.channel(idA).held], [0, 0])
    a.peers.set(new Set(), new Set())
    b.peers.set(new Set(), new Set())
    await pass(100)
  }
  t.strictSame(
    [a.arrivals, b.arrivals],
    [
      [0, 1, 2, 3],
      [0, 1, 2, 3],
    ],
  )
  t.ok(seals() > 16)
  await close()
})

t.test('where no direct link comes up, frames take the relay; when one does, they take that', async (t) => {
  const { a, b, clock, network, relay, meet, giveKeys, pass, close } = await pairOf(['auto', 'auto'])
  network.cut(idA, idB)
  a.peers.useRelay(relay.link(idA))
  b.peers.useRelay(relay.link(idB))
  meet()
  giveKeys()
  await pass(relayAfterMs + 100)
  t.strictSame([a.peers.channel(idB).link, b.peers.channel(idA).link], ['relay', 'relay'])
  a.peers.channel(idB).offer(activation(0))
  await pass(100)
  t.strictSame(b.arrivals, [0])
  network.mend(idA, idB)
  await pass(6000)
  t.strictSame([a.peers.channel(idB).link, b.peers.channel(idA).link], ['direct', 'direct'])
  network.cut(idA, idB)
  a.peers.channel(idB).offer(activation(1))
  await pass(500)
  t.strictSame(b.arrivals, [0, 1])
  t.strictSame(a.peers.channel(idB).link, 'relay')
  await close()
  t.equal(clock.pending, 0)
})

t.test('a relay that comes late is taken by those who waited for it', async (t) => {
  const { a, b, network, relay, meet, giveKeys, pass, close } = await pairOf(['auto', 'auto'])
  network.cut(idA, idB)
  meet()
  giveKeys()
  await pass(5000)
  t.strictSame([a.peers.channel(idB).link, b.peers.channel(idA).link], ['none', 'none'])
  a.peers.useRelay(relay.link(idA))
  b.peers.useRelay(relay.link(idB))
  await pass(6000)
  t.strictSame([a.peers.channel(idB).link, b.peers.channel(idA).link], ['relay', 'relay'])
  await close()
})

t.test('one that takes no direct links is reached by the relay', async (t) => {
  const { a, b, relay, meet, giveKeys, pass, close } = await pairOf(['auto', 'relay'])
  a.peers.useRelay(relay.link(idA))
  b.peers.useRelay(relay.link(idB))
  meet()
  giveKeys()
  a.peers.channel(idB).offer(activation(0))
  b.peers.channel(idA).offer(activation(1))
  await pass(relayAfterMs + 200)
  t.strictSame([new Set(a.arrivals), new Set(b.arrivals)], [new Set([1]), new Set([0])])
  await close()
})

t.test('what a relay lost while it was away comes when it is back', async (t) => {
  const { a, b, relay, meet, giveKeys, pass, close } = await pairOf(['relay', 'relay'])
  a.peers.useRelay(relay.link(idA))
  b.peers.useRelay(relay.link(idB))
  meet()
  giveKeys()
  await pass(100)
  relay.isOnline = false
  for (let request = 0; request < 5; request++) a.peers.channel(idB).offer(activation(request))
  await pass(3000)
  t.equal(a.peers.channel(idB).traffic.sentFrames, 0, 'nothing is thrown after it')
  relay.comeBack()
  await pass(100)
  t.strictSame(b.arrivals, [0, 1, 2, 3, 4])
  t.equal(a.peers.channel(idB).held, 0)
  await close()
})

t.test('a relay whose sending fails loses a frame, no more', async (t) => {
  const { a, b, relay, meet, giveKeys, pass, close } = await pairOf(['relay', 'relay'])
  const link = relay.link(idA)
  let failures = 2
  const send = link.send.bind(link)
  link.send = (to, parts) => (failures-- > 0 ? Promise.reject(new Error('socket gone')) : send(to, parts))
  a.peers.useRelay(link)
  b.peers.useRelay(relay.link(idB))
  meet()
  giveKeys()
  a.peers.channel(idB).offer(activation(0))
  await pass(5000)
  t.strictSame(b.arrivals, [0])
  await close()
})

t.test('who leaves the plan leaves its unsettled requests behind, and is a stranger from then on', async (t) => {
  const { a, b, relay, meet, giveKeys, pass, close } = await pairOf(['relay', 'relay'])
  a.peers.useRelay(relay.link(idA))
  b.peers.useRelay(relay.link(idB))
  meet()
  giveKeys()
  await pass(100)
  relay.isOnline = false
  a.peers.channel(idB).offer(activation(3))
  t.strictSame(
    a.peers.set(new Set(), new Set()).flatMap(({ requests }) => requests.map(({ request }) => request)),
    [3],
  )
  t.throws(() => a.peers.channel(idB), { code: 'unknown-sender' })
  t.strictSame(a.peers.all(), [])
  relay.isOnline = true
  b.peers.channel(idA).offer(activation(4))
  relay.forge(idA, new Uint8Array(50))
  await pass(100)
  t.ok(a.refused.length >= 2 && a.refused.every((code) => code === 'unknown-sender'))
  t.strictSame(a.arrivals, [])
  await close()
})

t.test('closed in mid-stream nothing goes on, whatever still comes', async (t) => {
  for (const modes of [
    ['direct', 'direct'],
    ['auto', 'auto'],
    ['relay', 'relay'],
  ] as const) {
    const { a, b, clock, relay, meet, giveKeys, pass, close } = await pairOf(modes)
    a.peers.useRelay(relay.link(idA))
    b.peers.useRelay(relay.link(idB))
    meet()
    giveKeys()
    await pass(100)
    a.peers.channel(idB).offer(activation(0))
    await a.peers.close()
    await pass(3000)
    t.strictSame(a.peers.all(), [])
    await close()
    t.equal(clock.pending, 0, modes[0])
  }
})

t.test('keys of a new session are taken at once; told again they change nothing', async (t) => {
  const { a, b, meet, giveKeys, pass, close } = await pairOf(['direct', 'direct'])
  meet()
  t.strictSame(a.peers.withoutKeys(), [idB])
  giveKeys(0)
  await pass(200)
  t.strictSame(a.peers.withoutKeys(), [])
  giveKeys(1)
  await pass(500)
  a.peers.channel(idB).offer(activation(0))
  await pass(100)
  t.strictSame(b.arrivals, [0])
  t.strictSame(
    [...a.refused, ...b.refused].filter((code) => code === 'forged'),
    [],
  )
  await close()
})
