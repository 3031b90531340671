import t from 'tap'
import { prepare, type Prepared } from '#shared/onnx/prepare.js'
import { regionsOf, type Region } from '#shared/onnx/regions.js'
import { loadEngine, type Level } from '#shared/onnx/session.js'
import type { Tensor } from '#shared/onnx/tensor.js'
import { buildModel, floats, ints, node, noise, port, type NodeInit } from '#test/support/models.js'
import { zoo } from '#test/support/zoo.js'

const engine = await loadEngine()

async function prepared(
  nodes: readonly NodeInit[],
  shape: readonly number[],
  weights: Readonly<Record<string, Tensor>>,
  options: { level?: Level; outputs?: readonly string[] } = {},
): Promise<Prepared> {
  const model = buildModel({
    nodes,
    weights,
    inputs: [port('x', 'float32', shape)],
    outputs: (options.outputs ?? ['y']).map((name) => port(name, 'float32')),
    domains: { 'com.microsoft': 1 },
  })
  return prepare(model, { engine, level: options.level ?? 'disabled' })
}

/** The ops of a region, and what it sends. */
function outline(graph: Prepared, { nodes, sends }: Region): string {
  const ops = nodes.map((index) => graph.nodes[index]?.opType)
  return `${ops.join(' ')} -> ${sends.map(({ port, axis }) => `${port.name}@${axis}`).join(' ')}`
}

const outlines = (graph: Prepared): string[] => regionsOf(graph).regions.map((region) => outline(graph, region))

t.test('a region goes on to just before the node that reads all channels again', async (t) => {
  const graph = await prepared(
    [
      node('Conv', ['x', 'a'], ['c']),
      node('Relu', ['c'], ['r']),
      node('Conv', ['r', 'deep'], ['d'], { group: 8n }),
      node('GlobalAveragePool', ['d'], ['g']),
      node('Flatten', ['g'], ['f']),
      node('Gemm', ['f', 'b'], ['y']),
    ],
    [1, 3, 8, 8],
    { a: noise([8, 3, 3, 3], 'a'), deep: noise([8, 1, 3, 3], 'deep'), b: noise([8, 6], 'b') },
  )
  t.strictSame(outlines(graph), ['Conv Relu Conv GlobalAveragePool Flatten -> f@1', 'Gemm -> y@1'])
  const [first, second] = regionsOf(graph).regions
  t.match(first, { channels: 8, granule: 2, banks: 1, roots: [0], exact: true, weightBytes: (8 * 27 + 8 * 9) * 4 })
  t.strictSame(first?.receives, [{ port: { name: 'x', dtype: 'float32', shape: [1, 3, 8, 8] } }])
  t.match(second, { channels: 6, nodes: [5] })
})

t.test('it ends where the fewest bytes have to be put together', async (t) => {
  const graph = await prepared(
    [
      node('Conv', ['x', 'a'], ['c']),
      node('Relu', ['c'], ['r']),
      node('Resize', ['r', '', 'twice'], ['big'], { mode: 'nearest' }),
      node('Conv', ['big', 'b'], ['y']),
    ],
    [1, 3, 8, 8],
    { a: noise([8, 3, 3, 3], 'a'), b: noise([4, 8, 1, 1], 'b'), twice: floats([4], [1, 1, 2, 2]) },
  )
  t.strictSame(outlines(graph), ['Conv Relu -> r@1', 'Conv -> y@1'])
})

