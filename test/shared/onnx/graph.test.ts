import * as fc from 'fast-check'
import t from 'tap'
import { splitAt, stagesOf, type Split } from '#shared/onnx/graph.js'
import { prepare, type Prepared } from '#shared/onnx/prepare.js'
import { regionsOf } from '#shared/onnx/regions.js'
import { loadEngine, type Feeds } from '#shared/onnx/session.js'
import { sameBits } from '#shared/onnx/tensor.js'
import { seededRandom, unitFrom } from '#shared/random.js'
import { digits } from '#test/support/digits.js'
import { buildModel, floats, node, noise, port } from '#test/support/models.js'
import { refuses } from '#test/support/refusal.js'
import { aroundRegion, runStaged } from '#test/support/staged.js'
import { zoo } from '#test/support/zoo.js'

const engine = await loadEngine()

async function isWhole(prepared: Prepared, split: Split, feeds: Feeds): Promise<boolean> {
  const session = await engine.create(prepared.bytes, { level: 'disabled' })
  const expected = await session.run(feeds)
  await session.release()
  const got = await runStaged(engine, stagesOf(prepared, split), feeds)
  const names = prepared.outputs.map(({ name }) => name)
  return Object.keys(got).length === names.length && names.every((name) => sameBits(got[name]!, expected[name]!))
}

/** The nodes in another order in which each comes after those it reads from, cut into so many stages. */
function anyStages({ flow, nodes }: Prepared, count: number, seed: number): number[][] {
  const random = seededRandom(seed)
  const makers = new Map(flow.steps.flatMap(({ writes }, index) => writes.map((name) => [name, index] as const)))
  const left = new Set(nodes.keys())
  const order: number[] = []
  while (left.size > 0) {
    const ready = [...left].filter((index) =>
      flow.steps[index]!.reads.every((name) => !left.has(makers.get(name) ?? -1)),
    )
    const next = ready[Math.floor(unitFrom(random) * ready.length)]!
    left.delete(next)
    order.push(next)
  }
  const borders = Array.from({ length: count - 1 }, () => 1 + Math.floor(unitFrom(random) * (order.length - 1)))
  const at = [0, ...new Set(borders.sort((a, b) => a - b)), order.length]
  return at.slice(1).map((end, i) => order.slice(at[i], end))
}

t.test('stages of any nodes in any order equal the whole, in a row and straight', async (t) => {
  const all = await Promise.all(
    zoo.map(async ({ model, feeds }) => ({
      feeds,
      prepared: await prepare(model, { engine, level: 'disabled', sample: feeds }),
    })),
  )
  const several = all.filter(({ prepared }) => prepared.nodes.length > 1)
  let tried = 0
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...several),
      fc.integer({ min: 1, max: 5 }),
      fc.integer(),
      fc.constantFrom('chain' as const, 'dag' as const),
      async ({ prepared, feeds }, count, seed, shape) => {
        const split = { shape, stages: anyStages(prepared, count, seed).map((nodes) => ({ nodes })) }
        try {
          const whole = await isWhole(prepared, split, feeds)
          tried++
          return whole
        } catch (error) {
          // Some tensors may not cross: then it is said so.
          if ((error as { code?: string }).code === 'cannot-cut') return true
          throw error
        }
      },
    ),
    { numRuns: 60 },
  )
  t.ok(tried > 30, `${tried} could be parted so`)
})

t.test('every region of the digits, parted unevenly, gives the bits of the whole, in a row and straight', async (t) => {
  const workload = await digits()
  for (const level of ['extended', 'all'] as const) {
    const prepared = await prepare(workload.model, { engine, level, sample: workload.sample })
    const { regions } = regionsOf(prepared)
    t.ok(regions.length > 5)
    // One of each kind is enough for every run of the tests: with a shared input, a shortcut, the last node.
    for (const region of [regions[0]!, regions[2]!, regions.at(-5)!, regions.at(-1)!]) {
      const first = region.granule * Math.max(1, Math.floor(region.channels / region.granule / 3))
      for (const shape of ['chain', 'dag'] as const) {
        const split = aroundRegion(prepared, region, [first, region.channels - first], shape)
        t.ok(await isWhole(prepared, split, workload.request(3)), `${level} ${shape} ${region.nodes.join()}`)
      }
    }
  }
})

