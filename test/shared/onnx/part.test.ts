import * as fc from 'fast-check'
import t from 'tap'
import { partOf, partsOf } from '#shared/onnx/part.js'
import { prepare, type Prepared } from '#shared/onnx/prepare.js'
import { regionsOf, type Region } from '#shared/onnx/regions.js'
import { loadEngine, type Level } from '#shared/onnx/session.js'
import type { Tensor } from '#shared/onnx/tensor.js'
import { buildModel, floats, ints, node, noise, port, type NodeInit } from '#test/support/models.js'
import { everyTensor, regionDifferences, sharesFor } from '#test/support/parted.js'
import { refuses } from '#test/support/refusal.js'
import { zoo } from '#test/support/zoo.js'

const engine = await loadEngine()

/** Cases of each law: a few seconds. More where somebody asks for them. */
const runs = Number(process.env['TESSERA_PART_RUNS'] ?? 15)
t.setTimeout(120_000 * Math.max(1, runs / 15))

interface Built {
  readonly nodes: readonly NodeInit[]
  readonly shape: readonly number[]
  readonly weights: Readonly<Record<string, Tensor>>
  readonly result: string
}

async function prepared({ nodes, shape, weights, result }: Built, level: Level = 'disabled'): Promise<Prepared> {
  const model = buildModel({
    nodes,
    weights,
    inputs: [port('x', 'float32', shape)],
    outputs: [port(result, 'float32')],
    domains: { 'com.microsoft': 1 },
  })
  return prepare(model, { engine, level })
}

const someShares = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 5 })

/** The results of every exact region of a graph that are not, in parts, the bits of the whole. */
async function differences(graph: Prepared, weights: readonly number[]): Promise<string[]> {
  const feeds = Object.fromEntries(
    graph.inputs.map(({ name, shape }) => [name, noise(shape, `${name}/${shape.join()}`)]),
  )
  const tensors = await everyTensor(engine, graph, feeds)
  const found: string[] = []
  for (const region of regionsOf(graph).regions.filter(({ exact }) => exact)) {
    found.push(...(await regionDifferences(engine, graph, region, sharesFor(region, weights), tensors)))
  }
  return found
}

function same(found: readonly string[]): void {
  if (found.length > 0) throw new Error(found.join('; '))
}

const convs = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  inputs: fc.integer({ min: 1, max: 70 }),
  outputs: fc.integer({ min: 8, max: 70 }),
  kernel: fc.integer({ min: 1, max: 5 }),
  /** Beyond the kernel: with 0, and no stride, a single position is computed. */
  more: fc.integer({ min: 0, max: 7 }),
  pad: fc.integer({ min: 0, max: 2 }),
  stride: fc.integer({ min: 1, max: 2 }),
  dilation: fc.integer({ min: 1, max: 2 }),
  bias: fc.boolean(),
})

t.test('a Conv in parts gives the bits of the whole', async (t) => {
  await fc.assert(
    fc.asyncProperty(convs, someShares, async (conv, shares) => {
      const { batch, inputs, outputs, kernel, stride, dilation } = conv
      const size = (kernel - 1) * dilation + 1 + conv.more
      const pad = BigInt(conv.pad)
      const graph = await prepared({
        nodes: [
          node('Conv', ['x', 'w', ...(conv.bias ? ['b'] : [])], ['y'], {
            strides: [BigInt(stride), BigInt(stride)],
            dilations: [BigInt(dilation), BigInt(dilation)],
            pads: [pad, pad, pad, pad],
          }),
        ],
        shape: [batch, inputs, size, size],
        weights: { w: noise([outputs, inputs, kernel, kernel], 'w'), b: noise([outputs], 'b') },
        result: 'y',
      })
      t.equal(regionsOf(graph).regions[0]?.channels, outputs)
      same(await differences(graph, shares))
    }),
    { numRuns: runs },
  )
})

t.test('a transposed Conv in parts gives the bits of the whole', async (t) => {
  await fc.assert(
    fc.asyncProperty(convs, someShares, async ({ batch, inputs, outputs, kernel, stride, more }, shares) => {
      const width = Math.min(kernel, 3)
      const graph = await prepared({
        nodes: [node('ConvTranspose', ['x', 'w', 'b'], ['y'], { strides: [BigInt(stride), BigInt(width)] })],
        shape: [batch, inputs, 1, 1 + (more % 4)],
        weights: { w: noise([inputs, outputs, kernel, width], 'w'), b: noise([outputs], 'b') },
        result: 'y',
      })
      t.equal(regionsOf(graph).regions[0]?.channels, outputs)
      same(await differences(graph, shares))
    }),
    { numRuns: runs },
  )
})

