/** A tensor as it travels: a dtype, a shape and raw bytes. Only these dtypes may cross from one program to another. */

import { Refusal } from '../errors.js'

/** The boundary whitelist. ONNX Runtime aborts or refuses at a boundary of any other type. */
export const dtypes = [
  'float32', 'float64', 'float16', 'int8', 'int16', 'int32', 'int64',
  'uint8', 'uint16', 'uint32', 'uint64', 'bool', 'string',
] as const // prettier-ignore

export type Dtype = (typeof dtypes)[number]

/** Values, row by row: little-endian bytes (bool 1 byte of 0 or 1, float16 its 2-byte word), or the strings of 'string'. */
export interface Tensor {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly data: Uint8Array | readonly string[]
}

/** A named place for a tensor, with the shape it has under one shape signature. */
export interface Port {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** The shape depends on values, not on the signature alone: `shape` is only that of the sample. */
  readonly varies?: true
}

/** Bytes of one element. */
export const itemBytes: Record<Exclude<Dtype, 'string'>, number> = {
  float32: 4, float64: 8, float16: 2, int8: 1, int16: 2, int32: 4, int64: 8,
  uint8: 1, uint16: 2, uint32: 4, uint64: 8, bool: 1,
} // prettier-ignore

/** What a string in a port is taken to need where only its shape is known. */
const nominalStringBytes = 16

export function isDtype(text: string): text is Dtype {
  return (dtypes as readonly string[]).includes(text)
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((count, size) => count * size, 1)
}

/** Bytes of a tensor's values; for strings their UTF-8 length, in a port a nominal 16 bytes each. */
export function byteLength(of: Port | Tensor): number {
  if (of.dtype !== 'string') return elementCount(of.shape) * itemBytes[of.dtype]
  if (!('data' in of)) return elementCount(of.shape) * nominalStringBytes
  return (of.data as readonly string[]).reduce((sum, text) => sum + Buffer.byteLength(text), 0)
}

/** Equal dtype, shape and bits; so NaN equals the same NaN, and -0 differs from 0. */
export function sameBits(a: Tensor, b: Tensor): boolean {
  if (a.dtype !== b.dtype || !sameShape(a.shape, b.shape) || a.data.length !== b.data.length) return false
  if (a.data instanceof Uint8Array && b.data instanceof Uint8Array) return Buffer.compare(a.data, b.data) === 0
  return (a.data as readonly string[]).every((text, index) => text === b.data[index])
}

/**
 * The largest absolute difference of two tensors; two NaN, or two equal infinities, differ by 0. Infinity where the
 * dtypes or shapes differ, where only one is NaN, or where strings differ.
 */
export function maxAbsDiff(a: Tensor, b: Tensor): number {
  if (a.dtype !== b.dtype || !sameShape(a.shape, b.shape) || a.data.length !== b.data.length) return Infinity
  if (sameBits(a, b)) return 0
  if (a.dtype === 'string') return Infinity
  const left = numbersOf(a)
  const right = numbersOf(b)
  let worst = 0
  for (let i = 0; i < left.length; i++) worst = Math.max(worst, gap(left[i] as number, right[i] as number))
  return worst
}

/** The distance of two numbers under the rules of `maxAbsDiff`. */
export function gap(x: number, y: number): number {
  if (x === y || (Number.isNaN(x) && Number.isNaN(y))) return 0
  const difference = Math.abs(x - y)
  return Number.isNaN(difference) ? Infinity : difference
}

/** The values as numbers; 64-bit integers are rounded. Throws `RangeError` for strings. */
export function numbersOf(tensor: Tensor): Float64Array {
  const { dtype, data } = tensor
  if (dtype === 'string' || !(data instanceof Uint8Array)) throw new RangeError('strings are not numbers')
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const size = itemBytes[dtype]
  const read = readers[dtype]
  return Float64Array.from({ length: Math.floor(data.byteLength / size) }, (_, i) => read(view, i * size))
}

/** Throws `Refusal('bad-tensor')` unless the tensor has the port's dtype and shape and as many values as it says. */
export function checkTensor(port: Port, tensor: Tensor): void {
  const expected = `${port.dtype}${port.varies === true ? ' of any shape' : showShape(port.shape)}`
  const fail = (got: string): never => {
    throw new Refusal('bad-tensor', `tensor '${port.name}' must be ${expected}, got ${got}`)
  }
  if (tensor.dtype !== port.dtype) fail(`${tensor.dtype}${showShape(tensor.shape)}`)
  if (!tensor.shape.every((size) => Number.isSafeInteger(size) && size >= 0))
    fail(`the shape ${showShape(tensor.shape)}`)
  if (port.varies !== true && !sameShape(port.shape, tensor.shape)) fail(`${tensor.dtype}${showShape(tensor.shape)}`)
  const count = elementCount(tensor.shape)
  if (port.dtype === 'string') {
    if (tensor.data instanceof Uint8Array || tensor.data.length !== count) fail(`data that are not ${count} strings`)
  } else {
    const bytes = count * itemBytes[port.dtype]
    if (!(tensor.data instanceof Uint8Array) || tensor.data.length !== bytes) {
      fail(`${tensor.data instanceof Uint8Array ? `${tensor.data.length} bytes` : 'strings'} instead of ${bytes} bytes`)
    }
  }
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis])
}

export function showShape(shape: readonly (number | string)[]): string {
  return `[${shape.join(',')}]`
}

type Reader = (view: DataView, at: number) => number

const readers: Record<Exclude<Dtype, 'string'>, Reader> = {
  float32: (view, at) => view.getFloat32(at, true),
  float64: (view, at) => view.getFloat64(at, true),
  float16: (view, at) => fromHalf(view.getUint16(at, true)),
  int8: (view, at) => view.getInt8(at),
  int16: (view, at) => view.getInt16(at, true),
  int32: (view, at) => view.getInt32(at, true),
  int64: (view, at) => Number(view.getBigInt64(at, true)),
  uint8: (view, at) => view.getUint8(at),
  uint16: (view, at) => view.getUint16(at, true),
  uint32: (view, at) => view.getUint32(at, true),
  uint64: (view, at) => Number(view.getBigUint64(at, true)),
  bool: (view, at) => view.getUint8(at),
}

/** IEEE 754 binary16: 1 sign bit, 5 of exponent (bias 15), 10 of fraction. */
function fromHalf(word: number): number {
  const sign = word & 0x8000 ? -1 : 1
  const exponent = (word >> 10) & 31
  const fraction = word & 1023
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25)
}
