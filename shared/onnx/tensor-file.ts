/** Tensors inside ONNX files and alone in a `.pb` file: the format's TensorProto to and from a `Tensor`. */

import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf'
import { Refusal, reasonOf } from '../errors.js'
import { TensorValueSchema, type TensorValue } from './onnx_pb.js'
import { elementCount, itemBytes, showShape, type Dtype, type Tensor } from './tensor.js'

/** The format's numbers for the dtypes that may cross a boundary. */
const dtypeOfNumber: ReadonlyMap<number, Dtype> = new Map([
  [1, 'float32'], [2, 'uint8'], [3, 'int8'], [4, 'uint16'], [5, 'int16'], [6, 'int32'], [7, 'int64'],
  [8, 'string'], [9, 'bool'], [10, 'float16'], [11, 'float64'], [12, 'uint32'], [13, 'uint64'],
]) // prettier-ignore
const numberOfDtype: ReadonlyMap<Dtype, number> = new Map([...dtypeOfNumber].map(([number, dtype]) => [dtype, number]))

/** Names of the types that ONNX has beyond the whitelist, for people. */
const otherTypes: ReadonlyMap<number, string> = new Map([
  [14, 'complex64'], [15, 'complex128'], [16, 'bfloat16'], [17, 'float8e4m3fn'], [18, 'float8e4m3fnuz'],
  [19, 'float8e5m2'], [20, 'float8e5m2fnuz'], [21, 'uint4'], [22, 'int4'], [23, 'float4e2m1'], [24, 'float8e8m0'],
  [25, 'uint2'], [26, 'int2'],
]) // prettier-ignore

/** The dtype of a format number, or undefined where it may not cross a boundary. */
export function dtypeOf(elemType: number): Dtype | undefined {
  return dtypeOfNumber.get(elemType)
}

export function elemTypeOf(dtype: Dtype): number {
  return numberOfDtype.get(dtype) as number
}

/** A type's name for people, also of types that may not cross. */
export function typeName(elemType: number): string {
  return dtypeOfNumber.get(elemType) ?? otherTypes.get(elemType) ?? `type ${elemType}`
}

/** A file that holds one TensorProto. Throws `Refusal('bad-tensor' | 'unsupported-dtype')`, with `what` as the subject. */
export function parseTensorFile(bytes: Uint8Array, what = 'the file'): { name: string; tensor: Tensor } {
  let value: TensorValue
  try {
    value = fromBinary(TensorValueSchema, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  } catch (error) {
    throw new Refusal('bad-tensor', `${what} is no serialised ONNX tensor (${reasonOf(error)})`, { cause: error })
  }
  return { name: value.name, tensor: decodeTensor(value, what) }
}

/** The bytes of a file that holds one TensorProto. */
export function encodeTensorFile(name: string, tensor: Tensor): Uint8Array<ArrayBuffer> {
  return toBinary(TensorValueSchema, create(TensorValueSchema, { name, ...encodeTensor(tensor) }))
}

/** The fields of a TensorProto, as far as they are set. */
export type TensorFields = Exclude<MessageInitShape<typeof TensorValueSchema>, TensorValue>

/** The fields of a TensorProto for a tensor. */
export function encodeTensor(tensor: Tensor): TensorFields {
  const head = { dims: tensor.shape.map(BigInt), dataType: elemTypeOf(tensor.dtype) }
  if (tensor.data instanceof Uint8Array) return { ...head, rawData: tensor.data }
  return { ...head, stringData: tensor.data.map((text) => new TextEncoder().encode(text)) }
}

/** The tensor of a TensorProto, whichever of the format's fields holds its values; the bytes are copied. */
export function decodeTensor(value: TensorValue, what = `tensor '${value.name}'`): Tensor {
  const dtype = dtypeOf(value.dataType)
  if (dtype === undefined) {
    if (!otherTypes.has(value.dataType))
      throw new Refusal('bad-tensor', `${what} is no ONNX tensor, or of a type later than ONNX 1.20`)
    throw new Refusal('unsupported-dtype', `${what} is ${typeName(value.dataType)}; convert it to a supported type`)
  }
  if (value.dataLocation === 1)
    throw new Refusal('external-data', `${what} keeps its values in another file; embed them`)
  const shape = value.dims.map(Number)
  const data =
    dtype === 'string' ? value.stringData.map((text) => new TextDecoder().decode(text)) : bytesOf(value, dtype)
  const wanted = elementCount(shape) * (dtype === 'string' ? 1 : itemBytes[dtype])
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0) || data.length !== wanted) {
    throw new Refusal(
      'bad-tensor',
      `${what} says ${dtype}${showShape(shape)} but holds ${data.length} instead of ${wanted} ${dtype === 'string' ? 'strings' : 'bytes'}`,
    )
  }
  return { dtype, shape, data }
}

/** The raw little-endian bytes, from `raw_data` or from the typed field that the format assigns to the dtype. */
function bytesOf(value: TensorValue, dtype: Exclude<Dtype, 'string'>): Uint8Array {
  return value.rawData.length > 0 ? Uint8Array.from(value.rawData) : bytesFrom(typedField[dtype](value))
}

const typedField: Record<Exclude<Dtype, 'string'>, (value: TensorValue) => NodeJS.TypedArray> = {
  float32: (value) => Float32Array.from(value.floatData),
  float64: (value) => Float64Array.from(value.doubleData),
  float16: (value) => Uint16Array.from(value.int32Data), // the word, not the number
  int8: (value) => Int8Array.from(value.int32Data),
  int16: (value) => Int16Array.from(value.int32Data),
  int32: (value) => Int32Array.from(value.int32Data),
  int64: (value) => BigInt64Array.from(value.int64Data),
  uint8: (value) => Uint8Array.from(value.int32Data),
  uint16: (value) => Uint16Array.from(value.int32Data),
  uint32: (value) => Uint32Array.from(value.uint64Data, Number),
  uint64: (value) => BigUint64Array.from(value.uint64Data),
  bool: (value) => Uint8Array.from(value.int32Data),
}

/** Hosts of ours are little-endian, as every platform ONNX Runtime ships for. */
export function bytesFrom(array: NodeJS.TypedArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}