t.test('a Gemm or a MatMul in parts gives the bits of the whole', async (t) => {
  const dense = fc.record({
    rows: fc.integer({ min: 1, max: 20 }),
    inputs: fc.integer({ min: 1, max: 700 }),
    outputs: fc.integer({ min: 4, max: 200 }),
    op: fc.constantFrom('Gemm', 'transposed', 'MatMul'),
  })
  await fc.assert(
    fc.asyncProperty(dense, someShares, async ({ rows, inputs, outputs, op }, shares) => {
      const transB = op === 'transposed'
      const graph = await prepared({
        nodes: [
          op === 'MatMul'
            ? node('MatMul', ['x', 'w'], ['y'])
            : node('Gemm', ['x', 'w', 'b'], ['y'], { transB: transB ? 1n : 0n, alpha: 0.5 }),
        ],
        shape: [rows, inputs],
        weights: { w: noise(transB ? [outputs, inputs] : [inputs, outputs], 'w'), b: noise([outputs], 'b') },
        result: 'y',
      })
      t.equal(regionsOf(graph).regions[0]?.channels, outputs)
      same(await differences(graph, shares))
    }),
    { numRuns: runs },
  )
})

/** A link of a chain of nodes that keep channels apart: from the tensor `in` of `channels` channels to `out`. */
interface Link {
  readonly nodes: (from: string, to: string, channels: number) => NodeInit[]
  readonly weights: (channels: number, name: string) => Readonly<Record<string, Tensor>>
}

const plain = (op: string, attributes: Parameters<typeof node>[3] = {}): Link => ({
  nodes: (from, to) => [node(op, [from], [to], attributes)],
  weights: () => ({}),
})

const links: Readonly<Record<string, Link>> = {
  relu: plain('Relu'),
  sigmoid: plain('Sigmoid'),
  softplus: plain('Softplus'),
  maxPool: plain('MaxPool', { kernel_shape: [2n, 2n], pads: [1n, 1n, 0n, 0n] }),
  averagePool: plain('AveragePool', { kernel_shape: [3n, 3n], pads: [1n, 1n, 1n, 1n] }),
  swish: {
    nodes: (from, to) => [node('Sigmoid', [from], [`${to}/gate`]), node('Mul', [from, `${to}/gate`], [to])],
    weights: () => ({}),
  },
  scale: {
    nodes: (from, to) => [node('Mul', [from, `${to}/k`], [`${to}/s`]), node('Add', [`${to}/s`, `${to}/one`], [to])],
    weights: (channels, name) => ({ [`${name}/k`]: noise([channels, 1, 1], name), [`${name}/one`]: floats([1], [1]) }),
  },
  normalise: {
    nodes: (from, to) => [node('BatchNormalization', [from, ...['s', 'b', 'm', 'v'].map((v) => `${to}/${v}`)], [to])],
    weights: (channels, name) => ({
      ...Object.fromEntries(['s', 'b', 'm'].map((v) => [`${name}/${v}`, noise([channels], `${name}/${v}`)])),
      [`${name}/v`]: floats(
        [channels],
        Array.from({ length: channels }, (_, index) => 0.5 + index / 7),
      ),
    }),
  },
  depthwise: {
    nodes: (from, to, channels) => [
      node('Conv', [from, `${to}/w`, `${to}/b`], [to], { group: BigInt(channels), pads: [1n, 1n, 1n, 1n] }),
    ],
    weights: (channels, name) => ({
      [`${name}/w`]: noise([channels, 1, 3, 3], name),
      [`${name}/b`]: noise([channels], `${name}/b`),
    }),
  },
  pairs: {
    nodes: (from, to, channels) => [node('Conv', [from, `${to}/w`], [to], { group: BigInt(channels / 2) })],
    weights: (channels, name) => ({ [`${name}/w`]: noise([channels, 2, 1, 1], name) }),
  },
  mean: plain('ReduceMean', { axes: [2n, 3n] }),
  globalPool: plain('GlobalAveragePool'),
}

const chains = fc.record({
  inputs: fc.integer({ min: 1, max: 9 }),
  channels: fc.integer({ min: 4, max: 24 }).map((half) => half * 2),
  size: fc.integer({ min: 4, max: 9 }),
  batch: fc.integer({ min: 1, max: 2 }),
  kinds: fc.array(fc.constantFrom(...Object.keys(links)), { minLength: 1, maxLength: 4 }),
  residual: fc.boolean(),
  level: fc.constantFrom<Level>('disabled', 'extended', 'all'),
})

