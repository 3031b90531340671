import * as fc from 'fast-check'
import t, { type Test } from 'tap'
import { prepare, type Prepared } from '#shared/onnx/prepare.js'
import { regionsOf, type Region } from '#shared/onnx/regions.js'
import { loadEngine } from '#shared/onnx/session.js'
import { maxAbsDiff, type Tensor } from '#shared/onnx/tensor.js'
import { buildModel, floats, ints, node, noise, port, type NodeInit } from '#test/support/models.js'
import { everyTensor, regionDifferences, runParts, sharesFor } from '#test/support/parted.js'

const engine = await loadEngine()

/** Channels that are neither a power of two nor a multiple of a register's length, on odd sizes. */
const channels = 10
const [rows, columns] = [5, 7]

interface Case {
  readonly op: string
  /** From `c`, `[1, 10, 5, 7]` and parted along axis 1, to `y`; all but the last node are steps on the way. */
  readonly nodes: readonly NodeInit[]
  readonly weights?: Readonly<Record<string, Tensor>>
  readonly opset?: number
}

const int8 = (shape: readonly number[], values: readonly number[]): Tensor => ({
  dtype: 'int8',
  shape,
  data: new Uint8Array(Int8Array.from(values).buffer),
})
const uint8 = (shape: readonly number[], values: readonly number[]): Tensor => ({
  dtype: 'uint8',
  shape,
  data: Uint8Array.from(values),
})
const step = floats([], [0.05])
const zero = uint8([], [128])
const some = (count: number): number[] => Array.from({ length: count }, (_, index) => ((index * 37) % 200) - 100)

function only(op: string, attributes: Parameters<typeof node>[3] = {}, weights: Case['weights'] = {}): Case {
  return { op, nodes: [node(op, ['c', ...Object.keys(weights)], ['y'], attributes)], weights }
}

function contrib(op: string, attributes: Parameters<typeof node>[3] = {}): Case {
  return { op, nodes: [node(op, ['c'], ['y'], attributes, { domain: 'com.microsoft' })] }
}

/** A quantised op between a QuantizeLinear and a DequantizeLinear. */
function quantised(op: string, inputs: readonly string[], more: Case['weights'] = {}, attributes = {}): Case {
  const domain = op === 'QLinearConv' ? '' : 'com.microsoft'
  return {
    op,
    nodes: [
      node('QuantizeLinear', ['c', 's', 'z'], ['q']),
      node(op, inputs, ['p'], attributes, { domain }),
      node('DequantizeLinear', ['p', 's', 'z'], ['y']),
    ],
    weights: { s: step, z: zero, ...more },
  }
}

