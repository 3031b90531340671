/** What one node does with channels that are parted: the words of the rules. */

import type { GraphView } from './graph-view.js'
import type { Layout, Share } from './layout.js'
import type { Node } from './onnx_pb.js'
import { bytesFrom } from './tensor-file.js'
import { elementCount, itemBytes, type Tensor } from './tensor.js'

/** Every share has at least two channels: the sums of a part with a single one may differ in their last bits. */
export const leastChannels = 2

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

/** A rule: what a node of some op does with channels of which at least one operand is parted. */
export type Rule = (asked: Asked) => Outcome

/** The flow, or why there is none: the end of a sentence that begins with the node. */
export type Outcome = Flow | string

/** The least share, in channels of the region, of which an axis with banks of `size` takes a multiple of `unit`. */
export function granuleFor(channels: number, size: number, unit = 1): number {
  return (channels * unit) / gcd(channels * unit, size)
}

/** Where the engine's fastest loops may begin: at the length of the longest registers, in bytes. */
const alignment = 64

/**
 * What a node asks for whose loops end, or begin, with values that another routine computes: shares that begin and end at
 * whole registers give the bits of the whole. Where the whole tensor does not, shares cannot.
 */
export function aligned(
  { view, channels }: Asked,
  name: string,
  layout: Layout,
): { readonly granule: number; readonly inexact?: string } {
  const shape = view.shape(name) ?? []
  const dtype = view.dtype(name) ?? 'float32'
  const size = (shape[layout.axis] ?? 0) / layout.banks
  const below = elementCount(shape.slice(layout.axis + 1))
  const items = dtype === 'string' ? 1 : alignment / itemBytes[dtype]
  const plain = granuleFor(channels, size)
  if ((size * below) % items === 0)
    return { granule: lcm(plain, granuleFor(channels, size, items / gcd(items, below))) }
  return { granule: plain, inexact: `the last values of '${name}' are computed by another routine than the others` }
}

/** Where the node's data, its first operand, are parted; the reason where they are not. */
export function dataOf({ parted }: Asked): Layout | string {
  return parted[0] ?? 'its parameters would be parted, not its data'
}

export function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}

export function lcm(a: number, b: number): number {
  return (a / gcd(a, b)) * b
}

/** Whole numbers as the format keeps shapes and positions; those beyond 2^53, which stand for an end, become that. */
export function integers(values: readonly number[], dtype: 'int32' | 'int64' = 'int64'): Tensor {
  const [least, most] =
    dtype === 'int32' ? [-(2 ** 31), 2 ** 31 - 1] : [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]
  const clamped = values.map((value) => Math.max(least, Math.min(value, most)))
  const array = dtype === 'int32' ? Int32Array.from(clamped) : BigInt64Array.from(clamped, BigInt)
  return { dtype, shape: [values.length], data: bytesFrom(array) }
}
