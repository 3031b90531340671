import * as fc from 'fast-check'
import t from 'tap'
import {
  assumedLink,
  contradicted,
  deviceGoodForMs,
  expectedNodeUs,
  linkBetween,
  linkGoodForMs,
  nodeUsOn,
  noProfiles,
  priced,
  slowdown,
  profiles,
  speedOf,
  staleDevices,
  stalePairs,
  withDevice,
  withLink,
  withSegment,
  type DeviceProfile,
  type LinkProfile,
  type Profiles,
  type SegmentProfile,
} from '#broker/planner/profile.js'
import { forMs, isLasting, look, type Drift } from '#broker/planner/drift.js'
import { newDeviceId } from '#shared/ids.js'
import { seededRandom } from '#shared/random.js'

const random = seededRandom('profile')
const [a, b, c] = [newDeviceId(random), newDeviceId(random), newDeviceId(random)]
const boot = '0123456789abcdef'
const hash = 'ab'.repeat(32)

function deviceAt(device: typeof a, slowness: number, more: Partial<DeviceProfile> = {}): DeviceProfile {
  const kernels = { conv: 100 * slowness, matmul: 50 * slowness, element: 10 * slowness }
  const crossing = { messageUs: 20, byteUs: 0.001 }
  return {
    device,
    name: 'shelf',
    boot,
    kernels,
    stageUs: 30,
    seal: crossing,
    open: crossing,
    memoryBytes: 1e9,
    sessionBytes: 1e6,
    atMs: 1000,
    ...more,
  }
}

const link = (from: typeof a, to: typeof a, more: Partial<LinkProfile> = {}): LinkProfile => ({
  from,
  to,
  kind: 'direct',
  messageUs: 10,
  byteUs: 0.01,
  roundTripUs: 1000,
  atMs: 1000,
  ...more,
})

const segment = (from: number, to: number, computeUs: number, more: Partial<SegmentProfile> = {}): SegmentProfile => ({
  device: a,
  model: hash,
  from,
  to,
  computeUs,
  expectedUs: 100 * (to - from),
  by: 'order',
  atMs: 1000,
  ...more,
})

const hub = { kernels: { conv: 100, matmul: 50, element: 10 }, atMs: 1000 }
const model = { hash, nodes: ['Conv', 'Relu', 'Gemm', 'Conv'].map((opType) => ({ opType, hubUs: 100 })) }
const known: Profiles = withDevice(withDevice({ ...noProfiles, hub }, deviceAt(a, 1)), deviceAt(b, 4))

t.test('a device takes as much longer for a node as for the known work of its kind', (t) => {
  t.strictSame(speedOf(known, b), { conv: 0.25, matmul: 0.25, element: 0.25 })
  t.strictSame(expectedNodeUs(known, b, model), [400, 400, 400, 400])
  const kernels = { conv: 200, matmul: 50, element: 5 }
  const odd = withDevice(known, deviceAt(a, 1, { kernels }))
  t.strictSame(expectedNodeUs(odd, a, model), [200, 50, 100, 200])
  t.equal(expectedNodeUs(known, c, model), undefined, 'nothing is known of it')
  t.equal(speedOf({ ...known, hub: undefined }, a), undefined, 'nor of any without a measure')
  t.end()
})

t.test('a timed segment corrects its nodes, and what was learned from it the others', (t) => {
  const timed = withSegment(known, segment(0, 2, 300))
  t.strictSame(
    nodeUsOn(timed, a, model)!.map(Math.round),
    [150, 150, 150, 150],
    'its own by what it took, the others by the usual factor',
  )
  const twice = withSegment(timed, segment(2, 4, 100, { atMs: 2000 }))
  t.strictSame(nodeUsOn(twice, a, model)!.map(Math.round), [150, 150, 50, 50])
  t.strictSame(nodeUsOn(twice, b, model), [400, 400, 400, 400], 'another device learns nothing from it')
  const newer = withSegment(twice, segment(1, 3, 400, { atMs: 3000 }))
  t.strictSame(nodeUsOn(newer, a, model)!.map(Math.round), [150, 200, 200, 50], 'the newest has the say')
  const other = { ...model, hash: 'cd'.repeat(32) }
  const usual = Math.cbrt(1.5 * 0.5 * 2)
  t.ok(
    nodeUsOn(newer, a, other)!.every((us) => Math.abs(us - 100 * usual) < 1e-6),
    'another model by all of them',
  )
  t.end()
})

t.test('the times of a segment add up to what was measured of it, whatever else was', (t) => {
  const timing = fc.record({
    from: fc.nat(2),
    length: fc.integer({ min: 1, max: 2 }),
    us: fc.integer({ min: 1, max: 1e6 }),
  })
  fc.assert(
    fc.property(fc.array(timing, { minLength: 1, maxLength: 6 }), (timings) => {
      let all = known
      for (const [i, { from, length, us }] of timings.entries())
        all = withSegment(all, segment(from, from + length, us, { atMs: i }))
      const { from, length, us } = timings.at(-1)!
      const sum = nodeUsOn(all, a, model)!
        .slice(from, from + length)
        .reduce((total, node) => total + node, 0)
      return Math.abs(sum - us) < 1e-6 * us
    }),
  )
  t.pass('no counterexample')
  t.end()
})

