/** What one node does with channels that are parted: the words of the rules. */

import type { GraphView } from './graph-view.js'
import type { Layout, Share } from './layout.js'
import type { Node } from './onnx_pb.js'
import type { Tensor } from './tensor.js'

/** A node that can run on a share of the channels without the others. */
export interface Flow {
  /** Operands that must come parted, by their place among the node's inputs; the others come whole. */
  readonly takes: ReadonlyMap<number, Layout>
  /** Where the channels lie in every result. */
  readonly gives: Layout
  /** A share must be a multiple of so many channels of the region. */
  readonly granule: number
  /** Why the bits of a part may differ from those of the whole; absent where they do not. */
  readonly inexact?: string
  /** Integer attributes that say how many channels there are, for a share. */
  readonly attributes?: (share: Share) => Readonly<Record<string, number | readonly number[]>>
  /** Constant operands that say how many channels there are, for a share. */
  readonly operands?: (share: Share) => ReadonlyMap<number, Tensor>
}

/** What a rule looks at. */
export interface Asked {
  readonly view: GraphView
  readonly node: Node
  /** Of the region. */
  readonly channels: number
  /** How each input comes: where it is parted already. */
  readonly parted: readonly (Layout | undefined)[]
}

/** The flow, or why there is none: the end of a sentence that begins with the node. */
export type Outcome = Flow | string

/** The least share, in channels of the region, of which an axis with banks of `size` takes a multiple of `unit`. */
export function granuleFor(channels: number, size: number, unit = 1): number {
  return (channels * unit) / gcd(channels * unit, size)
}

export function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}

export function lcm(a: number, b: number): number {
  return (a / gcd(a, b)) * b
}

/** Shape constants as the format wants them. */
export function int64s(values: readonly number[]): Tensor {
  return { dtype: 'int64', shape: [values.length], data: new Uint8Array(BigInt64Array.from(values, BigInt).buffer) }
}
