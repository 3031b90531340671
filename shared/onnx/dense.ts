/**
 * The nodes at which a region may begin: each of their output channels is made by weights of its own. Those that are not
 * grouped read all input channels for it, and so end a region that came to them parted.
 */

import { granuleFor, lcm, type Asked, type Outcome } from './flow.js'
import { blockedDomain, intOf, type GraphView } from './graph-view.js'
import { shareOf, type Layout } from './layout.js'
import type { Node } from './onnx_pb.js'
import { sumsOfConv, sumsOfProduct } from './sums.js'
import { dtypeOf, typeName } from './tensor-file.js'
import { elementCount } from './tensor.js'

interface Dense {
  /** Places among the node's inputs. */
  readonly data: number
  readonly weight: number
  /** Operands with one value for each output channel, or one for all of them. */
  readonly vectors: readonly number[]
  /** Operands that are added to the result. */
  readonly added: readonly number[]
  readonly weightAxis: (node: Node, rank: number) => number
  readonly resultAxis: (node: Node, rank: number) => number
  readonly isConv: boolean
}

const first = (): number => 0
const second = (): number => 1
const last = (_: Node, rank: number): number => rank - 1
const columns = (node: Node, rank: number): number => (intOf(node, 'transB') === 1 ? rank - 2 : rank - 1)
const channelAxis = (node: Node, rank: number): number => (intOf(node, 'channels_last') === 1 ? rank - 1 : 1)

const conv: Dense = {
  data: 0, weight: 1, vectors: [2], added: [3], weightAxis: first, resultAxis: second, isConv: true,
} // prettier-ignore
const quantisedConv: Dense = { ...conv, weight: 3, vectors: [4, 5, 8], added: [], resultAxis: channelAxis }
const matMul: Dense = {
  data: 0, weight: 1, vectors: [], added: [], weightAxis: columns, resultAxis: last, isConv: false,
} // prettier-ignore
const gemm: Dense = { ...matMul, added: [2] }

/** By domain and op: each is divisible by its output channels. */
const denseOps: Readonly<Record<string, Dense>> = {
  Conv: conv,
  ConvInteger: { ...conv, vectors: [3], added: [] },
  QLinearConv: quantisedConv,
  ConvTranspose: { ...conv, added: [], weightAxis: (node) => (groupsOf(node) > 1 ? 0 : 1) },
  Gemm: gemm,
  MatMul: matMul,
  MatMulInteger: { ...matMul, vectors: [3] },
  QLinearMatMul: { ...matMul, weight: 3, vectors: [4, 5] },
  [`${blockedDomain}:Conv`]: conv,
  'com.microsoft:FusedConv': conv,
  'com.microsoft:QLinearConv': quantisedConv,
  'com.microsoft:FusedGemm': gemm,
  'com.microsoft:FusedMatMul': matMul,
  'com.microsoft:QGemm': { ...matMul, weight: 3, vectors: [4, 5, 6] },
  'com.microsoft:MatMulIntegerToFloat': { ...matMul, vectors: [3, 5, 6] },
  'com.microsoft:DynamicQuantizeMatMul': { ...matMul, vectors: [2, 3, 4] },
}

/** Dense all the same, but not divisible here: said, so that nobody looks for it in vain. */
const undivided: ReadonlySet<string> = new Set([
  'LSTM', 'GRU', 'RNN', 'Einsum', 'com.microsoft:Attention', 'com.microsoft:QAttention',
  'com.microsoft:MultiHeadAttention', 'com.microsoft:GroupQueryAttention', 'com.microsoft:MatMulNBits',
]) // prettier-ignore

/** An op with its domain, where that is not the standard one. */
export function qualified({ domain, opType }: Node): string {
  return domain === '' || domain === 'ai.onnx' ? opType : `${domain}:${opType}`
}

/** True for nodes with weights of which people expect that they can be parted. */
export function isDense(view: GraphView, node: Node): boolean {
  const dense = denseOps[qualified(node)]
  return (
    undivided.has(qualified(node)) ||
    (dense !== undefined && view.constant(node.input[dense.weight] ?? '') !== undefined)
  )
}

/** Output channels of a dense node; the reason where they cannot be parted. */
export function channelsOf(view: GraphView, node: Node): number | string {
  const dense = denseOps[qualified(node)]
  if (dense === undefined) return `no rule parts ${node.opType}`
  const name = node.input[dense.weight] ?? ''
  const reason = obstacleIn(view, name)
  if (reason !== undefined) return reason
  if ((view.shape(name)?.length ?? 0) < 2) return 'its weights are a vector'
  const result = view.shape(node.output[0] ?? '')
  return result?.[dense.resultAxis(node, result.length)] ?? 'its shapes are not known'
}

