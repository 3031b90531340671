import fc from 'fast-check'
import t from 'tap'
import { fusedGroups } from '#broker/planner/fused.js'
import type { ModelWork } from '#broker/planner/model-work.js'
import { devicesOf, pose } from '#broker/planner/pose.js'
import { chainOptions, chainWork, fleetFrom, withValues } from '#test/support/planned.js'
import { refuses } from '#test/support/refusal.js'

const cameras = 'devices: [{ name: hub, memory: 1 MB }, { name: cam, count: 3, speed: 0.5, memory: 1 MB }]\n'

t.test('devices that are alike are one class, and a difference in anything parts them', (t) => {
  const classesOf = (fleet: string, options = chainOptions) =>
    pose(chainWork([1, 2]), fleetFrom(fleet), options).classes
  t.strictSame(classesOf(cameras), [[0], [1, 2, 3]])
  t.strictSame(
    classesOf('devices: [{ name: a, memory: 1 MB }, { name: b, memory: 1 MB }]'),
    [[0, 1]],
    'whatever they are called',
  )
  t.strictSame(classesOf('devices: [{ name: a, memory: 1 MB }, { name: b, memory: 2 MB }]'), [[0], [1]])
  t.strictSame(classesOf(`${cameras}links: [{ between: [cam-2, hub], rate: 1 Mbit/s }]`), [[0], [1, 3], [2]])
  t.strictSame(classesOf(`${cameras}links: [{ between: [cam-2, hub], rate: 1 Mbit/s, oneWay: true }]`), [
    [0],
    [1, 3],
    [2],
  ])
  t.strictSame(classesOf(`${cameras}links: [{ between: [client, cam-3], rtt: 1 ms }]`), [[0], [1, 2], [3]])
  t.strictSame(
    classesOf(`${cameras}links: [{ between: [cam-1, cam-2], rtt: 9 ms }]`),
    [[0], [1, 2], [3]],
    'two that are linked to each other in their own way are still alike',
  )
  t.strictSame(classesOf(cameras, { ...chainOptions, pins: [{ nodes: 'n1', device: 'cam-1' }] }), [[0], [1], [2, 3]])
  t.end()
})

t.test('times follow the speed, pins forbid the others, and overheads follow the speed as well', (t) => {
  const fleet = fleetFrom(
    `${cameras}demands: [{ nodes: n0, tag: x }]`.replace(
      'memory: 1 MB }, { name: cam',
      'memory: 1 MB, tags: [x] }, { name: cam',
    ),
  )
  const { problem } = pose(chainWork([10, 20]), fleet, chainOptions)
  t.strictSame(problem.classes[0]!.nodeUs, [10, 20])
  t.strictSame(problem.classes[1]!.nodeUs, [Infinity, 40])
  t.strictSame(problem.classes[1]!.open, { messageUs: 2, byteUs: 0 })
  t.equal(problem.classes[1]!.name, 'cam')
  t.end()
})

t.test('narrow activations are smaller on their way and cost the work of narrowing; inputs and outputs stay', (t) => {
  const fleet = fleetFrom(cameras)
  const wide = pose(chainWork([1, 1]), fleet, chainOptions).problem
  const narrow = pose(chainWork([1, 1]), fleet, { ...chainOptions, bits: 8 }).problem
  t.strictSame(
    wide.values.map(({ bytes }) => bytes),
    [1000, 1000, 1000],
  )
  t.strictSame(
    narrow.values.map(({ bytes }) => bytes),
    [1000, 250, 1000],
  )
  t.ok(narrow.classes[0]!.seal.byteUs > wide.classes[0]!.seal.byteUs)
  const ints = withValues(chainWork([1, 1]), (value) => ({ ...value, dtype: 'int64' }))
  t.equal(pose(ints, fleet, { ...chainOptions, bits: 8 }).problem.values[1]!.bytes, 1000, 'integers are not narrowed')
  t.end()
})

