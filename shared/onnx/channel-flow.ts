/** What each operator does with parted channels: keeps them, moves them, or ends the region. */

import { grouped, qualified } from './dense.js'
import { granuleFor, lcm, type Asked, type Flow, type Outcome, type Rule } from './flow.js'
import { blockedDomain } from './graph-view.js'
import {
  concat,
  gatherRule,
  pad,
  refold,
  reorderOutput,
  reshape,
  resize,
  slice,
  split,
  squeeze,
  transpose,
} from './shape-rules.js'
import { subgraphsOf } from './subgraph.js'
import {
  below, elementwise, perChannel, product, quantisation, reduction, roughlyElementwise, sumsPerChannel,
} from './value-rules.js' // prettier-ignore

/** Exact wherever a share begins, as measured: plain arithmetic, or loops that end with masked registers. */
const plain = [
  'Add', 'Sub', 'Mul', 'Div', 'Pow', 'Min', 'Max', 'Sum', 'Mean', 'Abs', 'Neg', 'Relu', 'LeakyRelu', 'PRelu', 'Clip',
  'ThresholdedRelu', 'Sigmoid', 'Tanh', 'Erf', 'Exp', 'Sqrt', 'HardSigmoid', 'HardSwish', 'Softsign', 'Gelu', 'Floor', 'Ceil',
  'Round', 'Sign', 'Reciprocal', 'Cast', 'Identity', 'Where', 'Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual',
  'And', 'Or', 'Not', 'com.microsoft:QuickGelu', 'com.microsoft:Gelu', 'com.microsoft:BiasGelu', 'com.microsoft:FastGelu',
  'com.microsoft:QLinearAdd', 'com.microsoft:QLinearMul', 'com.microsoft:QLinearSigmoid', 'com.microsoft:QLinearLeakyRelu',
] // prettier-ignore

/** Loops that end with another routine. */
const rough = [
  'Elu',
  'Selu',
  'Celu',
  'Mish',
  'Softplus',
  'Log',
  'Sin',
  'Cos',
  'Tan',
  'Atan',
  'Asin',
  'Acos',
  'Sinh',
  'Cosh',
]

const pools = [
  'MaxPool', 'AveragePool', 'LpPool', 'GlobalMaxPool', 'GlobalAveragePool', 'GlobalLpPool', `${blockedDomain}:MaxPool`,
  `${blockedDomain}:AveragePool`, `${blockedDomain}:GlobalMaxPool`, `${blockedDomain}:GlobalAveragePool`,
  `${blockedDomain}:Upsample`, 'com.microsoft:QLinearAveragePool', 'com.microsoft:QLinearGlobalAveragePool',
  'com.microsoft:NhwcMaxPool',
] // prettier-ignore

const reductions = [
  'ReduceMean', 'ReduceSum', 'ReduceMax', 'ReduceMin', 'ReduceProd', 'ReduceL1', 'ReduceL2', 'ReduceSumSquare',
  'ReduceLogSum', 'ReduceLogSumExp',
] // prettier-ignore

const last = below(() => -1)
const softmax = below((opset) => (opset < 13 ? 1 : -1))

const rules: ReadonlyMap<string, Rule> = new Map([
  ...each(plain, elementwise),
  ...each(rough, roughlyElementwise),
  ...each(pools, perChannel()),
  ...each(reductions, reduction),
  ...each(['MatMul', 'com.microsoft:FusedMatMul'], product),
  ...each(['QuantizeLinear', 'DequantizeLinear'], quantisation),
  ...each(['Softmax', 'LogSoftmax'], softmax),
  ...each(['LayerNormalization', 'RMSNormalization', 'SimplifiedLayerNormalization'], last),
  ['BatchNormalization', perChannel([1, 2, 3, 4])],
  ['InstanceNormalization', sumsPerChannel([1, 2])],
  ['Reshape', reshape],
  ...each(['Flatten', 'Unsqueeze'], refold),
  ['Squeeze', squeeze],
  ['Transpose', transpose],
  ['Split', split],
  ['Slice', slice],
  ['Concat', concat],
  ['Gather', gatherRule],
  ['Pad', pad],
  ...each(['Resize', 'Upsample'], resize),
  [`${blockedDomain}:ReorderOutput`, reorderOutput],
])

function each(ops: readonly string[], rule: Rule): (readonly [string, Rule])[] {
  return ops.map((op) => [op, rule])
}

/** How a node goes on with channels that come to it parted. */
export function channelFlow(asked: Asked): Outcome {
  const { node, view } = asked
  if (subgraphsOf(node).length > 0) return 'holds a graph of its own'
  const results = node.output.filter((name) => name !== '')
  if (results.some((name) => view.shape(name) === undefined)) return 'its shape depends on values'
  const op = qualified(node)
  const flow = grouped(asked) ?? rules.get(op)?.(asked) ?? `no rule says what ${op} does with channels`
  if (typeof flow === 'string') return flow
  if (results.length !== 1 && op !== 'Split') return 'has more than one result'
  return node.domain === blockedDomain ? inBlocks(asked, flow) : flow
}

/** A share of a blocked layout is of whole blocks. */
function inBlocks({ view, node, channels }: Asked, flow: Flow): Flow {
  const size = (view.shape(node.output[0] ?? '')?.[flow.gives.axis] as number) / flow.gives.banks
  return { ...flow, granule: lcm(flow.granule, granuleFor(channels, size, view.block())) }
}