t.test('chains that keep channels apart give, in parts, the bits of the whole at every level', async (t) => {
  let longest = 0
  await fc.assert(
    fc.asyncProperty(chains, someShares, async ({ inputs, channels, size, batch, kinds, residual, level }, shares) => {
      const weights: Record<string, Tensor> = { stem: noise([channels, inputs, 3, 3], 'stem') }
      const nodes = [node('Conv', ['x', 'stem'], ['t0'], { pads: [1n, 1n, 1n, 1n] })]
      if (residual) {
        weights['side'] = noise([channels, inputs, 1, 1], 'side')
        nodes.push(node('Conv', ['x', 'side'], ['beside']), node('Add', ['t0', 'beside'], ['sum']))
      }
      let last = residual ? 'sum' : 't0'
      for (const [index, kind] of kinds.entries()) {
        const link = links[kind]!
        const name = `t${index + 1}`
        Object.assign(weights, link.weights(channels, name))
        nodes.push(...link.nodes(last, name, channels))
        last = name
      }
      weights['head'] = noise([6, channels, 1, 1], 'head')
      nodes.push(node('Conv', [last, 'head'], ['y']))
      const graph = await prepared({ nodes, weights, shape: [batch, inputs, size, size], result: 'y' }, level)
      longest = Math.max(longest, ...regionsOf(graph).regions.map((region) => region.nodes.length))
      same(await differences(graph, shares))
    }),
    { numRuns: runs },
  )
  t.ok(longest >= 4, 'regions are kept parted for long')
})

const attentions = fc.record({
  heads: fc.integer({ min: 2, max: 5 }),
  width: fc.integer({ min: 2, max: 8 }),
  tokens: fc.integer({ min: 1, max: 6 }),
  inputs: fc.integer({ min: 3, max: 20 }),
  combined: fc.boolean(),
  level: fc.constantFrom<Level>('disabled', 'extended', 'all'),
})

t.test('attention is parted by heads, its queries, keys and values in one product or in three', async (t) => {
  await fc.assert(
    fc.asyncProperty(attentions, someShares, async ({ heads, width, tokens, inputs, combined, level }, shares) => {
      const graph = await prepared(attention(heads, width, tokens, inputs, combined), level)
      const whole = regionsOf(graph).regions.find((region) => region.sends.some(({ port }) => port.name === 'mixed'))
      if (whole === undefined) throw new Error('the heads are in no region')
      t.match(whole, { channels: heads * width, granule: width, banks: combined ? 3 : 1, exact: true })
      t.equal(whole.roots.length, combined ? 1 : 3)
      same(await differences(graph, shares))
    }),
    { numRuns: runs },
  )
})

/** x -> queries, keys, values -> heads -> mixed -> y. */
function attention(heads: number, width: number, tokens: number, inputs: number, combined: boolean): Built {
  const size = heads * width
  const weights: Record<string, Tensor> = { out: noise([size, inputs], 'out'), root: floats([], [Math.sqrt(width)]) }
  const nodes: NodeInit[] = []
  const sides = ['q', 'k', 'v']
  if (combined) {
    weights['w'] = noise([inputs, 3 * size], 'w')
    weights['b'] = noise([3 * size], 'b')
    weights['shape'] = ints([5], [1, tokens, 3, heads, width])
    nodes.push(
      node('MatMul', ['x', 'w'], ['m']),
      node('Add', ['m', 'b'], ['a']),
      node('Reshape', ['a', 'shape'], ['r']),
      node('Transpose', ['r'], ['t'], { perm: [2n, 0n, 3n, 1n, 4n] }),
    )
    for (const [index, side] of sides.entries()) {
      weights[`at/${side}`] = ints([], [index])
      nodes.push(node('Gather', ['t', `at/${side}`], [side], { axis: 0n }))
    }
  } else {
    weights['shape'] = ints([4], [1, tokens, heads, width])
    for (const side of sides) {
      weights[`w/${side}`] = noise([inputs, size], side)
      nodes.push(
        node('MatMul', ['x', `w/${side}`], [`m/${side}`]),
        node('Reshape', [`m/${side}`, 'shape'], [`r/${side}`]),
        node('Transpose', [`r/${side}`], [side], { perm: [0n, 2n, 1n, 3n] }),
      )
    }
  }
  weights['flat'] = ints([3], [1, -1, size])
  nodes.push(
    node('Transpose', ['k'], ['kt'], { perm: [0n, 1n, 3n, 2n] }),
    node('MatMul', ['q', 'kt'], ['scores']),
    node('Div', ['scores', 'root'], ['scaled']),
    node('Softmax', ['scaled'], ['shares'], { axis: -1n }),
    node('MatMul', ['shares', 'v'], ['heads']),
    node('Transpose', ['heads'], ['back'], { perm: [0n, 2n, 1n, 3n] }),
    node('Reshape', ['back', 'flat'], ['mixed']),
    node('MatMul', ['mixed', 'out'], ['y']),
  )
  return { nodes, weights, shape: [1, tokens, inputs], result: 'y' }
}

