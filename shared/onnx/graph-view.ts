/** A prepared graph with its nodes decoded: what the rules of parting look at. */

import { fromBinary } from '@bufbuild/protobuf'
import { GraphSchema, ModelSchema, type Node, type TensorValue } from './onnx_pb.js'
import type { Prepared } from './prepare.js'
import { dtypeOf, decodeTensor } from './tensor-file.js'
import { numbersOf, type Dtype } from './tensor.js'

/** The domain of nodes over blocked layouts, `[N][C / block][H][W][block]` in memory whatever their shape says. */
export const blockedDomain = 'com.microsoft.nchwc'

export interface GraphView {
  readonly prepared: Prepared
  /** The version of the standard operators. */
  readonly opset: number
  readonly node: (index: number) => Node
  /** The stored tensor of a constant, or the node that makes it of others; `undefined` for what is no constant. */
  readonly constant: (name: string) => { readonly stored?: TensorValue; readonly node?: Node } | undefined
  /** Of a tensor or a constant, as far as it is known and does not depend on values. */
  readonly shape: (name: string) => readonly number[] | undefined
  readonly dtype: (name: string) => Dtype | undefined
  /** The values of a small stored constant. */
  readonly numbers: (name: string) => readonly number[] | undefined
  /** The nodes that read a tensor, ascending. */
  readonly readers: (name: string) => readonly number[]
  /** Channels that lie together in blocked layouts, or a multiple of them. */
  readonly block: () => number
}

/** Constants with more values than this are no shapes, axes or pads. */
const maxNumbers = 64

/** The engine's blocks have 4, 8 or 16 channels, by CPU: whole blocks of 16 are whole blocks of any. */
const largestBlock = 16

/** Nodes that give their first operand's shape: what such a node makes of a constant is parted by parting its operands. */
const shapeKeepers = new Set(['Cast', 'Identity', 'DequantizeLinear', 'QuantizeLinear'])

export function viewOf(prepared: Prepared): GraphView {
  const { flow, ports } = prepared
  const nodes = new Map<number, Node>()
  const constants = new Map<string, { stored?: TensorValue; node?: Node }>()
  const node = (index: number): Node => {
    const known = nodes.get(index)
    if (known !== undefined) return known
    const [decoded] = fromBinary(GraphSchema, piece(flow.steps[index]?.piece)).node as [Node]
    nodes.set(index, decoded)
    return decoded
  }
  const constant: GraphView['constant'] = (name) => {
    const found = flow.constants.get(name)
    if (found === undefined) return undefined
    const known = constants.get(name)
    if (known !== undefined) return known
    const { initializer, node } = fromBinary(GraphSchema, piece(found.piece))
    const decoded = { ...(initializer[0] && { stored: initializer[0] }), ...(node[0] && { node: node[0] }) }
    constants.set(name, decoded)
    return decoded
  }
  const shape: GraphView['shape'] = (name) => {
    const port = ports.get(name)
    if (port !== undefined) return port.varies === true ? undefined : port.shape
    const found = constant(name)
    if (found?.stored !== undefined) return found.stored.dims.map(Number)
    return found?.node !== undefined && shapeKeepers.has(found.node.opType)
      ? shape(found.node.input[0] ?? '')
      : undefined
  }
  const readers = new Map<string, number[]>()
  for (const [index, step] of flow.steps.entries()) {
    for (const name of step.reads) {
      const list = readers.get(name)
      if (list === undefined) readers.set(name, [index])
      else list.push(index)
    }
  }
  const view = {
    prepared,
    readers: (name: string) => readers.get(name) ?? [],
    opset: opsetOf(flow.head),
    node,
    constant,
    shape,
    dtype(name: string): Dtype | undefined {
      const stored = constant(name)?.stored
      return stored === undefined ? ports.get(name)?.dtype : dtypeOf(stored.dataType)
    },
    numbers(name: string): readonly number[] | undefined {
      const stored = constant(name)?.stored
      const kind = stored === undefined ? undefined : dtypeOf(stored.dataType)
      if (stored === undefined || kind === undefined || kind === 'string') return undefined
      if (stored.dims.reduce((count, size) => count * Number(size), 1) > maxNumbers) return undefined
      return [...numbersOf(decodeTensor(stored))]
    },
  }
  let block: number | undefined
  return { ...view, block: () => (block ??= blockOf(view, flow.steps.length)) }
}

function opsetOf(head: Uint8Array): number {
  const { opsetImport } = fromBinary(ModelSchema, head)
  return Number(opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx')?.version ?? 0n)
}

/** The largest power of two, up to the largest block, that divides the channels of every blocked node. */
function blockOf({ node, shape }: Pick<GraphView, 'node' | 'shape'>, count: number): number {
  let block = largestBlock
  for (let index = 0; index < count; index++) {
    const { domain, opType, input } = node(index)
    if (domain !== blockedDomain || opType !== 'Conv') continue
    const channels = shape(input[1] ?? '')?.[0] ?? 0
    while (block > 1 && channels % block !== 0) block /= 2
  }
  return block
}

function piece(bytes: Uint8Array | undefined): Uint8Array {
  if (bytes === undefined) throw new RangeError('no such node')
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** An integer attribute of a node. */
export function intOf(node: Node, name: string): number | undefined {
  const found = node.attribute.find((attribute) => attribute.name === name)
  return found === undefined ? undefined : Number(found.i)
}

/** An attribute of integers. */
export function intsOf(node: Node, name: string): number[] | undefined {
  return node.attribute.find((attribute) => attribute.name === name)?.ints.map(Number)
}
