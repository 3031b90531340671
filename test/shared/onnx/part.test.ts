import * as fc from 'fast-check'
import t from 'tap'
import { partOf, partsOf } from '#shared/onnx/part.js'
import { prepare, type Prepared } from '#shared/onnx/prepare.js'
import { regionsOf, type Region } from '#shared/onnx/regions.js'
import { loadEngine } from '#shared/onnx/session.js'
import { sameBits, type Tensor } from '#shared/onnx/tensor.js'
import { buildModel, node, noise, port, type NodeInit } from '#test/support/models.js'
import { everyTensor, runParts, runWholeRegion } from '#test/support/parted.js'
import { refuses } from '#test/support/refusal.js'

const engine = await loadEngine()

/** Cases of each law: a few seconds. More where somebody asks for them. */
const runs = Number(process.env['TESSERA_PART_RUNS'] ?? 25)

interface Built {
  readonly nodes: readonly NodeInit[]
  readonly shape: readonly number[]
  readonly weights: Readonly<Record<string, Tensor>>
  readonly result: string
}

async function prepared({ nodes, shape, weights, result }: Built): Promise<Prepared> {
  const model = buildModel({
    nodes,
    weights,
    inputs: [port('x', 'float32', shape)],
    outputs: [port(result, 'float32')],
    domains: { 'com.microsoft': 1 },
  })
  return prepare(model, { engine, level: 'disabled' })
}

/** Shares of a region's channels from random weights: whole granules, at least one each. */
function sharesFor({ channels, granule }: Region, given: readonly number[]): number[] {
  const granules = Math.floor(channels / granule)
  const parts = given.slice(0, Math.max(2, Math.min(given.length, granules)))
  const shares = parts.map(() => 1)
  const sum = parts.reduce((total, part) => total + part, 0)
  for (const [index, part] of parts.entries()) shares[index]! += Math.floor(((granules - parts.length) * part) / sum)
  const counts = shares.map((share) => share * granule)
  counts[0]! += channels - counts.reduce((total, count) => total + count, 0)
  return counts
}

const someShares = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 5 })

/** True if every region of the graph, in parts, gives what it gives whole; the first that does not is named. */
async function differences(graph: Prepared, shares: readonly number[]): Promise<string[]> {
  const feeds = Object.fromEntries(
    graph.inputs.map(({ name, shape }) => [name, noise(shape, `${name}/${shape.join()}`)]),
  )
  const tensors = await everyTensor(engine, graph, feeds)
  const found: string[] = []
  for (const region of regionsOf(graph).regions.filter(({ exact }) => exact)) {
    const counts = sharesFor(region, shares)
    const { outputs } = await runParts(engine, graph, region, counts, tensors)
    const whole = await runWholeRegion(engine, graph, region, tensors)
    for (const [name, tensor] of Object.entries(whole)) {
      const ops = region.nodes.map((index) => graph.nodes[index]!.opType)
      if (!sameBits(tensor, outputs[name]!)) found.push(`${name} of ${ops.join()} in ${counts.join()}`)
    }
  }
  return found
}

const convs = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  inputs: fc.integer({ min: 1, max: 70 }),
  outputs: fc.integer({ min: 4, max: 70 }),
  size: fc.integer({ min: 5, max: 12 }),
  kernel: fc.integer({ min: 1, max: 5 }),
  stride: fc.integer({ min: 1, max: 2 }),
  dilation: fc.integer({ min: 1, max: 2 }),
  bias: fc.boolean(),
})

t.test('a Conv in parts gives the bits of the whole', async (t) => {
  await fc.assert(
    fc.asyncProperty(convs, someShares, async (conv, shares) => {
      const { batch, inputs, outputs, size, kernel, stride, dilation } = conv
      const graph = await prepared({
        nodes: [
          node('Conv', ['x', 'w', ...(conv.bias ? ['b'] : [])], ['y'], {
            strides: [BigInt(stride), BigInt(stride)],
            dilations: [BigInt(dilation), BigInt(dilation)],
            pads: [2n, 2n, 2n, 2n],
          }),
        ],
        shape: [batch, inputs, size, size],
        weights: { w: noise([outputs, inputs, kernel, kernel], 'w'), b: noise([outputs], 'b') },
        result: 'y',
      })
      t.equal(regionsOf(graph).regions[0]?.channels, outputs)
      return (await differences(graph, shares)).length === 0
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
      return (await differences(graph, shares)).length === 0
    }),
    { numRuns: runs },
  )
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
