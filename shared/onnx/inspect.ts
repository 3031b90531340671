/** What a model file says of itself, without running it. */

import { storedBytes } from './dataflow.js'
import { hasExternalData } from './external.js'
import type { Value } from './onnx_pb.js'
import { parseModel, type GraphModel } from './parse.js'
import { everyNode, everyTensor, initializerNames } from './subgraph.js'
import { typeName } from './tensor-file.js'

/** An input or output as declared, in words where it is no tensor. */
export interface Declared {
  readonly name: string
  readonly type: string
  readonly shape: readonly (number | string)[] | null
}

export interface Inspection {
  readonly irVersion: number
  readonly producer: string
  readonly opsets: Readonly<Record<string, number>>
  readonly nodes: number
  /** Ops of graph, subgraphs and functions with their counts, most frequent first; `domain:Op` beyond ai.onnx. */
  readonly ops: readonly { readonly op: string; readonly count: number }[]
  /** Inputs that must be given, without those that have a stored default. */
  readonly inputs: readonly Declared[]
  readonly outputs: readonly Declared[]
  /** Names of dynamic dimensions; nameless ones as `input[axis]`. */
  readonly dynamicDims: readonly string[]
  readonly weightBytes: number
  readonly hasExternalData: boolean
  readonly functions: number
}

/** Throws `Refusal('not-onnx' | 'bad-model')` where the file cannot be read as a model. */
export function inspect(bytes: Uint8Array): Inspection {
  const model = parseModel(bytes)
  const { graph } = model
  const stored = new Set(initializerNames(graph))
  const inputs = graph.input.filter(({ name }) => !stored.has(name)).map(declared)
  return {
    irVersion: Number(model.irVersion),
    producer: `${model.producerName} ${model.producerVersion}`.trim(),
    opsets: Object.fromEntries(model.opsetImport.map(({ domain, version }) => [domain || 'ai.onnx', Number(version)])),
    nodes: graph.node.length,
    ops: countOps(model),
    inputs,
    outputs: graph.output.map(declared),
    dynamicDims: [...new Set(inputs.flatMap(dynamicDimsOf))],
    weightBytes: [...everyTensor(model)].reduce((sum, tensor) => sum + storedBytes(tensor), 0),
    hasExternalData: hasExternalData(model),
    functions: model.functions.length,
  }
}

function declared({ name, type }: Value): Declared {
  const kind = type?.kind
  if (kind?.case !== 'tensor') return { name, type: kind?.case ?? 'undeclared', shape: null }
  const { elemType, shape } = kind.value
  return {
    name,
    type: typeName(elemType),
    shape: shape?.dim.map(({ size }) => (size.case === 'value' ? Number(size.value) : (size.value ?? ''))) ?? null,
  }
}

function dynamicDimsOf({ name, shape }: Declared): string[] {
  return (shape ?? []).flatMap((size, axis) =>
    typeof size === 'number' ? [] : [size === '' ? `${name}[${axis}]` : size],
  )
}

function countOps(model: GraphModel): { op: string; count: number }[] {
  const counts = new Map<string, number>()
  for (const { domain, opType } of everyNode(model)) {
    const op = domain === '' || domain === 'ai.onnx' ? opType : `${domain}:${opType}`
    counts.set(op, (counts.get(op) ?? 0) + 1)
  }
  return [...counts].map(([op, count]) => ({ op, count })).sort((a, b) => b.count - a.count || (a.op < b.op ? -1 : 1))
}
