/** Rules for nodes that only move values: the channels are followed to where they lie afterwards. */

import { dataOf, granuleFor, integers, type Asked, type Flow, type Outcome, type Rule } from './flow.js'
import { intOf, intsOf } from './graph-view.js'
import { sameLayout, shapeOfShare, shareOf, type Layout } from './layout.js'
import { elementCount } from './tensor.js'
import { fromStart } from './value-rules.js'

/** Reshape to a shape that is known; where the channels stay whole blocks of one axis. */
export const reshape: Rule = (asked) => {
  const { view, node } = asked
  const name = node.input[1] ?? ''
  if (view.constant(name)?.stored === undefined) return 'its shape is computed as it runs'
  const flow = refold(asked)
  if (typeof flow === 'string') return flow
  const result = view.shape(node.output[0] ?? '') ?? []
  return { ...flow, operands: (share) => new Map([[1, integers(shapeOfShare(result, flow.gives, share))]]) }
}

/** Flatten, Unsqueeze, and Squeeze of axes that are named: the shape follows from the data's. */
export const refold: Rule = (asked) => {
  const { view, node, channels } = asked
  const layout = dataOf(asked)
  if (typeof layout === 'string') return layout
  const result = view.shape(node.output[0] ?? '') ?? []
  const gives = refolded(view.shape(node.input[0] ?? '') ?? [], layout, result)
  if (gives === undefined) return 'its channels are no whole blocks of one axis afterwards'
  const size = (result[gives.axis] as number) / gives.banks
  return { takes: new Map([[0, layout]]), gives, granule: granuleFor(channels, size) }
}

export const squeeze: Rule = (asked) => {
  const named = intsOf(asked.node, 'axes') ?? asked.view.numbers(asked.node.input[1] ?? '')
  return named === undefined ? 'drops axes that it does not name' : refold(asked)
}

/**
 * Where the channels lie in a tensor with the same values in another shape: the axis of which the values before the
 * channels, and each bank's, are whole blocks. Axes of one position are passed over.
 */
function refolded(shape: readonly number[], { axis, banks }: Layout, result: readonly number[]): Layout | undefined {
  const before = elementCount(shape.slice(0, axis)) * banks
  let outside = 1
  for (const [at, size] of result.entries()) {
    if (outside * size <= before) {
      outside *= size
      continue
    }
    const inside = before / outside
    return Number.isInteger(inside) && size % inside === 0 ? { axis: at, banks: inside } : undefined
  }
  return undefined
}

export const transpose: Rule = (asked) => {
  const { view, node } = asked
  const rank = view.shape(node.input[0] ?? '')?.length ?? 0
  const order = intsOf(node, 'perm') ?? Array.from({ length: rank }, (_, index) => rank - 1 - index)
  return moved(asked, (layout) => ({ ...layout, axis: order.indexOf(layout.axis) }))
}

/** Split along another axis; or along the parted one, where every result gets whole banks. */
export const split: Rule = (asked) => {
  const { view, node } = asked
  const layout = dataOf(asked)
  if (typeof layout === 'string') return layout
  const shape = view.shape(node.input[0] ?? '') ?? []
  const axis = fromStart(intOf(node, 'axis') ?? 0, shape.length)
  if (axis !== layout.axis) return moved(asked, () => layout)
  const sizes = node.output.map((name) => view.shape(name)?.[axis] ?? 0)
  const count = sizes.length
  if (layout.banks % count !== 0 || sizes.some((size) => size !== sizes[0])) return 'parts the channels once more'
  const flow = moved(asked, () => ({ axis, banks: layout.banks / count }))
  if (typeof flow === 'string') return flow
  return {
    ...flow,
    attributes: (share) => ({ split: sizes.map((size) => shareOf(size, share)) }),
    operands: (share) =>
      (node.input[1] ?? '') === '' ? new Map() : new Map([[1, integers(sizes.map((size) => shareOf(size, share)))]]),
  }
}

/** Slice along other axes; or along the parted one, where it takes whole banks. */
export const slice: Rule = (asked) => {
  const { view, node } = asked
  const layout = dataOf(asked)
  if (typeof layout === 'string') return layout
  const rank = view.shape(node.input[0] ?? '')?.length ?? 0
  const [starts, ends, , steps] = [1, 2, 3, 4].map((place) => view.numbers(node.input[place] ?? ''))
  if (starts === undefined || ends === undefined) return 'takes a range that is computed as it runs'
  const listed = (node.input[3] ?? '') === '' ? starts.map((_, index) => index) : view.numbers(node.input[3] as string)
  if (listed === undefined) return 'takes a range of axes that are computed as it runs'
  const at = listed.findIndex((axis) => fromStart(axis, rank) === layout.axis)
  if (at === -1) return moved(asked, () => layout)
  const size = (view.shape(node.input[0] ?? '') ?? [])[layout.axis] as number
  const bank = size / layout.banks
  const [from, to] = [starts[at], ends[at]].map((end = 0) => Math.min(end < 0 ? end + size : end, size)) as [
    number,
    number,
  ]
  const kind = view.dtype(node.input[1] as string) === 'int32' ? 'int32' : 'int64'
  const step = (node.input[4] ?? '') === '' ? 1 : steps?.[at]
  if (step !== 1 || from < 0 || from % bank !== 0 || to % bank !== 0 || to <= from)
    return 'takes a range of the channels'
  const flow = moved(asked, () => ({ axis: layout.axis, banks: (to - from) / bank }))
  if (typeof flow === 'string') return flow
  return {
    ...flow,
    operands: (share) =>
      new Map([
        [1, integers(starts.with(at, shareOf(from, share)), kind)],
        [2, integers(ends.with(at, shareOf(to, share)), kind)],
      ]),
  }
}

