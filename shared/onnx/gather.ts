/** Puts the slices of a parted tensor together again: copies of bytes, no session. */

import { Refusal } from '../errors.js'
import { elementCount, itemBytes, sameShape, showShape, type Tensor } from './tensor.js'

/** A tensor that is a range of a larger one along one axis. */
export interface Slice {
  readonly tensor: Tensor
  /** Where it begins on the axis. */
  readonly offset: number
}

/**
 * The whole of `shape` from its slices along `axis`, in whatever order they came; their bytes are copied. Throws
 * `Refusal('bad-tensor')` where they overlap, leave a gap, are of several dtypes or do not fit the shape.
 */
export function gather(slices: readonly Slice[], axis: number, shape: readonly number[]): Tensor {
  const sorted = [...slices].sort((a, b) => a.offset - b.offset)
  const [first] = sorted
  if (first === undefined) throw new Refusal('bad-tensor', `there are no slices of the tensor ${showShape(shape)}`)
  const { dtype } = first.tensor
  if (dtype === 'string') throw new Refusal('bad-tensor', 'a tensor of strings cannot be put together from slices')
  checkSlices(sorted, axis, shape)
  const below = elementCount(shape.slice(axis + 1)) * itemBytes[dtype]
  const rows = elementCount(shape.slice(0, axis))
  const rowBytes = (shape[axis] as number) * below
  const whole = new Uint8Array(rows * rowBytes)
  for (const { tensor, offset } of sorted) {
    const bytes = tensor.data as Uint8Array
    const length = (tensor.shape[axis] as number) * below
    for (let row = 0; row < rows; row++) {
      whole.set(bytes.subarray(row * length, (row + 1) * length), row * rowBytes + offset * below)
    }
  }
  return { dtype, shape: [...shape], data: whole }
}

/** Expects the slices in the order of their offsets. */
function checkSlices(sorted: readonly Slice[], axis: number, shape: readonly number[]): void {
  const size = shape[axis]
  if (size === undefined) {
    throw new Refusal('bad-tensor', `a tensor ${showShape(shape)} has no axis ${axis} to put slices together along`)
  }
  let at = 0
  for (const { tensor, offset } of sorted) {
    const { dtype, data } = tensor
    const [first] = sorted
    if (dtype !== first?.tensor.dtype) {
      throw new Refusal('bad-tensor', `slices of one tensor are ${first?.tensor.dtype} and ${dtype}`)
    }
    const length = tensor.shape[axis]
    const expected = shape.map((whole, index) => (index === axis ? (length ?? 0) : whole))
    const bytes = elementCount(expected) * itemBytes[dtype as Exclude<typeof dtype, 'string'>]
    if (length === undefined || !sameShape(tensor.shape, expected) || data.length !== bytes) {
      throw new Refusal(
        'bad-tensor',
        `a slice ${showShape(tensor.shape)} of ${data.length} bytes is no part of ${dtype}${showShape(shape)} along axis ${axis}`,
      )
    }
    if (offset !== at) {
      throw new Refusal(
        'bad-tensor',
        `slices ${offset < at ? 'overlap' : 'leave a gap'} along axis ${axis}: one begins at ${offset}, the last ended at ${at}`,
      )
    }
    at += length
  }
  if (at !== size) throw new Refusal('bad-tensor', `slices end at ${at} of ${size} along axis ${axis}: one is missing`)
}
