/** Values for a model's inputs: checked where they are given, made up from a seed where they are not. */

import { Refusal } from '../errors.js'
import { seededRandom, unitFrom, type Random } from '../random.js'
import type { Dimension, Graph, Value } from './onnx_pb.js'
import type { Feeds } from './session.js'
import { bytesFrom, dtypeOf, typeName } from './tensor-file.js'
import { checkTensor, elementCount, showShape, type Dtype, type Port, type Tensor } from './tensor.js'

/** An input or output as the file declares it: dynamic dimensions by name, '' where nameless; no shape if it says none. */
export interface DeclaredPort {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly (number | string)[] | undefined
}

/** What a graph's input or output is declared to be; throws `Refusal('unsupported-dtype')` where it could not travel. */
export function declaredPort(value: Value, role: 'input' | 'output'): DeclaredPort {
  const kind = value.type?.kind
  if (kind?.case !== 'tensor') {
    const what = kind?.case === undefined ? 'of no declared type' : `a ${kind.case}`
    throw new Refusal(
      'unsupported-dtype',
      `${role} '${value.name}' is ${what}; only tensors can be sent to a model and back`,
    )
  }
  const { elemType, shape } = kind.value
  const dtype = dtypeOf(elemType)
  if (dtype === undefined) {
    throw new Refusal(
      'unsupported-dtype',
      `${role} '${value.name}' is a tensor of ${typeName(elemType)}, which cannot be sent; cast it in the model`,
    )
  }
  return { name: value.name, dtype, shape: shape?.dim.map(sizeOf) }
}

function sizeOf({ size }: Dimension): number | string {
  if (size.case === 'param') return size.value
  return size.case === 'value' && size.value >= 0n ? Number(size.value) : ''
}

/**
 * The inputs' concrete ports. A given sample decides them and must fit what is declared; else declared shapes do, with
 * `dims` for the dynamic ones: by their name, or as `input[axis]`. Throws `Refusal('dynamic-shape' | 'bad-tensor')`.
 */
export function inputPorts(
  graph: Graph,
  sample: Feeds | undefined,
  dims: Readonly<Record<string, number>> = {},
): Port[] {
  const declared = graph.input.map((input) => declaredPort(input, 'input'))
  const stranger = Object.keys(sample ?? {}).find((name) => !declared.some((port) => port.name === name))
  if (stranger !== undefined) {
    throw new Refusal(
      'bad-tensor',
      `the model has no input '${stranger}'; it has ${declared.map(({ name }) => `'${name}'`).join(', ') || 'none'}`,
    )
  }
  return declared.map((port) => (sample === undefined ? pinnedPort(port, dims) : samplePort(port, sample[port.name])))
}

function samplePort(declared: DeclaredPort, tensor: Tensor | undefined): Port {
  const { name, dtype } = declared
  if (tensor === undefined) throw new Refusal('bad-tensor', `the sample has no tensor for input '${name}'`)
  const expected = declared.shape ?? tensor.shape
  const fits =
    expected.length === tensor.shape.length &&
    expected.every((size, axis) => typeof size === 'string' || size === tensor.shape[axis])
  if (!fits) {
    throw new Refusal(
      'bad-tensor',
      `tensor '${name}' must be ${dtype}${showShape(expected)}, got ${tensor.dtype}${showShape(tensor.shape)}`,
    )
  }
  const port = { name, dtype, shape: [...tensor.shape] }
  checkTensor(port, tensor)
  return port
}

function pinnedPort({ name, dtype, shape }: DeclaredPort, dims: Readonly<Record<string, number>>): Port {
  if (shape === undefined) {
    throw new Refusal('dynamic-shape', `input '${name}' declares no shape; give sample data, which decide it`)
  }
  const sizes = shape.map((size, axis) => {
    if (typeof size === 'number') return size
    const given = dims[`${name}[${axis}]`] ?? dims[size]
    if (given !== undefined) return given
    const key = size === '' ? `${name}[${axis}]` : size
    throw new Refusal(
      'dynamic-shape',
      `input '${name}' has the dynamic dimension '${key}'; give its size (${key}=1) or sample data`,
    )
  })
  return { name, dtype, shape: sizes }
}

/** Elements that a made-up input may have: a bound on the work that a strange declaration can ask for. */
const maxSampleElements = 2 ** 26

/** Made-up values, the same for the same seed: floats in [-1, 1), integers and bools 0 or 1, which are valid indices of most things. */
export function makeSample(ports: readonly Port[], seed: string | number = 0): Feeds {
  return Object.fromEntries(ports.map((port) => [port.name, makeTensor(port, seededRandom(`${seed}/${port.name}`))]))
}

function makeTensor({ name, dtype, shape }: Port, random: Random): Tensor {
  const count = elementCount(shape)
  if (!(count <= maxSampleElements)) {
    throw new Refusal('bad-tensor', `input '${name}' with the shape ${showShape(shape)} is too large to make up`)
  }
  const data = make[dtype](count, () => unitFrom(random))
  return { dtype, shape, data: Array.isArray(data) ? data : bytesFrom(data) }
}

type Unit = () => number
const bit = (unit: Unit): number => (unit() < 0.5 ? 0 : 1)
const signed = (unit: Unit): number => unit() * 2 - 1

const make: Record<Dtype, (length: number, unit: Unit) => NodeJS.TypedArray | string[]> = {
  float32: (length, unit) => Float32Array.from({ length }, () => signed(unit)),
  float64: (length, unit) => Float64Array.from({ length }, () => signed(unit)),
  // Words whose exponent lies below that of 1, either sign.
  float16: (length, unit) => Uint16Array.from({ length }, () => Math.floor(unit() * 0x3c00) | (bit(unit) << 15)),
  int8: (length, unit) => Int8Array.from({ length }, () => bit(unit)),
  int16: (length, unit) => Int16Array.from({ length }, () => bit(unit)),
  int32: (length, unit) => Int32Array.from({ length }, () => bit(unit)),
  int64: (length, unit) => BigInt64Array.from({ length }, () => BigInt(bit(unit))),
  uint8: (length, unit) => Uint8Array.from({ length }, () => bit(unit)),
  uint16: (length, unit) => Uint16Array.from({ length }, () => bit(unit)),
  uint32: (length, unit) => Uint32Array.from({ length }, () => bit(unit)),
  uint64: (length, unit) => BigUint64Array.from({ length }, () => BigInt(bit(unit))),
  bool: (length, unit) => Uint8Array.from({ length }, () => bit(unit)),
  string: (length, unit) => Array.from({ length }, () => `s${bit(unit)}`),
}
