import t from 'tap'
import { Registry } from '#broker/fleet/registry.js'
import { ProfileStore } from '#broker/fleet/profiles.js'
import { Planning } from '#broker/planning.js'
import type { LiveModel } from '#broker/planner/live.js'
import { noProfiles, withDevice, type Profiles } from '#broker/planner/profile.js'
import { SteppedClock } from '#shared/clock.js'
import { newDeviceId, type DeviceId } from '#shared/ids.js'
import type { StageTelemetry } from '#shared/protocol/messages.js'
import { seededRandom } from '#shared/random.js'
import { birthOf } from '#test/support/control-plane.js'

const hash = 'ab'.repeat(32)
/** Ten nodes of 1 ms in a row, 1 MB of weights each; 1 KB goes from each to the next. */
const model: LiveModel = {
  hash,
  nodes: Array.from({ length: 10 }, (_, i) => ({
    name: `n${i}`,
    opType: 'Conv',
    weightBytes: 1e6,
    scratchBytes: 1000,
  })),
  values: Array.from({ length: 11 }, (_, i) => ({
    name: `v${i}`,
    dtype: 'float32' as const,
    bytes: 1000,
    from: i === 0 ? undefined : i - 1,
    to: i === 10 ? [] : [i],
    isOutput: i === 10,
  })),
  nodeUs: Array.from({ length: 10 }, () => 1000),
  cuts: Array.from({ length: 9 }, (_, i) => ({ at: i + 1 })),
}

/** A fleet of devices that take so many times the hub's time, and have so much memory. */
function planned(devices: readonly { times: number; memoryBytes?: number }[]) {
  const random = seededRandom('planning')
  const clock = new SteppedClock()
  const registry = new Registry()
  const events: string[] = []
  let value: Profiles = { ...noProfiles, hub: { kernels: { conv: 1, matmul: 1, element: 1 }, atMs: clock.nowMs() } }
  const ids: DeviceId[] = []
  for (const [i, { times, memoryBytes = 1e9 }] of devices.entries()) {
    const device = newDeviceId(random)
    ids.push(device)
    registry.born(device, birthOf(random(32), random), random(8))
    const crossing = { messageUs: 10, byteUs: 0 }
    value = withDevice(value, {
      device,
      name: `shelf ${i}`,
      boot: '00'.repeat(8),
      kernels: { conv: times, matmul: times, element: times },
      stageUs: 10,
      seal: crossing,
      open: crossing,
      memoryBytes,
      sessionBytes: 1e6,
      atMs: clock.nowMs(),
    })
  }
  const store = new ProfileStore({ value, clock })
  const log = (event: string): void => void events.push(event)
  const planning = new Planning({ clock, registry, store, isInline: true, log })
  return { clock, registry, store, planning, ids, events }
}

const telemetry = (frames: number, computeUs: number): StageTelemetry => ({
  plan: 1,
  stage: 0,
  frames,
  computeUs,
  queued: 0,
  retained: 0,
  duplicates: 0,
  refused: 0,
  links: [],
  residentBytes: 0,
})

t.test('work is shared out in proportion to speed, and memory is a limit', async (t) => {
  const { planning, ids } = planned([{ times: 1 }, { times: 4 }])
  const choice = await planning.choose(model, { objective: { kind: 'throughput' } })
  const [fast, slow] = ids.map((id) => choice.stages.find(({ devices }) => devices.includes(id))!)
  t.equal(fast!.to - fast!.from, 8)
  t.equal(slow!.to - slow!.from, 2)
  t.equal(choice.certificate!.gap, 0)
  const small = planned([{ times: 1, memoryBytes: 7e6 }, { times: 4 }])
  const fits = await small.planning.choose(model, { objective: { kind: 'throughput' } })
  t.ok(
    fits.stages.every(({ from, to, devices }) => !devices.includes(small.ids[0]!) || to - from <= 6),
    'what it has no memory for',
  )
  await t.rejects(
    planned([{ times: 1, memoryBytes: 5e6 }]).planning.choose(model, { objective: { kind: 'throughput' } }),
    {
      code: 'cannot-plan',
    },
  )
  await t.rejects(planned([]).planning.choose(model, { objective: { kind: 'throughput' } }), {
    code: 'cannot-plan',
    message: /measured/,
  })
})

