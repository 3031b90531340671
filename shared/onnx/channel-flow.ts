/** What each operator does with a parted channel axis: keeps it, moves it, or ends the region. */

import { grouped, qualified } from './dense.js'
import { granuleFor, lcm, type Asked, type Flow, type Outcome } from './flow.js'
import { blockedDomain } from './graph-view.js'
import type { Layout } from './layout.js'
import { subgraphsOf } from './subgraph.js'

type Rule = (asked: Asked) => Outcome

/** One value of the result is made of one value of each operand, with broadcasting. */
const elementwise: Rule = ({ view, node, channels, parted }) => {
  const result = view.shape(node.output[0] ?? '')
  if (result === undefined) return 'its shape depends on values'
  const takes = new Map<number, Layout>()
  const at = parted.findIndex((layout) => layout !== undefined)
  const layout = parted[at] as Layout
  const shape = view.shape(node.input[at] ?? '') ?? []
  const size = shape[layout.axis] as number
  const fromRight = shape.length - layout.axis
  for (const [place, name] of node.input.entries()) {
    if (name === '') continue
    const shape = view.shape(name)
    if (shape === undefined) return `the shape of '${name}' is not known`
    const own = parted[place]
    const axis = shape.length - fromRight
    if (own !== undefined && (own.axis !== axis || own.banks !== layout.banks || shape[axis] !== size))
      return 'its operands are parted along different axes'
    if (own !== undefined || (shape[axis] ?? 1) !== 1) takes.set(place, { axis, banks: layout.banks })
  }
  const axis = result.length - fromRight
  if (result[axis] !== size) return 'its operands are parted along different axes'
  return { takes, gives: { axis, banks: layout.banks }, granule: granuleFor(channels, size / layout.banks) }
}

/** Works within each channel of `[N, C, …]`: its first operand is the data, `vectors` have a value for each channel. */
function perChannel(vectors: readonly number[] = []): Rule {
  return ({ view, node, channels, parted }) => {
    const layout = parted[0]
    if (layout === undefined) return 'its parameters are parted, its data are not'
    if (layout.axis !== 1) return 'its channels are not the ones that are parted'
    const size = view.shape(node.input[0] ?? '')?.[1] as number
    const { banks } = layout
    const takes = new Map<number, Layout>([[0, layout]])
    for (const place of vectors) if ((node.input[place] ?? '') !== '') takes.set(place, { axis: 0, banks })
    return { takes, gives: layout, granule: granuleFor(channels, size / banks) }
  }
}

const rules: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(
    [
      'Add', 'Sub', 'Mul', 'Div', 'Min', 'Max', 'Sum', 'Mean', 'Abs', 'Neg', 'Relu', 'LeakyRelu', 'PRelu', 'Clip', 'Sigmoid',
      'Tanh', 'Erf', 'Exp', 'Sqrt', 'HardSigmoid', 'HardSwish', 'Gelu', 'Floor', 'Ceil', 'Round', 'Sign', 'Reciprocal',
      'Cast', 'Identity', 'Where', 'Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual', 'And', 'Or', 'Not',
      'com.microsoft:QuickGelu', 'com.microsoft:Gelu', 'com.microsoft:BiasGelu', 'com.microsoft:FastGelu',
    ].map((op) => [op, elementwise]),
  ),
  BatchNormalization: perChannel([1, 2, 3, 4]),
  InstanceNormalization: perChannel([1, 2]),
  ...Object.fromEntries(
    [
      'MaxPool', 'AveragePool', 'LpPool', 'GlobalMaxPool', 'GlobalAveragePool', `${blockedDomain}:MaxPool`,
      `${blockedDomain}:AveragePool`, `${blockedDomain}:GlobalMaxPool`, `${blockedDomain}:GlobalAveragePool`,
      `${blockedDomain}:Upsample`,
    ].map((op) => [op, perChannel()]),
  ),
} // prettier-ignore

/** How a node goes on with channels that come to it parted. */
export function channelFlow(asked: Asked): Outcome {
  const { node, view, channels } = asked
  if (subgraphsOf(node).length > 0) return 'holds a graph of its own'
  if (node.output.filter((name) => name !== '').some((name) => view.shape(name) === undefined))
    return 'its shape depends on values'
  const op = qualified(node)
  const outcome = grouped(asked) ?? rules[op]?.(asked) ?? `no rule says what ${node.opType} does with channels`
  if (typeof outcome === 'string') return outcome
  const single = node.output.filter((name) => name !== '').length === 1
  if (!single && op !== 'Split') return 'has more than one result'
  return node.domain === blockedDomain ? inBlocks(asked, outcome, channels) : outcome
}

function inBlocks({ view, node }: Asked, flow: Flow, channels: number): Flow {
  const size = (view.shape(node.output[0] ?? '')?.[flow.gives.axis] as number) / flow.gives.banks
  return { ...flow, granule: lcm(flow.granule, granuleFor(channels, size, view.block)) }
}