t.test(
  'a shortcut comes parted; one with weights of its own is parted with the layer that it goes around',
  async (t) => {
    const block = (name: string, from: string, shortcut: string): NodeInit[] => [
      node('Conv', [from, `${name}/1`], [`${name}/c`], { pads: [1n, 1n, 1n, 1n] }),
      node('Relu', [`${name}/c`], [`${name}/r`]),
      node('Conv', [`${name}/r`, `${name}/2`], [`${name}/d`], { pads: [1n, 1n, 1n, 1n] }),
      node('Add', [`${name}/d`, shortcut], [`${name}/s`]),
    ]
    const weights = Object.fromEntries(['p', 'q'].flatMap((name) => [1, 2].map((i) => `${name}/${i}`)).map((name) => [
    name, noise([8, name === 'p/1' ? 3 : 8, 3, 3], name),
  ])) // prettier-ignore
    const graph = await prepared(
      [
        node('Conv', ['x', 'w'], ['side']),
        ...block('p', 'x', 'side'),
        ...block('q', 'p/s', 'p/s'),
        node('Relu', ['q/s'], ['y']),
      ],
      [1, 3, 6, 6],
      { ...weights, w: noise([8, 3, 1, 1], 'w') },
    )
    t.ok(outlines(graph).includes('Conv Conv Add -> p/s@1'), 'both convolutions in one region')
    const around = regionsOf(graph).regions.find(({ sends }) => sends[0]?.port.name === 'y') as Region
    t.equal(outline(graph, around), 'Conv Add Relu -> y@1')
    t.strictSame(
      around.receives.map(({ port, axis }) => [port.name, axis]),
      [
        ['q/r', undefined],
        ['p/s', 1],
      ],
    )
  },
)

t.test('a tensor of which a part needs all and a share comes whole', async (t) => {
  const graph = await prepared([node('Conv', ['x', 'w'], ['c']), node('Add', ['c', 'x'], ['y'])], [1, 8, 6, 6], {
    w: noise([8, 8, 1, 1], 'w'),
  })
  const [region] = regionsOf(graph).regions as [Region]
  t.equal(outline(graph, region), 'Conv Add -> y@1')
  t.strictSame(region.receives.map(({ port, axis }) => [port.name, axis]), [['x', undefined]]) // prettier-ignore
})

t.test('gates and their values are two banks of one layer', async (t) => {
  const graph = await prepared(
    [
      node('MatMul', ['x', 'w'], ['m']),
      node('Split', ['m', 'halves'], ['gate', 'value'], { axis: 1n }),
      node('Sigmoid', ['gate'], ['open']),
      node('Mul', ['open', 'value'], ['y']),
    ],
    [1, 5],
    { w: noise([5, 12], 'w'), halves: ints([2], [6, 6]) },
  )
  const whole = regionsOf(graph).regions.find(({ banks }) => banks === 2)
  t.match(whole, { channels: 6, granule: 2, exact: true })
  t.equal(outline(graph, whole as Region), 'MatMul Split Sigmoid Mul -> y@1')
})

t.test('what is not exact says why, and a shorter region that is stands beside it', async (t) => {
  const graph = await prepared(
    [
      node('Conv', ['x', 'a'], ['c']),
      node('ReduceMean', ['c'], ['m'], { axes: [2n, 3n], keepdims: 0n }),
      node('MatMul', ['m', 'b'], ['y']),
    ],
    [1, 3, 7, 7],
    { a: noise([6, 3, 1, 1], 'a'), b: noise([6, 4], 'b') },
  )
  const [exact, longer] = regionsOf(graph).regions as [Region, Region]
  t.match(
    [exact, longer].map((region) => outline(graph, region)),
    ['Conv -> c@1', 'Conv ReduceMean -> m@1'],
  )
  t.strictSame([exact.exact, longer.exact], [true, false])
  t.match(longer.inexact, /the last values of 'c' are computed by another routine/)
  const single = await prepared([node('Conv', ['x', 'a'], ['y'])], [1, 5, 3, 3], { a: noise([6, 5, 3, 3], 'a') })
  t.match(regionsOf(single).regions, [
    { exact: false, inexact: /one position, and its 6 channels are no multiple of 4/ },
  ])
  const four = await prepared([node('Conv', ['x', 'a'], ['y'])], [1, 5, 3, 3], { a: noise([8, 5, 3, 3], 'a') })
  t.match(regionsOf(four).regions, [{ exact: true, granule: 4 }])
  const stacked = await prepared([node('MatMul', ['x', 'a'], ['y'])], [2, 4, 5], { a: noise([2, 5, 6], 'a') })
  t.match(regionsOf(stacked).regions, [{ exact: false, inexact: /no stored float32 matrix/ }])
})