t.test('every region of every specimen of the zoo gives, in parts, the bits of the whole', async (t) => {
  let tried = 0
  for (const level of ['disabled', 'all'] as const) {
    for (const { name, model, feeds } of zoo) {
      const graph = await prepare(model, { engine, level, sample: feeds })
      const { regions } = regionsOf(graph)
      if (regions.length === 0) continue
      tried += regions.length
      const tensors = await everyTensor(engine, graph, feeds)
      for (const region of regions.filter(({ exact }) => exact)) {
        const shares = sharesFor(region, [1, 3])
        t.strictSame(await regionDifferences(engine, graph, region, shares, tensors), [], `${name} at ${level}`)
      }
    }
  }
  t.ok(tried > 0)
})

t.test('a part holds its share of the weights, and others of none of them', async (t) => {
  const graph = await prepared({
    nodes: [node('MatMul', ['x', 'w'], ['m']), node('Add', ['m', 'b'], ['y'])],
    shape: [1, 64],
    weights: { w: noise([64, 40], 'w'), b: noise([40], 'b') },
    result: 'y',
  })
  const [region] = regionsOf(graph).regions as [Region]
  t.equal(region.weightBytes, (64 * 40 + 40) * 4)
  const parts = partsOf(graph, region, [10, 24, 6])
  t.strictSame(
    parts.map(({ weightBytes }) => weightBytes),
    [10, 24, 6].map((columns) => (64 * columns + columns) * 4),
  )
  t.match(parts[1], {
    from: 10,
    to: 34,
    receives: [{ port: { name: 'x', dtype: 'float32', shape: [1, 64] } }],
    sends: [{ port: { name: 'y', dtype: 'float32', shape: [1, 24] }, slice: { axis: 1, offset: 10 } }],
  })
})

t.test('shares that are not the channels of a region are refused', async (t) => {
  const graph = await prepared({
    nodes: [node('Conv', ['x', 'w'], ['c']), node('Relu', ['c'], ['y'])],
    shape: [1, 3, 6, 6],
    weights: { w: noise([8, 3, 3, 3], 'w') },
    result: 'y',
  })
  const [region] = regionsOf(graph).regions as [Region]
  const mistakes: [from: number, to: number, words: RegExp][] = [
    [0, 9, /channels 0 to 8, not 0 to 9/],
    [-2, 2, /not -2 to 2/],
    [0.5, 4, /not 0.5 to 4/],
    [Number.NaN, 4, /not NaN to 4/],
    [4, 5, /at node 'Conv' \(Conv\) needs 2 channels or more, 4 to 5 are too few/],
    [4, 4, /too few/],
    [6, 2, /too few/],
  ]
  for (const [from, to, words] of mistakes) {
    await refuses(t, 'cannot-cut', words, () => partOf(graph, region, from, to))
  }
  await refuses(t, 'cannot-cut', /has 8 channels to share, not 6/, () => partsOf(graph, region, [4, 2]))
  await refuses(t, 'cannot-cut', /too few/, () => partsOf(graph, region, [8, 0]))
  await refuses(t, 'cannot-cut', /of another graph/, () => partOf(graph, { ...region, nodes: [0, 1, 2] }, 0, 4))
  await refuses(t, 'cannot-cut', /of another graph/, () => partOf(graph, { ...region, roots: [1] }, 0, 4))
})

t.test('heads and groups are not broken', async (t) => {
  const heads = await prepared(attention(3, 4, 5, 8, true))
  const region = regionsOf(heads).regions.find(({ granule }) => granule === 4) as Region
  await refuses(t, 'cannot-cut', /is parted in multiples of 4 channels, not 0 to 6/, () => partOf(heads, region, 0, 6))
  await refuses(t, 'cannot-cut', /multiples of 4 channels, not 2 to 8/, () => partOf(heads, region, 2, 8))
})
