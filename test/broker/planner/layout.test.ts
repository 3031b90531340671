import t from 'tap'
import type { Fleet } from '#broker/planner/fleet.js'
import { checkLayout, holdersOf, inARow, layoutOf, type Layout } from '#broker/planner/layout.js'
import { workOf } from '#broker/planner/model-work.js'
import { optimise } from '#broker/planner/optimise.js'
import { devicesOf, pose } from '#broker/planner/pose.js'
import type { Placement } from '#broker/planner/problem.js'
import type { DeviceId } from '#shared/ids.js'
import { stagesOf } from '#shared/onnx/graph.js'
import { prepare } from '#shared/onnx/prepare.js'
import { regionsOf } from '#shared/onnx/regions.js'
import { loadEngine } from '#shared/onnx/session.js'
import { sameBits } from '#shared/onnx/tensor.js'
import { digits } from '#test/support/digits.js'
import { refuses } from '#test/support/refusal.js'
import { runStaged } from '#test/support/staged.js'

const ids = Array.from({ length: 8 }, (_, i): DeviceId => `d${String(i).padStart(32, '0')}`)
const here = new Set(ids.slice(0, 4))

/** Devices of these speeds, with little memory, linked like a wire. */
function fleetOf(speeds: readonly number[], memoryBytes: number): Fleet {
  const link = { kind: 'direct' as const, bytesPerUs: 1000, rttUs: 10, messageUs: 1 }
  const crossing = { messageUs: 1, byteUs: 0.0001 }
  return {
    devices: speeds.map((speed, i) => ({
      name: `device-${i}`,
      group: 'device',
      speed,
      times: [],
      memoryBytes,
      zone: 'here',
      hardware: 'plain',
      tags: [],
    })),
    links: speeds.map(() => speeds.map(() => link)),
    fromClient: speeds.map(() => link),
    toClient: speeds.map(() => link),
    restrictions: [],
    overhead: { stageUs: 1, open: crossing, seal: crossing, relay: crossing, sessionBytes: 1000 },
  }
}

t.test('what the planner places is laid out and cut, and gives the bits of the whole', async (t) => {
  const engine = await loadEngine()
  const workload = await digits()
  const prepared = await prepare(workload.model, { engine, level: 'extended', sample: workload.sample })
  const { regions } = regionsOf(prepared)
  // One layer takes longer than all the others: then it is worth it to have it in parts.
  const work = workOf(
    prepared,
    prepared.nodes.map((_, node) => (node === 19 ? 20_000 : 500)),
  )
  const session = await engine.create(prepared.bytes, { level: 'disabled' })
  const feeds = workload.request(9)
  const expected = await session.run(feeds)
  await session.release()
  const kinds = new Set<string>()
  for (const shape of ['chain', 'dag'] as const) {
    for (const [maxReplicas, maxParts] of [
      [1, 1],
      [2, 1],
      [1, 3],
    ] as const) {
      // prettier-ignore
      const posed = pose(work, fleetOf([2, 2, 3, 3], 8e6), { shape, maxReplicas, maxParts })
      const { placement } = optimise(posed.problem, { kind: 'throughput' })
      const devices = devicesOf(posed, placement).map((chosen) => chosen.map((index) => ids[index]!))
      const layout = layoutOf(posed, placement, devices, regions)
      checkLayout(layout, prepared.hash, new Set(ids))
      for (const { holding } of placement.stages) kinds.add(holding.kind)
      const staged = stagesOf(prepared, layout)
      t.strictSame(new Set(holdersOf(layout, staged.stages).flat()), new Set(devices.flat()))
      const got = await runStaged(engine, staged, feeds)
      t.ok(sameBits(got['logits']!, expected['logits']!), `${shape}, ${maxReplicas} replicas, ${maxParts} parts`)
    }
  }
  t.ok(kinds.has('one') && kinds.has('parts'), [...kinds].join())
})

t.test('a share that is no whole granule comes last, with its device', async (t) => {
  const engine = await loadEngine()
  const workload = await digits()
  const prepared = await prepare(workload.model, { engine, level: 'extended', sample: workload.sample })
  const region = { ...regionsOf(prepared).regions[0]!, granule: 5 }
  const problem = {
    ...pose(workOf(prepared, prepared.nodes.map(() => 1)), fleetOf([5, 1], 1e9), { shape: 'dag', maxReplicas: 1, maxParts: 2 })
      .problem,
  } // prettier-ignore
  const planned = { ...problem.regions[0]!, granule: 5 }
  const placement: Placement = {
    stages: [{ nodes: planned.nodes, holding: { kind: 'parts', region: 0, classes: [0, 1] } }],
  }
  const groups = prepared.nodes.map((_, node) => [node])
  const posed = { problem: { ...problem, regions: [planned] }, groups, regions: [0] }
  const [stage] = layoutOf(posed, placement, [[ids[0]!, ids[1]!]], [region]).stages
  const { shares } = stage!.parts!
  t.equal(
    shares.reduce((sum, share) => sum + share, 0),
    32,
  )
  t.ok(shares[0]! % 5 === 0 && shares[1]! % 5 !== 0)
  t.strictSame(stage!.devices, shares[0]! > shares[1]! ? [ids[0], ids[1]] : [ids[1], ids[0]])
})

t.test('a chain is laid over the first devices; parts and replicas have theirs', (t) => {
  const facts = { nodeUs: [1, 1, 1, 1] }
  const layout = inARow(facts, [1, 3], ids)
  t.strictSame(layout, {
    shape: 'chain',
    stages: [
      { nodes: [0], devices: [ids[0]] },
      { nodes: [1, 2], devices: [ids[1]] },
      { nodes: [3], devices: [ids[2]] },
    ],
  })
  const several: Layout = {
    shape: 'dag',
    stages: [
      { nodes: [0], devices: ids.slice(0, 2) },
      { nodes: [1], devices: ids.slice(2, 5) },
    ],
  }
  const channels = { from: 0, to: 2 }
  t.strictSame(holdersOf(several, [{ of: 0 }, { of: 1, channels }, { of: 1, channels }, { of: 1, channels }]), [
    [ids[0], ids[1]],
    [ids[2]],
    [ids[3]],
    [ids[4]],
  ])
  t.end()
})

t.test('a layout that the fleet cannot have is refused', async (t) => {
  const of = (...devices: DeviceId[][]): Layout => ({
    shape: 'dag',
    stages: devices.map((some, node) => ({ nodes: [node], devices: some })),
  })
  checkLayout(of([ids[0]!], [ids[1]!, ids[2]!]), 'abc', here)
  checkLayout({ ...of([ids[0]!]), graph: 'abc' }, 'abc', here)
  await refuses(t, 'cannot-cut', /for the graph abd, this one is abc/, () =>
    checkLayout({ ...of(), graph: 'abd' }, 'abc', here),
  )
  await refuses(t, 'cannot-cut', /stage 1 is given to 0 devices/, () => checkLayout(of([ids[0]!], []), 'abc', here))
  const many = Array.from({ length: 65 }, () => ids[0]!)
  await refuses(t, 'cannot-cut', /stage 0 is given to 65 devices/, () => checkLayout(of(many), 'abc', here))
  await refuses(t, 'cannot-cut', /is given two stages/, () => checkLayout(of([ids[0]!, ids[0]!]), 'abc', here))
  await refuses(t, 'device-lost', /d0+7 is not online/, () => checkLayout(of([ids[7]!]), 'abc', here))
})