t.test('a device that is measured again changes what is expected of it, not what was seen of its segments', (t) => {
  const timed = withSegment(known, segment(0, 2, 300))
  const slower = withDevice(timed, deviceAt(a, 3, { atMs: 2000 }))
  t.equal(Math.round(slowdown(deviceAt(a, 1), deviceAt(a, 3)) * 1e6), 3e6)
  t.strictSame(nodeUsOn(slower, a, model)!.map(Math.round), [150, 150, 150, 150], 'the usual factor is a half now')
  const both = withSegment(withSegment(known, segment(0, 2, 300)), segment(2, 4, 500, { atMs: 2000 }))
  const wrong = contradicted(both, a)
  t.match(wrong.segments, [{ from: 2, computeUs: 500 }], 'what contradicted it is kept, the rest is of another time')
  t.equal(contradicted(both, b).segments.length, 2, 'what is known of another device stays')
  t.end()
})

t.test('a link is what was probed, else the other direction, else as the others of the two, else assumed', (t) => {
  t.match(linkBetween(known, a, b), { ...assumedLink, basis: 'assumed' })
  const slow = withLink(known, link(a, c, { byteUs: 0.5 }))
  t.match(linkBetween(slow, a, b), { byteUs: 0.5, basis: 'others' })
  t.match(linkBetween(slow, undefined, a), { byteUs: 0.5, basis: 'others' }, 'a client is taken to be as near')
  const reverse = withLink(slow, link(b, a, { byteUs: 0.2 }))
  t.match(linkBetween(reverse, a, b), { byteUs: 0.2, basis: 'reverse' })
  const probed = withLink(withLink(reverse, link(a, b)), link(a, b, { byteUs: 0.02 }))
  t.match(linkBetween(probed, a, b), { byteUs: 0.02, basis: 'probed' })
  t.equal(probed.links.length, 3, 'a new probe takes the place of the old one')
  t.end()
})

t.test('what both ends work is not the link that they work on', (t) => {
  const crossing = { messageUs: 100, byteUs: 0.001 }
  const { latencyUs } = priced({ ...link(a, b), basis: 'probed' }, crossing, crossing)
  t.equal(latencyUs, 290)
  t.equal(priced({ ...link(a, b, { roundTripUs: 50 }), basis: 'probed' }, crossing, crossing).latencyUs, 0)
  t.end()
})

t.test(
  'a device is measured anew when it never was, in another process, after a day, and when it proved wrong',
  (t) => {
    const ask = (profiles: Profiles, nowMs: number, of = boot) =>
      staleDevices(profiles, [{ device: a, boot: of }], nowMs)
    t.strictSame(ask(known, 1000 + deviceGoodForMs), [])
    t.strictSame(ask(known, 1001 + deviceGoodForMs), [a])
    t.strictSame(ask(noProfiles, 1000), [a])
    t.strictSame(ask(known, 1000, 'ffffffffffffffff'), [a])
    t.strictSame(ask(contradicted(known, a), 1_700_000_000_000), [a])
    t.strictSame(speedOf(contradicted(known, a), a), speedOf(known, a), 'its figures stand until then')
    t.end()
  },
)

t.test('pairs are probed anew after an hour, the oldest first, each once', (t) => {
  t.strictSame(stalePairs(known, [a, b, c], 1_700_000_000_000).length, 3)
  const some = [link(a, b), link(b, a), link(b, c, { atMs: 5000 }), link(c, b, { atMs: 6000 })].reduce(withLink, known)
  const later = 5001 + linkGoodForMs
  t.strictSame(stalePairs(some, [a, b, c], later), [[a, c], [a, b], [b, c]]) // prettier-ignore
  t.strictSame(stalePairs(some, [a, b], 1000 + linkGoodForMs), [])
  t.strictSame(stalePairs(withLink(known, link(a, b, { atMs: later })), [a, b], later), [[a, b]], 'one way is not both')
  t.end()
})

t.test('of one device the newest 64 segments are remembered, and profiles fit their own schema', (t) => {
  let all = known
  for (let i = 0; i < 70; i++) all = withSegment(all, segment(i, i + 1, 10, { atMs: i }))
  t.equal(all.segments.length, 64)
  t.equal(all.segments[0]!.from, 6)
  t.strictSame(profiles.parse(JSON.parse(JSON.stringify(withLink(all, link(a, b))))), withLink(all, link(a, b)))
  t.notOk(profiles.safeParse({ ...all, version: 2 }).success)
  t.notOk(profiles.safeParse({ ...all, links: [link('d1', b)] }).success)
  t.notOk(profiles.safeParse({ ...all, segments: [segment(0, 1, -1)] }).success)
  t.end()
})

t.test('an expectation is given up when it is off for a while, on one side, and not by what passes', (t) => {
  const looks = (seen: readonly number[], everyMs = 1000): Drift | undefined => {
    let drift: Drift | undefined
    for (const [i, us] of seen.entries()) drift = look(drift, 100, us, i * everyMs)
    return drift
  }
  const lasting = (seen: readonly number[]): boolean => isLasting(looks(seen), (seen.length - 1) * 1000)
  const many = (us: number, count: number) => Array.from({ length: count }, () => us)
  t.ok(lasting(many(130, 1 + forMs / 1000)))
  t.equal(looks(many(130, 3))!.isSlower, true)
  t.equal(looks(many(60, 3))!.isSlower, false, 'a device that became faster is noticed as well')
  t.notOk(lasting(many(130, forMs / 1000)), 'not for long enough')
  t.notOk(lasting(many(119, 60)), 'within the tolerance')
  t.notOk(lasting([...many(130, 9), 100, ...many(130, 9)]), 'it came back')
  t.notOk(lasting([...many(130, 9), ...many(70, 9)]), 'the other side is another drift')
  t.notOk(isLasting(look(look(undefined, 100, 130, 0), 100, 130, 60_000), 60_000), 'two looks are too few')
  t.equal(look(undefined, 0, 100, 0), undefined, 'nothing was expected')
  t.end()
})
