/** A tensor as it travels: ONNX Runtime's name of its type, its shape, and raw little-endian bytes, row-major. */

import { Refusal } from '../errors.js'

export interface WireTensor {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
  /** Raw bytes (float16 as 2-byte words, bool as 0 or 1), or one string per element where `dtype` is 'string'. */
  readonly data: Uint8Array | readonly string[]
}

/** Bytes of one element of every type that may cross a cut; int4, bfloat16 and their kin crash or are refused there. */
export const itemBytes: ReadonlyMap<string, number> = new Map([
  ['float32', 4],
  ['float64', 8],
  ['float16', 2],
  ['int8', 1],
  ['int16', 2],
  ['int32', 4],
  ['int64', 8],
  ['uint8', 1],
  ['uint16', 2],
  ['uint32', 4],
  ['uint64', 8],
  ['bool', 1],
])

export const maxTensors = 1024
export const maxRank = 16
/** Characters of a tensor's name. */
export const maxNameChars = 512
/** Elements along one axis, so that no product of a shape loses precision unnoticed. */
const maxDimension = 2 ** 31 - 1
const maxElements = 2 ** 32

/**
 * Throws `Refusal('bad-tensor')` unless name, type and shape are within the limits and the data is as much as they say;
 * `size` is the length of the data: bytes, or strings where the type is 'string'.
 */
export function checkTensor(name: string, dtype: string, shape: readonly number[], size: number): void {
  if (name === '' || name.length > maxNameChars) {
    throw new Refusal('bad-tensor', `a tensor's name has 1 to ${maxNameChars} characters, not ${name.length}`)
  }
  const bytes = dtype === 'string' ? 1 : itemBytes.get(dtype)
  if (bytes === undefined) {
    const known = [...itemBytes.keys()].join(', ')
    throw new Refusal(
      'bad-tensor',
      `tensor '${name}' is of type ${dtype.slice(0, 32)}; between devices go ${known}, string`,
    )
  }
  const expected = elementsOf(name, shape) * bytes
  if (size !== expected) {
    const unit = dtype === 'string' ? 'strings' : 'bytes'
    throw new Refusal(
      'bad-tensor',
      `tensor '${name}' has ${size} ${unit}, its shape [${shape.join(', ')}] needs ${expected}`,
    )
  }
}

function elementsOf(name: string, shape: readonly number[]): number {
  if (shape.length > maxRank) {
    throw new Refusal('bad-tensor', `tensor '${name}' has ${shape.length} axes, the limit is ${maxRank}`)
  }
  let elements = 1
  for (const dimension of shape) {
    if (!(Number.isInteger(dimension) && dimension >= 0 && dimension <= maxDimension)) {
      throw new Refusal('bad-tensor', `tensor '${name}' has an axis of ${dimension} elements`)
    }
    elements *= dimension
  }
  // Up to 16 factors of 31 bits stay a finite double; what is past the limit is refused, be it exact or not.
  if (elements > maxElements) throw new Refusal('bad-tensor', `tensor '${name}' has more than ${maxElements} elements`)
  return elements
}
