/** A prepared model as work: what each node takes in time and memory, and what can cross between nodes. */

import type { Dataflow } from '#shared/onnx/dataflow.js'
import type { Prepared } from '#shared/onnx/prepare.js'
import type { Level } from '#shared/onnx/session.js'
import { byteLength, type Dtype } from '#shared/onnx/tensor.js'
import { regionsOf } from '#shared/onnx/regions.js'
import type { Region } from './problem.js'

export interface ModelWork {
  /** SHA-256 of the prepared graph, in hex. */
  readonly hash: string
  readonly level: Level
  readonly signature: string
  /** In the canonical order. */
  readonly nodes: readonly ModelNode[]
  readonly values: readonly ModelValue[]
  /** Over `nodes` and `values`. */
  readonly regions: readonly ModelRegion[]
}

export interface ModelRegion extends Region {
  /** Parts give the bits of the whole. */
  readonly exact: boolean
}

export interface ModelNode {
  readonly name: string
  readonly opType: string
  /** On the machine that measured, one thread. */
  readonly us: number
  readonly weightBytes: number
  /** Its operands and results. */
  readonly scratchBytes: number
}

export interface ModelValue {
  readonly name: string
  /** `undefined`: it is of a type that cannot be sent (a sequence, say), so that who makes it and who reads it stay together. */
  readonly dtype: Dtype | undefined
  readonly bytes: number
  /** The node that makes it, or `undefined` for an input of the model. */
  readonly from: number | undefined
  /** The nodes that read it, ascending. */
  readonly to: readonly number[]
  readonly isOutput: boolean
}

/** The work of a prepared model whose nodes take `nodeUs` microseconds each. */
export function workOf(prepared: Prepared, nodeUs: readonly number[]): ModelWork {
  const { flow, ports, hash, level, signature } = prepared
  const bytesOf = (name: string): number => {
    const port = ports.get(name)
    return port === undefined ? 0 : byteLength(port)
  }
  const readers = new Map<string, number[]>()
  for (const [index, step] of flow.steps.entries()) {
    for (const name of new Set(step.reads)) readers.set(name, [...(readers.get(name) ?? []), index])
  }
  const outputs = new Set(flow.outputs)
  const values: ModelValue[] = []
  const add = (name: string, from: number | undefined): void => {
    const to = readers.get(name) ?? []
    const isOutput = outputs.has(name)
    if (to.length === 0 && !isOutput) return // nobody wants it
    values.push({ name, dtype: ports.get(name)?.dtype, bytes: bytesOf(name), from, to, isOutput })
  }
  for (const name of flow.inputs) add(name, undefined)
  for (const [index, step] of flow.steps.entries()) for (const name of step.writes) add(name, index)
  const nodes = flow.steps.map((step, index) => ({
    name: step.name,
    opType: step.opType,
    us: nodeUs[index]!,
    weightBytes: step.bytes + constantBytes(flow, step.constants),
    scratchBytes: [...step.reads, ...step.writes].reduce((sum, name) => sum + bytesOf(name), 0),
  }))
  const valueOf = new Map(values.map(({ name }, index) => [name, index]))
  const regions = regionsOf(prepared).regions.map(({ nodes: members, channels, granule, receives, exact }) => ({
    nodes: members,
    channels,
    granule,
    divided: members,
    dividedInputs: receives.flatMap(({ port, axis }) => (axis === undefined ? [] : (valueOf.get(port.name) ?? []))),
    exact,
  }))
  return { hash, level, signature, nodes, values, regions }
}

/** Bytes of constants and of those they are made from. A constant that two nodes read counts for each: it may go to both. */
function constantBytes({ constants }: Dataflow, names: readonly string[]): number {
  const wanted = new Set<string>()
  const open = [...names]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (wanted.has(name)) continue
    wanted.add(name)
    open.push(...(constants.get(name)?.needs ?? []))
  }
  return [...wanted].reduce((sum, name) => sum + (constants.get(name)?.bytes ?? 0), 0)
}