t.test('devices that are alike are one class, and keep what they hold when another one leaves', async (t) => {
  const { planning, registry, ids, clock } = planned([{ times: 1 }, { times: 1.01 }, { times: 1 }, { times: 1.02 }])
  const first = await planning.choose(model, { objective: { kind: 'throughput' } })
  t.equal(first.stages.flatMap(({ devices }) => devices).length, 4)
  planning.adopted(first, false)
  const again = await planning.choose(model, { objective: { kind: 'throughput' } })
  t.strictSame(again.stages, first.stages, 'the same plan again moves nothing')
  const gone = first.stages[0]!.devices[0]!
  registry.note(gone, { state: 'offline' })
  planning.changed({ kind: 'leave', device: gone })
  t.ok(planning.isUneasy)
  clock.step(1000)
  const looked = await planning.reconsider()
  t.equal(looked!.decision.do, 'switch')
  t.notOk(looked!.choice!.stages.some(({ devices }) => devices.includes(gone)))
  t.match(looked!.decision.because, /has left; the plan in force cannot go on/)
  for (const { devices } of looked!.choice!.stages) t.ok(devices.every((device) => ids.includes(device)))
})

t.test(
  'devices that are alike take requests in turn where that is permitted, and one that is slower holds them up',
  async (t) => {
    const { planning, store, ids } = planned([{ times: 1 }, { times: 1 }, { times: 1.01 }])
    const { stages, cost } = await planning.choose(model, { objective: { kind: 'throughput' }, maxReplicas: 3 })
    t.strictSame(stages, [{ from: 0, to: 10, devices: [...ids].sort() }])
    t.ok(cost.periodUs < 3500, 'a third of one device')
    const slower = store.value.devices.find(({ device }) => device === ids[1])!
    store.set(withDevice(store.value, { ...slower, kernels: { conv: 2, matmul: 2, element: 2 } }))
    t.ok(planning.value(model, stages)!.periodUs > 6500, 'its turn takes as long as two of the others')
    t.equal(planning.value(model, [{ from: 0, to: 10, devices: ['d00000000000000000000000000000000'] }]), undefined)
  },
)

t.test('a stage that takes longer for a while contradicts what is known of its device', async (t) => {
  const { planning, clock, store, ids, events } = planned([{ times: 1 }, { times: 1 }])
  planning.adopted(await planning.choose(model, { objective: { kind: 'throughput' } }), false)
  const { stages } = planning.choice!
  const { devices, from, to } = stages[0]!
  const device = devices[0]!
  const usual = (to - from) * 1000
  let frames = 0
  let computeUs = 0
  const work = (us: number, seconds: number): void => {
    for (let second = 0; second < seconds; second++) {
      frames += 10
      computeUs += 10 * us
      clock.step(1000)
      planning.told(device, telemetry(frames, computeUs))
    }
  }
  work(usual * 1.1, 60)
  t.strictSame(events, [], 'within the tolerance')
  work(usual * 2, 5)
  work(usual, 5)
  t.strictSame(events, [], 'it passed')
  work(usual * 2, 15)
  t.strictSame(events, ['profile contradicted'])
  t.match(store.value.segments, [{ device, from, to, by: 'work', computeUs: usual * 2 }])
  t.equal(store.value.devices.find((other) => other.device === device)!.atMs, 0, 'it is to be measured again')
  t.ok(planning.isUneasy)
  work(usual * 2, 60)
  t.equal(events.length, 1, 'once it is known it is expected')
  const looked = await planning.reconsider()
  t.match(looked!.decision.because, /shelf 3 takes 2\.00 times as long as before/)
  t.ok(ids.includes(device))
})

t.test('a stage timed by order stands against one timed as it was loaded, not the other way round', async (t) => {
  const { planning, store } = planned([{ times: 1 }])
  planning.adopted(await planning.choose(model, { objective: { kind: 'latency' } }), false)
  const device = planning.choice!.stages[0]!.devices[0]!
  planning.loaded(device, { rev: 1, state: 'loading', computeUs: 5 })
  t.strictSame(store.value.segments, [])
  planning.loaded(device, { rev: 1, state: 'ready', computeUs: 12_000 })
  t.match(store.value.segments, [{ by: 'load', computeUs: 12_000, expectedUs: 10_000 }])
  planning.timed(device, 14_000, 'order', 3e6)
  planning.loaded(device, { rev: 2, state: 'ready', computeUs: 12_000 })
  t.match(store.value.segments, [{ by: 'order', computeUs: 14_000, peakBytes: 3e6 }])
  const { model: of, stages } = planning.choice!
  t.ok(planning.value(of, stages)!.periodUs >= 14_000, 'and is what the plan is valued by')
  planning.timed('d00000000000000000000000000000000', 1, 'order')
  t.equal(store.value.segments.length, 1, 'who has no stage has timed none')
})
