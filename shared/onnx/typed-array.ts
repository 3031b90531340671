/** Between tensors, which hold bytes, and the arrays that programs count with. */

import { Refusal } from '../errors.js'
import { elementCount, itemBytes, showShape, type Dtype, type Tensor } from './tensor.js'

const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
} as const satisfies Record<Exclude<Dtype, 'string'>, unknown>

/** The values of a tensor, row by row. float16 are its 2-byte words, bool 0 and 1. */
export type TensorArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | readonly string[]

/**
 * A tensor of these values, which must not change until it is sent; without a shape a vector. The dtype follows from the
 * kind of array; `dtype` says it where two share one (float16, bool). Throws `Refusal('bad-tensor')`.
 */
export function tensorOf(values: TensorArray, shape?: readonly number[], dtype?: Dtype): Tensor {
  const kind = dtype ?? dtypeOf(values)
  const whole = shape ?? [values.length]
  const isKind = kind === 'string' ? Array.isArray(values) : values instanceof arrays[kind]
  if (!isKind) throw new Refusal('bad-tensor', `a tensor of ${kind} is not made of a ${values.constructor.name}`)
  if (elementCount(whole) !== values.length) {
    throw new Refusal(
      'bad-tensor',
      `a tensor of the shape ${showShape(whole)} has ${elementCount(whole)} values, not ${values.length}`,
    )
  }
  const data = ArrayBuffer.isView(values) ? new Uint8Array(values.buffer, values.byteOffset, values.byteLength) : values
  return { dtype: kind, shape: [...whole], data }
}

/** The values of a tensor as an array of its kind; a view where its bytes lie as such an array wants, else a copy. */
export function arrayOf(tensor: Tensor): TensorArray {
  const { dtype, data } = tensor
  if (dtype === 'string' || !(data instanceof Uint8Array)) return data
  const size = itemBytes[dtype]
  const { buffer, byteOffset, byteLength } = data.byteOffset % size === 0 ? data : Uint8Array.from(data)
  return new arrays[dtype](buffer as ArrayBuffer, byteOffset, byteLength / size)
}

function dtypeOf(values: TensorArray): Dtype {
  if (Array.isArray(values)) return 'string'
  const kinds = Object.entries(arrays) as [Exclude<Dtype, 'string'>, (typeof arrays)[keyof typeof arrays]][]
  const found = kinds.find(([dtype, array]) => dtype !== 'float16' && values instanceof array)
  if (found === undefined) throw new Refusal('bad-tensor', `a ${values.constructor.name} is no array of tensor values`)
  return found[0]
}