t.test('a tensor that cannot be sent keeps its maker, its readers and all between them together', (t) => {
  // n0 -> n1 -> n2 -> n3, and n0 -> n2 by a sequence: n1 lies between them.
  const chain = chainWork([1, 2, 4, 8])
  const work: ModelWork = {
    ...chain,
    values: [...chain.values, { name: 'seq', dtype: undefined, bytes: 0, from: 0, to: [2], isOutput: false }],
  }
  t.strictSame(fusedGroups(work), [[0, 1, 2], [3]])
  const { problem, groups } = pose(work, fleetFrom(cameras), chainOptions)
  t.strictSame(groups, [[0, 1, 2], [3]])
  t.strictSame(problem.classes[0]!.nodeUs, [7, 8])
  t.strictSame(problem.values, [
    { name: 'v0', bytes: 1000, from: undefined, to: [0], isOutput: false },
    { name: 'v3', bytes: 1000, from: 0, to: [1], isOutput: false },
    { name: 'v4', bytes: 1000, from: 1, to: [], isOutput: true },
  ])
  t.equal(problem.nodes[0]!.weightBytes, 3000)
  t.end()
})

t.test('groups are convex and in a topological order, whatever cannot be sent', (t) => {
  const graph = fc.integer({ min: 1, max: 12 }).chain((count) =>
    fc.record({
      count: fc.constant(count),
      edges: fc.array(fc.tuple(fc.nat(count - 1), fc.nat(count - 1), fc.boolean()), { maxLength: 3 * count }),
    }),
  )
  fc.assert(
    fc.property(graph, ({ count, edges }) => {
      const base = chainWork(Array.from({ length: count }, () => 1))
      const values = edges.flatMap(([a, b, canCross], index) =>
        a < b
          ? [
              {
                name: `e${index}`,
                dtype: canCross ? ('float32' as const) : undefined,
                bytes: 1,
                from: a,
                to: [b],
                isOutput: false,
              },
            ]
          : [],
      )
      const groups = fusedGroups({ ...base, values })
      const groupOf = new Map(groups.flatMap((nodes, at) => nodes.map((node) => [node, at] as const)))
      const isOrdered = values.every(({ from, to }) => groupOf.get(from)! <= groupOf.get(to[0]!)!)
      const isTied = values.every(
        ({ from, to, dtype }) => dtype !== undefined || groupOf.get(from) === groupOf.get(to[0]!),
      )
      return groupOf.size === count && isOrdered && isTied
    }),
    { numRuns: 300 },
  )
  t.end()
})

t.test('regions are carried over to the problem, and dropped where parting them would part a group', (t) => {
  const region = { nodes: [1, 2], channels: 8, granule: 2, divided: [1, 2], dividedInputs: [1], exact: true }
  const work: ModelWork = { ...chainWork([1, 1, 1, 1]), regions: [region] }
  const options = { ...chainOptions, maxParts: 4 }
  const { exact: _, ...plain } = region
  t.strictSame(pose(work, fleetFrom(cameras), options).problem.regions, [plain])
  t.strictSame(pose(work, fleetFrom(cameras), chainOptions).problem.regions, [])
  const tied = withValues(work, (value) => (value.name === 'v1' ? { ...value, dtype: undefined } : value))
  t.strictSame(pose(tied, fleetFrom(cameras), options).problem.regions, [])
  t.end()
})

t.test('devices are given out by class, each of them once', (t) => {
  const posed = pose(chainWork([1, 1, 1]), fleetFrom(cameras), { ...chainOptions, maxReplicas: 2, maxParts: 2 })
  const stages = [
    { nodes: [0], holding: { kind: 'replicas' as const, class: 1, count: 2 } },
    { nodes: [1], holding: { kind: 'one' as const, class: 0 } },
    { nodes: [2], holding: { kind: 'one' as const, class: 1 } },
  ]
  t.strictSame(devicesOf(posed, { stages }), [[1, 2], [0], [3]])
  t.end()
})

t.test(
  'a pin of an unknown node or device, and one that no device can hold, are refused with the remedy',
  async (t) => {
    const posing =
      (nodes: string, device: string, fleet = cameras) =>
      () =>
        pose(chainWork([1, 1]), fleetFrom(fleet), { ...chainOptions, pins: [{ nodes, device }] })
    await refuses(
      t,
      'cannot-plan',
      /the pin 'n9=hub' names no node of the prepared model: did you mean 'n0'\?/,
      posing('n9', 'hub'),
    )
    await refuses(t, 'cannot-plan', /names no node .*'--out' names all/, posing('softmax', 'hub'))
    await refuses(
      t,
      'cannot-plan',
      /the pin 'n1=cma-1' names no device of the fleet: did you mean 'cam-1'\?/,
      posing('n1', 'cma-1'),
    )
    await refuses(
      t,
      'cannot-plan',
      /no device may have the node 'n1', which must be on cam and on hub: change the pins/,
      posing('n*', 'hub', `${cameras}pins: [{ nodes: n1, device: cam }]`),
    )
  },
)
