/** A prepared model as work: what each node takes in time and memory, and what can cross between nodes. */

import type { Prepared } from '#shared/onnx/prepare.js'
import type { Level } from '#shared/onnx/session.js'
import { regionsOf } from '#shared/onnx/regions.js'
import { nodeWork, valueWork, type NodeWork, type ValueWork } from '#shared/onnx/work.js'
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

export interface ModelNode extends NodeWork {
  /** On the machine that measured, one thread. */
  readonly us: number
}

export type ModelValue = ValueWork

/** The work of a prepared model whose nodes take `nodeUs` microseconds each. */
export function workOf(prepared: Prepared, nodeUs: readonly number[]): ModelWork {
  const { hash, level, signature } = prepared
  const nodes = nodeWork(prepared).map((node, index) => ({ ...node, us: nodeUs[index]! }))
  const values = valueWork(prepared)
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