t.test('blocked layouts are parted in whole blocks', async (t) => {
  const graph = await prepared(
    [
      node('Conv', ['x', 'a'], ['c'], { pads: [1n, 1n, 1n, 1n] }),
      node('Relu', ['c'], ['r']),
      node('Conv', ['r', 'b'], ['y']),
    ],
    [1, 3, 8, 8],
    { a: noise([64, 3, 3, 3], 'a'), b: noise([64, 64, 1, 1], 'b') },
    { level: 'all' },
  )
  const { regions } = regionsOf(graph)
  t.ok(regions.length >= 2)
  const blocks = graph.nodes.some(({ opType }) => opType === 'ReorderOutput')
  t.ok(regions.every(({ granule, exact }) => exact && granule === (blocks ? 16 : 2)))
})

t.test('dense nodes that are divided in no region say why', async (t) => {
  const graph = await prepared(
    [
      node('Conv', ['x', 'a'], ['c']),
      node('Einsum', ['c', 'b'], ['y'], { equation: 'nchw,cdhw->ndhw' }),
      node('Flatten', ['y'], ['f']),
      node('Reshape', ['flat', 'shape'], ['d']),
      node('MatMul', ['f', 'd'], ['z']),
    ],
    [1, 3, 1, 1],
    { a: noise([3, 3, 1, 1], 'a'), b: noise([3, 4, 1, 1], 'b'), flat: noise([32], 'd'), shape: ints([2], [4, 8]) },
    { outputs: ['y', 'z'] },
  )
  const reasons = regionsOf(graph).undivided.map(({ node, reason }) => `${graph.nodes[node]?.opType}: ${reason}`)
  t.match(reasons, [
    'Conv: its 3 channels are too few to share',
    'Einsum: no rule parts Einsum',
    "MatMul: its constant 'd' is made by Reshape",
  ])
})

t.test('a function of the model ends a region, whatever it is called', async (t) => {
  const model = buildModel({
    domains: { own: 1 },
    irVersion: 9,
    nodes: [node('MatMul', ['x', 'w'], ['m']), node('Relu', ['m'], ['y'], {}, { domain: 'own' })],
    functions: [
      {
        name: 'Relu',
        domain: 'own',
        input: ['a'],
        output: ['b'],
        node: [node('Softmax', ['a'], ['b'])],
        opsetImport: [{ domain: '', version: 17n }],
      },
    ],
    inputs: [port('x', 'float32', [2, 3])],
    outputs: [port('y', 'float32')],
    weights: { w: noise([3, 8], 'w') },
  })
  const graph = await prepare(model, { engine, level: 'disabled' })
  t.match(outlines(graph)[0], /^MatMul -> m@1/)
})

t.test('regions are convex, and what they need and give is what crosses their border', async (t) => {
  for (const { name, model, feeds } of zoo) {
    const graph = await prepare(model, { engine, level: 'disabled', sample: feeds })
    for (const region of regionsOf(graph).regions) {
      const members = new Set(region.nodes)
      const after = new Set<string>()
      for (const [index, step] of graph.flow.steps.entries()) {
        const isAfter = step.reads.some((read) => after.has(read))
        t.notOk(members.has(index) && isAfter, `${name}: a way leads out of the region and in again`)
        const fromInside = step.reads.some((read) =>
          graph.flow.steps.some((other, at) => members.has(at) && other.writes.includes(read)),
        )
        if (!members.has(index) && (isAfter || fromInside)) for (const written of step.writes) after.add(written)
      }
      t.ok(region.granule * 2 <= region.channels)
      t.ok(region.sends.every(({ axis, port }) => axis !== undefined && axis < port.shape.length))
    }
  }
})
