/** Where the channels of a region lie in a tensor that is parted with them, and what a share of them is. */

import { Refusal } from '../errors.js'
import { elementCount, itemBytes, type Tensor } from './tensor.js'

/**
 * An axis that is parted in step with a region's channels: whatever its size, a part that does `[from, to)` of the
 * channels has the same fraction of it.
 */
export interface Layout {
  readonly axis: number
  /** The axis is so many equal banks, one behind the other (queries, keys, values), and each of them is parted alike. */
  readonly banks: number
}

/** The channels `[from, to)` of `channels`. */
export interface Share {
  readonly from: number
  readonly to: number
  readonly channels: number
}

export function sameLayout(a: Layout, b: Layout): boolean {
  return a.axis === b.axis && a.banks === b.banks
}

/** The range of one bank of `size` that belongs to a share. Whole numbers, if the share is of whole granules. */
export function rangeOf(size: number, { from, to, channels }: Share): [from: number, to: number] {
  return [(from * size) / channels, (to * size) / channels]
}

/** The part of an axis of `size`, banks included, that belongs to a share. */
export function shareOf(size: number, share: Share): number {
  return (size * (share.to - share.from)) / share.channels
}

/** The shape of a share of a tensor. */
export function shapeOfShare(shape: readonly number[], { axis }: Layout, share: Share): number[] {
  return shape.map((size, index) => (index === axis ? shareOf(size, share) : size))
}

/** A share of a tensor, copied. Throws `Refusal('bad-tensor')` for strings, which have no channels. */
export function sliceOf(tensor: Tensor, layout: Layout, share: Share): Tensor {
  const { dtype, shape, data } = tensor
  if (dtype === 'string' || !(data instanceof Uint8Array)) {
    throw new Refusal('bad-tensor', 'a tensor of strings cannot be parted by channels')
  }
  const bank = (shape[layout.axis] as number) / layout.banks
  const [from, to] = rangeOf(bank, share)
  const itemsBelow = elementCount(shape.slice(layout.axis + 1)) * itemBytes[dtype]
  const rows = elementCount(shape.slice(0, layout.axis)) * layout.banks
  const rowBytes = (to - from) * itemsBelow
  const slice = new Uint8Array(rows * rowBytes)
  for (let row = 0; row < rows; row++) {
    const at = (row * bank + from) * itemsBelow
    slice.set(data.subarray(at, at + rowBytes), row * rowBytes)
  }
  return { dtype, shape: shapeOfShare(shape, layout, share), data: slice }
}

/** The positions on an axis of `size` that belong to a share, ascending. */
export function positionsOf(size: number, banks: number, share: Share): number[] {
  const bank = size / banks
  const [from, to] = rangeOf(bank, share)
  return Array.from({ length: banks }, (_, index) => index * bank).flatMap((start) =>
    Array.from({ length: to - from }, (_, offset) => start + from + offset),
  )
}