const kept: readonly Case[] = [
  ...['Abs', 'Sqrt', 'Exp', 'Tanh', 'Erf', 'Sigmoid', 'HardSigmoid', 'Round', 'Reciprocal', 'Softsign'].map((op) => only(op)),
  ...['QuickGelu', 'Gelu', 'FastGelu'].map((op) => contrib(op, op === 'QuickGelu' ? { alpha: 1.702 } : {})),
  only('PRelu', {}, { slope: noise([channels, 1, 1], 'slope') }),
  only('Pow', {}, { exponent: floats([], [2]) }),
  only('Clip', {}, { least: floats([], [-0.5]), most: floats([], [0.5]) }),
  only('Div', {}, { by: noise([1, channels, 1, columns], 'by') }),
  only('Max', {}, { other: noise([columns], 'other') }),
  {
    op: 'Where',
    nodes: [
      node('Greater', ['c', 'half'], ['isLarge']),
      node('Where', ['isLarge', 'c', 'half'], ['y']),
    ],
    weights: { half: noise([channels, 1, 1], 'half') },
  },
  only('ConvTranspose', { group: BigInt(channels / 2) }, { w: noise([channels, 3, 2, 2], 'w'), b: noise([15], 'b') }),
  only('LpPool', { kernel_shape: [2n, 2n] }),
  only('GlobalMaxPool'),
  only('GlobalLpPool'),
  only('MaxPool', { kernel_shape: [3n, 3n], strides: [2n, 2n] }),
  only('ReduceMax', { axes: [2n], keepdims: 0n }),
  only('Softmax', { axis: 3n }),
  only('LogSoftmax', { axis: -1n }),
  only('LayerNormalization', { axis: 2n }, { gain: noise([rows, columns], 'gain') }),
  {
    op: 'Pad',
    nodes: [node('Pad', ['c', 'pads'], ['p'], { mode: 'reflect' }), node('ReduceMin', ['p'], ['y'], { axes: [2n] })],
    weights: { pads: ints([8], [0, 0, 1, 2, 0, 0, 0, 1]) },
  },
  only('Slice', {}, { starts: ints([2], [1, -5]), ends: ints([2], [9223372036854775807n, -1]), axes: ints([2], [2, 3]) }),
  only('Transpose', { perm: [2n, 0n, 3n, 1n] }),
  only('Transpose'),
  only('Gather', { axis: 2n }, { rows: ints([2], [3, 0]) }),
  only('Flatten', { axis: 1n }),
  only('Unsqueeze', {}, { axes: ints([2], [0, 3]) }),
  only('Reshape', {}, { shape: ints([3], [0, -1, rows]) }),
  only('Reshape', {}, { shape: ints([4], [1, 5, 2, rows * columns]) }),
  only('Reshape', {}, { shape: ints([3], [rows * columns, 1, channels]) }),
  only('QuantizeLinear', { axis: 1n }, { scales: floats([channels], Array.from({ length: channels }, (_, i) => 0.01 + i / 90)), zeros: uint8([channels], some(channels).map((value) => value + 100)) }),
  {
    op: 'Squeeze',
    nodes: [node('GlobalAveragePool', ['c'], ['g']), node('Squeeze', ['g', 'axes'], ['y'])],
    weights: { axes: ints([2], [0, 3]) },
  },
  {
    op: 'Resize',
    nodes: [node('MaxPool', ['c'], ['m'], { kernel_shape: [5n, 7n] }), node('Resize', ['m', '', '', 'sizes'], ['y'])],
    weights: { sizes: ints([4], [1, channels, 1, 1]) },
  },
  {
    op: 'Split',
    nodes: [
      node('Split', ['c', 'sizes'], ['left', 'right'], { axis: 3n }),
      node('Mul', ['left', 'right'], ['y']),
    ],
    weights: { sizes: ints([2], [1, 6]) },
  },
  {
    op: 'Concat',
    nodes: [node('Relu', ['c'], ['r']), node('Concat', ['c', 'r', 'more'], ['z'], { axis: 2n }), node('ReduceMax', ['z'], ['y'], { axes: [2n, 3n] })],
    weights: { more: noise([1, channels, 2, columns], 'more') },
  },
  {
    op: 'MatMul',
    nodes: [node('Transpose', ['c'], ['turned'], { perm: [0n, 1n, 3n, 2n] }), node('MatMul', ['c', 'turned'], ['y'])],
  },
  quantised('QLinearAdd', ['q', 's', 'z', 'q', 's', 'z', 's', 'z']),
  quantised('QLinearMul', ['q', 's', 'z', 'k', 's', 'z', 's', 'z'], { k: uint8([channels, 1, 1], some(channels).map((value) => value + 100)) }),
  quantised('QLinearSigmoid', ['q', 's', 'z', 's', 'z']),
  quantised('QLinearLeakyRelu', ['q', 's', 'z', 's', 'z'], {}, { alpha: 0.1 }),
  quantised('QLinearGlobalAveragePool', ['q', 's', 'z', 's', 'z'], {}, { channels_last: 0n }),
  quantised('QLinearAveragePool', ['q', 's', 'z', 's', 'z'], {}, { kernel_shape: [2n, 2n] }),
  quantised('QLinearConv', ['q', 's', 'z', 'w', 'ws', 'wz', 's', 'z', 'b'], {
    w: int8([channels, 1, 3, 3], some(channels * 9)),
    ws: floats([channels], Array.from({ length: channels }, (_, index) => 0.001 * (index + 1))),
    wz: int8([channels], Array.from({ length: channels }, () => 0)),
    b: { dtype: 'int32', shape: [channels], data: new Uint8Array(Int32Array.from(some(channels)).buffer) },
  }, { group: BigInt(channels) }),
] // prettier-ignore

async function prepared({ nodes, weights = {}, opset }: Case): Promise<Prepared> {
  const model = buildModel({
    nodes: [node('Conv', ['x', 'stem'], ['c']), ...nodes],
    weights: { stem: noise([channels, 3, 1, 1], 'stem'), ...weights },
    inputs: [port('x', 'float32', [1, 3, rows, columns])],
    outputs: [port('y', nodes.at(-1)?.opType === 'QuantizeLinear' ? 'uint8' : 'float32')],
    domains: { 'com.microsoft': 1 },
    opset: opset ?? 17,
  })
  return prepare(model, { engine, level: 'disabled' })
}

/** Whose last values, on these sizes, another routine computes. */
const rough: readonly Case[] = [
  ...['Elu', 'Selu', 'Celu', 'Softplus', 'Sin', 'Cos'].map((op) => only(op)),
  only('ReduceMean', { axes: [2n, 3n] }),
  only('ReduceL1', { axes: [3n] }),
  only('InstanceNormalization', {}, { scale: noise([channels], 'scale'), shift: noise([channels], 'shift') }),
]

