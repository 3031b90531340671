/** A part of a tensor along one axis: where it lies, and how it is cut out. */

import { Refusal } from '../errors.js'
import { elementCount, itemBytes, showShape, type Tensor } from './tensor.js'

/** The elements from `at` on, along `axis`, of a tensor that has `of` there; how many is for the slice's own shape to say. */
export interface Span {
  readonly axis: number
  readonly at: number
  readonly of: number
}

/**
 * `length` elements of a tensor; its own memory where they lie in one piece, else a copy. Throws `Refusal('bad-tensor')`
 * where the tensor has other elements along the axis, or is of strings.
 */
export function cutOut(tensor: Tensor, { axis, at, of }: Span, length: number): Tensor {
  const { dtype, shape, data } = tensor
  if (dtype === 'string' || !(data instanceof Uint8Array)) {
    throw new Refusal('bad-tensor', 'a tensor of strings cannot be cut into slices')
  }
  if (shape[axis] !== of || at + length > of) {
    throw new Refusal(
      'bad-tensor',
      `a tensor ${showShape(shape)} has no elements ${at} to ${at + length} of ${of} along axis ${axis}`,
    )
  }
  const rows = elementCount(shape.slice(0, axis))
  const below = elementCount(shape.slice(axis + 1)) * itemBytes[dtype]
  const part = shape.with(axis, length)
  if (rows === 1) return { dtype, shape: part, data: data.subarray(at * below, (at + length) * below) }
  const cut = new Uint8Array(rows * length * below)
  for (let row = 0; row < rows; row++) {
    const start = (row * of + at) * below
    cut.set(data.subarray(start, start + length * below), row * length * below)
  }
  return { dtype, shape: part, data: cut }
}
