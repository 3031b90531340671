import * as fc from 'fast-check'
import t from 'tap'
import { memorySeeds } from '#broker/keys/seeds.js'
import { HubSessions, type BornMember } from '#broker/keys/sessions.js'
import { HubSession, type RelayAccess, type SegmentKey } from '#device/link/hub-session.js'
import { concat, equal, toHex } from '#shared/bytes.js'
import { SteppedClock } from '#shared/clock.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { newBoxKey } from '#shared/crypto/root-box.js'
import { hubPrk } from '#shared/crypto/schedule.js'
import { Refusal } from '#shared/errors.js'
import { newDeviceId, type DeviceId, type FleetId } from '#shared/ids.js'
import { controlType, encodeControl, type Control } from '#shared/protocol/control.js'
import { seededRandom } from '#shared/random.js'
import { Keyring } from '#shared/session/keyring.js'
import type { PairMaterial } from '#shared/session/pair.js'

const fleet: FleetId = 'f0102030405060708'
const random = seededRandom('hub-session')
const clock = new SteppedClock()
const hubId = newDeviceId(random)

const newHub = (epoch = 1): HubSessions =>
  new HubSessions({
    fleet,
    hub: { id: hubId, bootId: random(8) },
    epoch,
    alg: 1,
    seeds: memorySeeds(random),
    random,
    clock,
    aeads: nodeAeads,
  })

/** One process of a device, and what its hub session has said. */
function device(id: DeviceId = newDeviceId(random)) {
  const bootId = random(8)
  const keys: [peer: DeviceId, key: string][] = []
  const segments: SegmentKey[] = []
  const relays: RelayAccess[] = []
  const session = new HubSession({ fleet, self: id, bootId, clock, aeads: nodeAeads }, newBoxKey(), {
    onPeerKey: (peer, key) => keys.push([peer, toHex(key)]),
    onSegmentKey: (key) => segments.push(key),
    onRelay: (access) => relays.push(access),
  })
  const member: BornMember = { id, bootId, boxKey: session.boxKey.publicKey, key: random(32) }
  /** What came for the pair with a peer, with copies of the secrets. */
  const taken = (peer: DeviceId): PairMaterial[] => {
    const materials: PairMaterial[] = []
    session.subscribe(peer, (material) => materials.push({ ...material, prk: Uint8Array.from(material.prk) }))
    return materials
  }
  return { id, member, session, keys, segments, relays, taken }
}

/** Opens the session and gives the pair secrets for these peers, as the hub does when a member is born. */
function welcome(hub: HubSessions, to: ReturnType<typeof device>, peers: readonly ReturnType<typeof device>[]): void {
  to.session.opened(hubId, hub.open(to.member))
  to.session.receive(
    hub.sealSeeds(
      to.id,
      peers.map(({ id }) => id),
    ),
  )
  for (const peer of peers) to.session.receive(hub.sealPairRoot(to.member, peer.member))
}

t.test('both ends of a pair get one secret, each with the key of the other, and a third gets another', (t) => {
  const hub = newHub()
  const [a, b, c] = [device(), device(), device()]
  for (const [one, others] of [
    [a, [b, c]],
    [b, [a]],
    [c, [a]],
  ] as const)
    welcome(hub, one, others)
  const [ab] = a.taken(b.id)
  const [ba] = b.taken(a.id)
  const [ac] = a.taken(c.id)
  t.ok(equal(ab!.prk, ba!.prk))
  t.strictSame([ab!.epoch, ab!.ordinal, ab!.alg], [1, 0, 1])
  t.notOk(equal(ab!.prk, ac!.prk))
  t.strictSame(a.keys, [
    [b.id, toHex(b.member.key)],
    [c.id, toHex(c.member.key)],
  ])
  t.end()
})

t.test('the key of a segment and the way to the relay come through the session as they were given', (t) => {
  const hub = newHub()
  const a = device()
  welcome(hub, a, [])
  const segment = { name: 'digits/seg-0', version: 4, dek: random(32), fileHash: random(32) }
  const token = random(32)
  a.session.receive(hub.sealDek(a.id, segment))
  a.session.receive(hub.sealRelay(a.id, '', 1884, token))
  t.strictSame(a.segments, [segment])
  t.strictSame(a.relays, [{ host: '', port: 1884, token }])
  t.end()
})

t.test('what is told again changes nothing, and a frame that comes again is refused', (t) => {
  const hub = newHub()
  const [a, b] = [device(), device()]
  welcome(hub, a, [b])
  const materials = a.taken(b.id)
  const again = hub.sealPairRoot(a.member, b.member)
  t.strictSame(hub.open(a.member), hub.open(a.member))
  a.session.opened(hubId, hub.open(a.member))
  a.session.receive(again)
  t.equal(materials.length, 1)
  t.equal(a.keys.length, 1)
  t.throws(() => a.session.receive(again), { code: 'replayed' })
  t.end()
})

t.test('when the peer restarts, the new secret is given, and an older one that comes late is not', (t) => {
  const hub = newHub()
  const [a, b] = [device(), device()]
  welcome(hub, a, [b])
  const materials = a.taken(b.id)
  const late = hub.sealPairRoot(a.member, b.member)
  const [second, third] = [device(b.id), device(b.id)]
  const overtaken = hub.sealPairRoot(a.member, second.member)
  a.session.receive(hub.sealPairRoot(a.member, third.member))
  a.session.receive(overtaken)
  a.session.receive(late)
  t.strictSame(
    materials.map(({ ordinal }) => ordinal),
    [0, 2],
  )
  t.strictSame(
    a.taken(b.id).map(({ ordinal }) => ordinal),
    [2],
    'who subscribes later gets the newest',
  )
  t.equal(new Set(materials.map(({ prk }) => toHex(prk))).size, 2)
  t.end()
})