/** Why a constant cannot be cut into shares. */
export function obstacleIn(view: GraphView, name: string): string | undefined {
  const found = view.constant(name)
  if (found?.stored !== undefined) {
    const dtype = dtypeOf(found.stored.dataType)
    return dtype === undefined || dtype === 'string'
      ? `its constant '${name}' is ${typeName(found.stored.dataType)}`
      : undefined
  }
  if (found?.node === undefined) return `its constant '${name}' is sparse`
  if (view.shape(name) === undefined || (intOf(found.node, 'block_size') ?? 0) !== 0)
    return `its constant '${name}' is made by ${found.node.opType}`
  return found.node.input.map((input) => (input === '' ? undefined : obstacleIn(view, input))).find(Boolean)
}

/** A dense node that begins a region, its output channels as `banks` banks. */
export function beginning(asked: Asked, banks: number): Outcome {
  const dense = denseOps[qualified(asked.node)]
  return dense === undefined ? `no rule parts ${asked.node.opType}` : through(asked, dense, banks)
}

/** A dense node on parted channels: only one that is grouped can go on without the others. Products of data are no such. */
export function grouped(asked: Asked): Outcome | undefined {
  const { view, node, parted } = asked
  const dense = denseOps[qualified(node)]
  if (dense === undefined) return undefined
  if (!dense.isConv && view.constant(node.input[dense.weight] ?? '') === undefined) return undefined
  const layout = parted[dense.data]
  if (layout === undefined) return 'its weights would have to be parted with what it reads'
  return dense.isConv && groupsOf(node) > 1 ? through(asked, dense, layout.banks) : 'reads all channels'
}

function through(asked: Asked, dense: Dense, banks: number): Outcome {
  const { view, node, channels } = asked
  const weight = node.input[dense.weight] ?? ''
  const weights = view.shape(weight)
  const result = view.shape(node.output[0] ?? '')
  const data = view.shape(node.input[dense.data] ?? '')
  if (weights === undefined || result === undefined || data === undefined) return 'its shapes are not known'
  const weightAxis = dense.weightAxis(node, weights.length)
  const axis = dense.resultAxis(node, result.length)
  const outputs = result[axis] as number
  const groups = dense.isConv ? groupsOf(node) : 1
  if ((groups === 1 && weights[weightAxis] !== outputs) || outputs % banks !== 0)
    return 'its channels are not one axis of its result'
  const gives = { axis, banks }
  const takes = new Map<number, Layout>([[dense.weight, { axis: weightAxis, banks }]])
  let granule = granuleFor(channels, outputs / banks)
  if (groups > 1) {
    const dataAxis = dense.resultAxis(node, data.length)
    if (groups % banks !== 0 || (data[dataAxis] as number) % groups !== 0) return 'its groups do not fit its channels'
    takes.set(dense.data, { axis: dataAxis, banks })
    granule = lcm(granule, granuleFor(channels, groups / banks))
  }
  if (node.domain === blockedDomain) granule = lcm(granule, granuleFor(channels, outputs / banks, view.block()))
  for (const place of dense.vectors) {
    const shape = view.shape(node.input[place] ?? '')
    if (shape?.length === 1 && shape[0] === outputs) takes.set(place, { axis: 0, banks })
  }
  for (const place of dense.added) {
    const shape = view.shape(node.input[place] ?? '')
    const addedAxis = (shape?.length ?? 0) - (result.length - axis)
    if (shape?.[addedAxis] === outputs) takes.set(place, { axis: addedAxis, banks })
  }
  const sums = sumsOf(asked, dense, outputs / banks)
  return {
    takes,
    gives,
    granule: lcm(granule, sums.granule),
    ...(sums.inexact !== undefined && { inexact: sums.inexact }),
    ...(groups > 1 && { attributes: (share) => ({ group: shareOf(groups, share) }) }),
  }
}

/** A group is summed alike wherever it stands. A transposed Conv applies its kernel to what it reads, the others to results. */
function sumsOf(asked: Asked, dense: Dense, bank: number): { readonly granule: number; readonly inexact?: string } {
  const { view, node } = asked
  const weight = node.input[dense.weight] ?? ''
  if (!dense.isConv) return sumsOfProduct(asked, weight)
  if (groupsOf(node) > 1) return { granule: 1 }
  const isTransposed = node.opType === 'ConvTranspose'
  const places = (isTransposed ? node.input[dense.data] : node.output[0]) ?? ''
  const shape = view.shape(places) ?? []
  const axis = dense.resultAxis(node, shape.length)
  const positions = elementCount(shape.filter((_, index) => index > 0 && index !== axis))
  return sumsOfConv(asked, bank, positions, isTransposed ? elementCount(view.shape(weight)?.slice(2) ?? []) : 1)
}

function groupsOf(node: Node): number {
  return intOf(node, 'group') ?? 1
}
