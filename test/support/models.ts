/** Builds small ONNX models: a node is a line. */

import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf'
import {
  GraphSchema,
  ModelSchema,
  type AttributeSchema,
  type FunctionSchema,
  type Graph,
  type NodeSchema,
  type SparseTensorSchema,
  type TensorValueSchema,
  type ValueSchema,
} from '#shared/onnx/onnx_pb.js'
import { elemTypeOf, encodeTensor } from '#shared/onnx/tensor-file.js'
import type { Dtype, Tensor } from '#shared/onnx/tensor.js'
import { seededRandom, unitFrom } from '#shared/random.js'

export type NodeInit = MessageInitShape<typeof NodeSchema>
type AttributeInit = MessageInitShape<typeof AttributeSchema>
type TensorInit = MessageInitShape<typeof TensorValueSchema>
type ValueInit = MessageInitShape<typeof ValueSchema>

/** An attribute by its JavaScript type: bigint is an int, number a float, lists of them likewise. */
export type AttributeValue =
  | bigint
  | number
  | string
  | readonly bigint[]
  | readonly number[]
  | readonly string[]
  | Tensor
  | Graph

export interface ModelInit {
  readonly opset?: number
  readonly irVersion?: number
  readonly domains?: Readonly<Record<string, number>>
  readonly nodes?: readonly NodeInit[]
  readonly inputs: readonly ValueInit[]
  readonly outputs: readonly ValueInit[]
  readonly weights?: Readonly<Record<string, Tensor>>
  readonly storedTensors?: readonly TensorInit[]
  readonly sparse?: readonly MessageInitShape<typeof SparseTensorSchema>[]
  readonly functions?: readonly MessageInitShape<typeof FunctionSchema>[]
  readonly valueInfo?: readonly ValueInit[]
}

/** The bytes of a model file. */
export function buildModel(init: ModelInit): Uint8Array<ArrayBuffer> {
  const domains = Object.entries({ '': init.opset ?? 17, ...init.domains })
  return toBinary(
    ModelSchema,
    create(ModelSchema, {
      irVersion: BigInt(init.irVersion ?? 8),
      opsetImport: domains.map(([domain, version]) => ({ domain, version: BigInt(version) })),
      graph: graph(init),
      functions: [...(init.functions ?? [])],
    }),
  )
}

/** A graph: the model's, or one inside a node. */
export function graph(init: Omit<ModelInit, 'opset' | 'irVersion' | 'domains' | 'functions'>): Graph {
  return create(GraphSchema, {
    name: 'built',
    node: [...(init.nodes ?? [])],
    input: [...init.inputs],
    output: [...init.outputs],
    initializer: [
      ...Object.entries(init.weights ?? {}).map(([name, tensor]) => stored(name, tensor)),
      ...(init.storedTensors ?? []),
    ],
    sparseInitializer: [...(init.sparse ?? [])],
    valueInfo: [...(init.valueInfo ?? [])],
  })
}

/** `node('Add', ['a', 'b'], ['c'], { axis: 1n })` */
export function node(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
  more: { name?: string; domain?: string } = {},
): NodeInit {
  const attribute = Object.entries(attributes).map(([name, value]) => ({ name, ...attributeOf(value) }))
  return { opType, input: [...input], output: [...output], attribute, ...more }
}

/** An input or output; dimensions by number, or by name where they are dynamic; no shape where none is given. */
export function port(name: string, dtype: Dtype | number = 'float32', shape?: readonly (number | string)[]): ValueInit {
  const elemType = typeof dtype === 'number' ? dtype : elemTypeOf(dtype)
  const dim = shape?.map((size) => ({
    size:
      typeof size === 'string'
        ? { case: 'param' as const, value: size }
        : { case: 'value' as const, value: BigInt(size) },
  }))
  return { name, type: { kind: { case: 'tensor', value: { elemType, ...(dim !== undefined && { shape: { dim } }) } } } }
}

export function stored(name: string, tensor: Tensor): TensorInit {
  return { name, ...encodeTensor(tensor) }
}

export function floats(shape: readonly number[], values: readonly number[]): Tensor {
  return { dtype: 'float32', shape, data: new Uint8Array(Float32Array.from(values).buffer) }
}

export function ints(shape: readonly number[], values: readonly (number | bigint)[]): Tensor {
  return { dtype: 'int64', shape, data: new Uint8Array(BigInt64Array.from(values, BigInt).buffer) }
}

export function bools(shape: readonly number[], values: readonly boolean[]): Tensor {
  return { dtype: 'bool', shape, data: Uint8Array.from(values, Number) }
}

export function strings(shape: readonly number[], data: readonly string[]): Tensor {
  return { dtype: 'string', shape, data }
}

/** Seeded weights in [-1, 1). */
export function noise(shape: readonly number[], seed: string): Tensor {
  const random = seededRandom(seed)
  const length = shape.reduce((count, size) => count * size, 1)
  return floats(
    shape,
    Array.from({ length }, () => unitFrom(random) * 2 - 1),
  )
}

function attributeOf(value: AttributeValue): AttributeInit {
  if (typeof value === 'bigint') return { type: 2, i: value }
  if (typeof value === 'number') return { type: 1, f: value }
  if (typeof value === 'string') return { type: 3, s: bytesOf(value) }
  if (!Array.isArray(value))
    return '$typeName' in value ? { type: 5, g: value } : { type: 4, t: encodeTensor(value as Tensor) }
  const list: readonly unknown[] = value
  if (typeof list[0] === 'bigint') return { type: 7, ints: list as bigint[] }
  if (typeof list[0] === 'string') return { type: 8, strings: (list as string[]).map(bytesOf) }
  return { type: 6, floats: list as number[] }
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