t.test('what is for another boot, another device or another hub session does not open', (t) => {
  const hub = newHub()
  const [a, b] = [device(), device()]
  const opening = hub.open(a.member)
  const twin = device(a.id)
  twin.session.opened(hubId, opening) // said to its earlier process: passed over
  t.throws(() => twin.session.receive(hub.sealRelay(a.id, 'h', 1, random(32))), { code: 'stale-epoch' })
  t.throws(() => b.session.opened(hubId, { ...opening, bootId: b.member.bootId }), { code: 'forged' })
  t.throws(() => a.session.opened(hubId, { ...opening, ordinal: 1 }), { code: 'forged' })
  t.throws(() => a.session.opened(hubId, { ...opening, epoch: 2 }), { code: 'forged' })
  a.session.opened(hubId, opening)
  welcome(hub, b, [])
  t.throws(() => a.session.receive(hub.sealRelay(b.id, 'h', 1, random(32))), { code: 'forged' })
  t.strictSame(a.relays, [])
  t.end()
})

t.test('a root for another boot of ours is passed over', (t) => {
  const hub = newHub()
  const [a, b] = [device(), device()]
  welcome(hub, a, [])
  a.session.receive(hub.sealSeeds(a.id, [b.id]))
  a.session.receive(hub.sealPairRoot({ ...a.member, bootId: random(8) }, b.member))
  t.strictSame(a.taken(b.id), [])
  t.end()
})

t.test('a root whose seed never came is refused: half a secret is none', (t) => {
  const hub = newHub()
  const [a, b] = [device(), device()]
  welcome(hub, a, [])
  t.throws(() => a.session.receive(hub.sealPairRoot(a.member, b.member)), { code: 'bad-message' })
  t.strictSame(a.taken(b.id), [])
  t.end()
})

t.test('a hub that starts again in a later epoch is heard, time after time, and its roots are taken', (t) => {
  const [a, b] = [device(), device()]
  const materials = a.taken(b.id)
  for (const epoch of [5, 6, 9, 1000]) {
    const hub = newHub(epoch)
    welcome(hub, a, [b])
    hub.close()
  }
  t.strictSame(
    materials.map(({ epoch }) => epoch),
    [5, 6, 9, 1000],
  )
  t.throws(() => a.session.opened(hubId, newHub(5).open(a.member)), { code: 'stale-epoch' }, 'an earlier one is not')
  t.end()
})

t.test('a hub says what hubs say: other messages and purposes are refused, whatever bytes they have', (t) => {
  const a = device()
  const root = random(32)
  const hub = new Keyring({ fleet, self: hubId, peer: a.id, clock, aeads: nodeAeads })
  const sessions = new HubSessions({
    fleet,
    hub: { id: hubId, bootId: random(8) },
    epoch: 1,
    alg: 1,
    seeds: memorySeeds(random),
    random: () => Uint8Array.from(root), // so that the test can seal as the hub does
    clock,
    aeads: nodeAeads,
  })
  a.session.opened(hubId, sessions.open(a.member))
  hub.add({ peer: a.id, epoch: 1, ordinal: 0, alg: 1, prk: hubPrk(new Uint8Array(32), root) })
  hub.use(1)
  const messages: Control[] = [
    [controlType.ratchet, new Uint8Array(16), 1],
    [controlType.hello, new Uint8Array(8), 0],
    [controlType.flow, 0, 1, 1, []],
  ]
  for (const message of messages) {
    const frame = concat(hub.seal(2, [encodeControl(message)]))
    t.throws(() => a.session.receive(frame), { code: 'not-allowed' }, `type ${message[0]}`)
  }
  t.throws(() => a.session.receive(concat(hub.seal(1, [encodeControl(messages[0]!)]))), { code: 'not-allowed' })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (bytes, isSealed) => {
      try {
        a.session.receive(isSealed ? concat(hub.seal(2, [bytes])) : bytes)
        return false
      } catch (error) {
        return error instanceof Refusal
      }
    }),
  )
  t.end()
})

t.test('no secret is left where it came in, nor after the session was closed', (t) => {
  const hub = newHub()
  const [a, b] = [device(), device()]
  welcome(hub, a, [])
  a.session.receive(hub.sealSeeds(a.id, [b.id]))
  let given: PairMaterial | undefined
  a.session.subscribe(b.id, (material) => {
    given = material
  })
  a.session.receive(hub.sealPairRoot(a.member, b.member))
  t.ok(given!.prk.some((byte) => byte !== 0))
  a.session.close()
  t.ok(given!.prk.every((byte) => byte === 0))
  t.strictSame(a.taken(b.id), [])
  t.throws(() => a.session.receive(hub.sealRelay(a.id, 'h', 1, random(32))), { code: 'stale-epoch' })
  t.end()
})

t.test('who no longer subscribes is told nothing more', (t) => {
  const hub = newHub()
  const [a, b] = [device(), device()]
  let told = 0
  const stop = a.session.subscribe(b.id, () => told++)
  stop()
  welcome(hub, a, [b])
  t.equal(told, 0)
  t.end()
})