t.test('a part gets the slices that it needs from parts that have others', async (t) => {
  const workload = await digits()
  const prepared = await prepare(workload.model, { engine, level: 'extended', sample: workload.sample })
  const { regions } = regionsOf(prepared)
  const [stem, , shortcut] = regions
  t.strictSame([stem!.nodes, shortcut!.nodes], [[0], [2, 3, 4]])
  const rest = [...prepared.nodes.keys()].slice(5)
  const split: Split = {
    shape: 'dag',
    stages: [
      { nodes: [0], parts: { region: stem!, shares: [10, 22] } },
      { nodes: [1] },
      { nodes: [2, 3, 4], parts: { region: shortcut!, shares: [8, 12, 12] } },
      { nodes: rest },
    ],
  }
  const { edges, stages } = stagesOf(prepared, split)
  t.strictSame(
    stages.map(({ of, channels }) => [of, channels?.from, channels?.to]),
    [
      [0, 0, 10],
      [0, 10, 32],
      [1, undefined, undefined],
      [2, 0, 8],
      [2, 8, 20],
      [2, 20, 32],
      [3, undefined, undefined],
    ],
  )
  const { name } = shortcut!.receives.find(({ axis }) => axis !== undefined)!.port // the one that may come parted
  const slices = edges
    .filter(({ from }) => from === 0 || from === 1)
    .flatMap(({ from, to, tensors }) =>
      tensors
        .filter(({ port }) => port.name === name && to !== 2)
        .map(({ port, cut, put }) => [from, to, port.shape[1], cut?.at, put?.at, put?.of]),
    )
  t.strictSame(slices, [
    [0, 3, 8, 0, undefined, undefined],
    [0, 4, 2, 8, 0, 12],
    [1, 4, 10, 0, 2, 12],
    [1, 5, 12, 10, undefined, undefined],
  ])
  t.ok(await isWhole(prepared, split, workload.request(5)))
})

/** x -> a -> b -> y, and x -> c; `w` is an output that depends on no input. */
const small = await prepare(
  buildModel({
    nodes: [node('Relu', ['x'], ['a']), node('Exp', ['a'], ['b']), node('Add', ['b', 'late'], ['y']), node('Neg', ['x'], ['c'])],
    inputs: [port('x', 'float32', [3]), port('late', 'float32', [3]), port('echo', 'float32', [2])],
    outputs: [port('y', 'float32', [3]), port('c', 'float32', [3]), port('echo', 'float32', [2]), port('w', 'float32', [2])],
    weights: { w: floats([2], [7, 8]) },
  }),
  { engine, level: 'disabled' },
) // prettier-ignore

t.test('straight, each tensor goes from where it is made to where it is read, and to the client', async (t) => {
  const split: Split = { shape: 'dag', stages: [{ nodes: [0] }, { nodes: [3] }, { nodes: [1, 2] }] }
  const { edges } = stagesOf(small, split)
  const order = small.nodes.map(({ opType }) => opType)
  t.strictSame(order, ['Relu', 'Exp', 'Add', 'Neg'])
  t.strictSame(
    edges.map(({ from, to, tensors }) => [from, to, tensors.map(({ port }) => port.name)]),
    [
      [undefined, 0, ['x']],
      [undefined, 1, ['x']],
      [undefined, 2, ['late', 'echo']],
      [0, 2, ['a']],
      [1, undefined, ['c']],
      [2, undefined, ['y', 'echo', 'w']],
    ],
  )
  const feeds = { x: noise([3], 'x'), late: noise([3], 'l'), echo: noise([2], 'e') }
  t.ok(await isWhole(small, split, feeds))
})

t.test('what is no way to part the graph is refused, with the reason', async (t) => {
  const stages =
    (...sets: number[][]) =>
    () =>
      stagesOf(small, { shape: 'dag', stages: sets.map((nodes) => ({ nodes })) })
  await refuses(t, 'cannot-cut', /node 3, 'Neg.*', is in no stage/, stages([0, 1], [2]))
  await refuses(t, 'cannot-cut', /node 1 is in stage 0 and in stage 1/, stages([0, 1], [1, 2, 3]))
  await refuses(t, 'cannot-cut', /no node 9/, stages([0, 1, 2, 3, 9]))
  await refuses(t, 'cannot-cut', /stage 1 has no nodes/, stages([0, 1, 2, 3], []))
  await refuses(t, 'cannot-cut', /node 1 of stage 0 reads 'a', which stage 1 makes/, stages([1, 2], [0, 3]))
  await refuses(t, 'cannot-cut', /cuts must ascend between 1 and 3/, () => splitAt(4, [2, 2]))
  const { model, sample } = await digits()
  const prepared = await prepare(model, { engine, level: 'extended', sample })
  const [region] = regionsOf(prepared).regions
  const parted = (nodes: number[], shares: number[]) => () => {
    const rest = [...prepared.nodes.keys()].filter((index) => !nodes.includes(index))
    return stagesOf(prepared, {
      shape: 'dag',
      stages: [{ nodes, parts: { region: region!, shares } }, { nodes: rest }],
    })
  }
  await refuses(t, 'cannot-cut', /stage 0 is to be parted by a region that has other nodes/, parted([0, 1], [16, 16]))
  await refuses(t, 'cannot-cut', /has 32 channels to share, not 30/, parted([0], [16, 14]))
})