/** Concat along another axis: what is not parted yet is parted alike. */
export const concat: Rule = ({ view, node, channels, parted }) => {
  const layout = parted.find((layout) => layout !== undefined) as Layout
  const shape = view.shape(node.output[0] ?? '') ?? []
  if (fromStart(intOf(node, 'axis') ?? 0, shape.length) === layout.axis) return 'sets channels beside others'
  if (parted.some((own) => own !== undefined && !sameLayout(own, layout)))
    return 'its operands are parted along different axes'
  const takes = new Map(node.input.map((_, place) => [place, layout]))
  return { takes, gives: layout, granule: granuleFor(channels, (shape[layout.axis] as number) / layout.banks) }
}

/** Gather along another axis. */
export const gatherRule: Rule = (asked) => {
  const { view, node } = asked
  const [data, indices] = [0, 1].map((place) => view.shape(node.input[place] ?? ''))
  if (data === undefined || indices === undefined) return 'the shape of its positions is not known'
  const axis = fromStart(intOf(node, 'axis') ?? 0, data.length)
  return moved(asked, (layout) => {
    if (axis === layout.axis) return 'picks channels'
    return axis < layout.axis ? { ...layout, axis: layout.axis - 1 + indices.length } : layout
  })
}

export const pad: Rule = (asked) => {
  const { view, node } = asked
  const pads = intsOf(node, 'pads') ?? view.numbers(node.input[1] ?? '')
  const rank = view.shape(node.input[0] ?? '')?.length ?? 0
  if (pads === undefined || pads.length !== 2 * rank) return 'pads axes that are not known'
  return moved(asked, (layout) =>
    pads[layout.axis] === 0 && pads[layout.axis + rank] === 0 ? layout : 'adds channels',
  )
}

/** Resize by scales or to sizes that are known, along other axes. */
export const resize: Rule = (asked) => {
  const { view, node } = asked
  const sizesPlace = 3
  const sizes = node.input[sizesPlace] ?? ''
  const result = view.shape(node.output[0] ?? '') ?? []
  const roi = node.input.length > 2 ? (node.input[1] ?? '') : ''
  if (intsOf(node, 'axes') !== undefined || (roi !== '' && view.shape(roi)?.[0] !== 0))
    return 'resizes a region of its own'
  const flow = moved(asked, (layout) => layout)
  if (typeof flow === 'string' || sizes === '') return flow
  if (view.constant(sizes)?.stored === undefined) return 'its sizes are computed as it runs'
  return { ...flow, operands: (share) => new Map([[sizesPlace, integers(shapeOfShare(result, flow.gives, share))]]) }
}

/** From blocks to the plain layout, channels second or last, where no channel is padding. */
export const reorderOutput: Rule = (asked) => {
  const { view, node } = asked
  const channels = intOf(node, 'channels') ?? 0
  const shape = view.shape(node.input[0] ?? '') ?? []
  if (channels !== shape[1]) return 'drops the channels that fill its last block'
  const flow = moved(asked, (layout) =>
    intOf(node, 'channels_last') === 1 ? { ...layout, axis: shape.length - 1 } : layout,
  )
  return typeof flow === 'string' ? flow : { ...flow, attributes: (share) => ({ channels: shareOf(channels, share) }) }
}

/** The data go elsewhere, all other operands come whole; the axis has as many positions as before, or whole banks of them. */
function moved(asked: Asked, to: (layout: Layout) => Layout | string): Outcome {
  const { view, node, channels } = asked
  const layout = dataOf(asked)
  if (typeof layout === 'string') return layout
  const gives = to(layout)
  if (typeof gives === 'string') return gives
  const bank = ((view.shape(node.input[0] ?? '') ?? [])[layout.axis] as number) / layout.banks
  const results = node.output.filter((name) => name !== '').map((name) => view.shape(name)?.[gives.axis])
  if (results.some((size) => size !== bank * gives.banks)) return 'changes the number of channels'
  const flow: Flow = { takes: new Map([[0, layout]]), gives, granule: granuleFor(channels, bank) }
  return flow
}
