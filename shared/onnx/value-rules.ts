/** Rules for nodes that compute: channels stay where they are, or the node reads all of them. */

import { aligned, dataOf, granuleFor, type Rule } from './flow.js'
import { intOf, intsOf } from './graph-view.js'
import { sameLayout, type Layout } from './layout.js'

/** One value of the result is made of one value of each operand, with broadcasting. */
export const elementwise: Rule = ({ view, node, channels, parted }) => {
  const result = view.shape(node.output[0] ?? '') ?? []
  const at = parted.findIndex((layout) => layout !== undefined)
  const { axis: first, banks } = parted[at] as Layout
  const shape = view.shape(node.input[at] ?? '') ?? []
  const size = shape[first] as number
  const fromRight = shape.length - first
  const axis = result.length - fromRight
  if (result[axis] !== size) return 'its operands are parted along different axes'
  const takes = new Map<number, Layout>()
  for (const [place, name] of node.input.entries()) {
    if (name === '') continue
    const shape = view.shape(name)
    if (shape === undefined) return `the shape of '${name}' is not known`
    const own = parted[place]
    const layout = { axis: shape.length - fromRight, banks }
    if (own !== undefined && !sameLayout(own, layout)) return 'its operands are parted along different axes'
    if ((shape[layout.axis] ?? 1) !== 1) takes.set(place, layout)
    else if (own !== undefined) return 'its operands are parted along different axes'
  }
  return { takes, gives: { axis, banks }, granule: granuleFor(channels, size / banks) }
}

/** The same, where the engine computes the last values by another routine than the others. */
export const roughlyElementwise: Rule = (asked) => {
  const flow = elementwise(asked)
  return typeof flow === 'string' ? flow : { ...flow, ...aligned(asked, asked.node.output[0] ?? '', flow.gives) }
}

/** Works within each channel of `[N, C, …]`, or of `[N, …, C]`; `vectors` are operands with a value for each channel. */
export function perChannel(vectors: readonly number[] = []): Rule {
  return (asked) => {
    const { view, node, channels } = asked
    const layout = dataOf(asked)
    if (typeof layout === 'string') return layout
    const shape = view.shape(node.input[0] ?? '') ?? []
    if (layout.axis !== (intOf(node, 'channels_last') === 1 ? shape.length - 1 : 1))
      return 'works across the parted axis'
    const takes = new Map<number, Layout>([[0, layout]])
    for (const place of vectors) {
      if ((node.input[place] ?? '') !== '') takes.set(place, { axis: 0, banks: layout.banks })
    }
    const size = (shape[layout.axis] as number) / layout.banks
    return { takes, gives: layout, granule: granuleFor(channels, size) }
  }
}

/** As `perChannel`, with sums over a channel whose order depends on where in memory it begins. */
export function sumsPerChannel(vectors: readonly number[]): Rule {
  return (asked) => {
    const flow = perChannel(vectors)(asked)
    return typeof flow === 'string' ? flow : { ...flow, ...aligned(asked, asked.node.input[0] ?? '', flow.gives) }
  }
}

/** Softmax and layer norms work within what lies below their axis: the parted one must stand before it. */
export function below(axisByDefault: (opset: number) => number): Rule {
  return (asked) => {
    const { view, node, channels } = asked
    const layout = dataOf(asked)
    if (typeof layout === 'string') return layout
    const shape = view.shape(node.input[0] ?? '') ?? []
    const axis = fromStart(intOf(node, 'axis') ?? axisByDefault(view.opset), shape.length)
    if (axis <= layout.axis) return 'reads all channels'
    const size = (shape[layout.axis] as number) / layout.banks
    return { takes: new Map([[0, layout]]), gives: layout, granule: granuleFor(channels, size) }
  }
}

/** ReduceMean and its kin, over other axes than the parted one. The largest of some values is that in any order. */
export const reduction: Rule = (asked) => {
  const { view, node, channels } = asked
  const layout = dataOf(asked)
  if (typeof layout === 'string') return layout
  const shape = view.shape(node.input[0] ?? '') ?? []
  const rank = shape.length
  const size = shape[layout.axis] as number
  const ordered = node.opType !== 'ReduceMax' && node.opType !== 'ReduceMin'
  const given = intsOf(node, 'axes') ?? view.numbers(node.input[1] ?? '')
  if (given === undefined || given.length === 0) return 'reduces over axes that are not known'
  const axes = given.map((axis) => fromStart(axis, rank))
  if (axes.includes(layout.axis)) return 'reads all channels'
  const gone = intOf(node, 'keepdims') === 0 ? axes.filter((axis) => axis < layout.axis).length : 0
  return {
    takes: new Map([[0, layout]]),
    gives: { axis: layout.axis - gone, banks: layout.banks },
    ...(ordered ? aligned(asked, node.input[0] ?? '', layout) : { granule: granuleFor(channels, size / layout.banks) }),
  }
}

/** A product of two tensors that are parted along an axis of the stack (heads), or broadcast along it. */
export const product: Rule = ({ view, node, channels, parted }) => {
  const at = parted.findIndex((layout) => layout !== undefined)
  const { axis: first, banks } = parted[at] as Layout
  if (intOf(node, 'transBatchA') === 1 || intOf(node, 'transBatchB') === 1) return 'moves the axis of the stack'
  const shapes = node.input.map((name) => view.shape(name) ?? [])
  const shape = shapes[at] as readonly number[]
  const result = view.shape(node.output[0] ?? '') ?? []
  const fromRight = shape.length - first
  if (fromRight <= 2) return 'reads all channels'
  const takes = new Map<number, Layout>()
  for (const [place, shape] of shapes.entries()) {
    const layout = { axis: shape.length - fromRight, banks }
    const own = parted[place]
    if (own !== undefined && !sameLayout(own, layout)) return 'its operands are parted along different axes'
    if ((shape[layout.axis] ?? 1) !== 1) takes.set(place, layout)
  }
  const size = (shape[first] as number) / banks
  return { takes, gives: { axis: result.length - fromRight, banks }, granule: granuleFor(channels, size) }
}

/** QuantizeLinear and DequantizeLinear: one scale for all, or one for each position of an axis. */
export const quantisation: Rule = (asked) => {
  const { view, node, channels } = asked
  const layout = dataOf(asked)
  if (typeof layout === 'string') return layout
  if ((intOf(node, 'block_size') ?? 0) !== 0) return 'has scales of blocks'
  const shape = view.shape(node.input[0] ?? '') ?? []
  const axis = fromStart(intOf(node, 'axis') ?? 1, shape.length)
  const takes = new Map<number, Layout>([[0, layout]])
  for (const place of [1, 2]) {
    const parameter = view.shape(node.input[place] ?? '')
    if (parameter?.length !== 1 || parameter[0] === 1 || axis !== layout.axis) continue
    takes.set(place, { axis: 0, banks: layout.banks })
  }
  return { takes, gives: layout, granule: granuleFor(channels, (shape[layout.axis] as number) / layout.banks) }
}

/** An axis counted from the start. */
export function fromStart(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis
}