/** Which need all channels, or what is not known before they run. */
const ending: readonly (Case & { readonly because: RegExp })[] = [
  { ...only('Softmax', { axis: 1n }), because: /reads all channels/ },
  { ...only('LayerNormalization', { axis: 1n }, { gain: floats([], [2]) }), because: /reads all channels/ },
  { ...only('ReduceMax', { axes: [1n] }), because: /reads all channels/ },
  { ...only('ReduceMean'), because: /axes that are not known/ },
  { ...only('Concat', { axis: 1n }, { more: noise([1, 2, rows, columns], 'more') }), because: /sets channels beside others/ },
  { ...only('Slice', {}, { starts: ints([1], [0]), ends: ints([1], [4]), axes: ints([1], [1]) }), because: /a range of the channels/ },
  { ...only('Gather', { axis: 1n }, { at: ints([2], [3, 0]) }), because: /picks channels/ },
  { ...only('Pad', {}, { pads: ints([8], [0, 1, 0, 0, 0, 0, 0, 0]) }), because: /adds channels/ },
  { ...only('Squeeze'), because: /does not name/ },
  { ...only('MatMul', {}, { w: noise([columns, 3], 'w') }), because: /reads all channels/ },
  { ...only('CumSum', {}, { axis: ints([], [1]) }), because: /no rule says what CumSum does with channels/ },
  { ...only('DepthToSpace', { blocksize: 1n }), because: /no rule says what DepthToSpace does/ },
  {
    op: 'Split',
    nodes: [node('Split', ['c', 'sizes'], ['left', 'right'], { axis: 1n }), node('Mul', ['left', 'right'], ['y'])],
    weights: { sizes: ints([2], [1, 9]) },
    because: /parts the channels once more/,
  },
  {
    op: 'MatMul',
    nodes: [node('Transpose', ['c'], ['turned'], { perm: [0n, 2n, 3n, 1n] }), node('MatMul', ['turned', 'turned/w'], ['y'])],
    weights: { 'turned/w': noise([channels, 3], 'w') },
    because: /reads all channels/,
  },
  {
    op: 'Add',
    nodes: [
      node('ReduceMax', ['c'], ['m'], { axes: [2n, 3n] }),
      node('Transpose', ['m'], ['turned'], { perm: [0n, 2n, 3n, 1n] }),
      node('Add', ['m', 'turned'], ['y']),
    ],
    because: /parted along different axes/,
  },
  {
    op: 'Reshape',
    nodes: [node('Transpose', ['c'], ['turned'], { perm: [0n, 2n, 3n, 1n] }), node('Reshape', ['turned', 'as'], ['y'])],
    weights: { as: ints([3], [1, channels, rows * columns]) },
    because: /no whole blocks/,
  },
] // prettier-ignore

for (const [index, one] of kept.entries()) {
  t.test(`${one.op} keeps channels apart (${index})`, async (t) => {
    const graph = await prepared(one)
    const region = regionWith(t, graph, one.op)
    t.equal(region.inexact, undefined)
    const tensors = await everyTensor(engine, graph, { x: noise([1, 3, rows, columns], 'x') })
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 4 }), async (weights) => {
        const found = await regionDifferences(engine, graph, region, sharesFor(region, weights), tensors)
        if (found.length > 0) throw new Error(found.join('; '))
      }),
      { numRuns: 4 },
    )
  })
}

for (const one of rough) {
  t.test(`${one.op} on odd sizes is near, and says why it is not exact`, async (t) => {
    const graph = await prepared(one)
    const region = regionWith(t, graph, one.op)
    t.match(region.inexact, /the last values of .* are computed by another routine/)
    const tensors = await everyTensor(engine, graph, { x: noise([1, 3, rows, columns], 'x') })
    const { outputs } = await runParts(engine, graph, region, [3, 5, 2], tensors)
    for (const { port } of region.sends) t.ok(maxAbsDiff(outputs[port.name]!, tensors[port.name]!) < 1e-5)
  })
}

for (const [index, one] of ending.entries()) {
  t.test(`${one.op} ends the region (${index})`, async (t) => {
    const graph = await prepared(one)
    const { regions } = regionsOf(graph)
    t.match(
      regions.flatMap(({ ends }) => ends.map(({ reason }) => reason)),
      [one.because],
    )
    const tensors = await everyTensor(engine, graph, { x: noise([1, 3, rows, columns], 'x') })
    for (const region of regions) {
      t.strictSame(await regionDifferences(engine, graph, region, sharesFor(region, [1, 2]), tensors), [])
    }
  })
}

function regionWith(t: Test, graph: Prepared, op: string): Region {
  const { regions } = regionsOf(graph)
  const found = regions.findLast(({ nodes }) => nodes.some((at) => graph.nodes[at]?.opType === op))
  t.ok(found, `${op} is in a region`)
  return found as Region
}
