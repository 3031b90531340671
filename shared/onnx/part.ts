/** One part of a region as a model of its own: a share of the channels, with the weights that belong to them and no others. */

import { create, toBinary } from '@bufbuild/protobuf'
import { Refusal } from '../errors.js'
import { assemble, type Constant, type Step } from './dataflow.js'
import { lcm, int64s, type Flow } from './flow.js'
import { viewOf, type GraphView } from './graph-view.js'
import { positionsOf, rangeOf, shapeOfShare, sliceOf, type Layout, type Share } from './layout.js'
import { declare } from './observe.js'
import { GraphSchema, NodeSchema, TensorValueSchema, type Node } from './onnx_pb.js'
import type { Prepared } from './prepare.js'
import { leastChannels, showRegion, type Region, type RegionPort } from './regions.js'
import { decodeTensor, encodeTensor } from './tensor-file.js'
import type { Port, Tensor } from './tensor.js'
import { trace } from './trace.js'

/** A tensor of a part: all of one, or the slice of it that begins at `offset` of `axis`. */
export interface PartPort {
  /** As the part's model has it: of a slice the shape is the slice's. */
  readonly port: Port
  readonly slice?: { readonly axis: number; readonly offset: number }
}

/** The channels `[from, to)` of a region. */
export interface RegionPart {
  readonly from: number
  readonly to: number
  readonly model: Uint8Array<ArrayBuffer>
  /** What the part's session takes, in the order of the region's. */
  readonly receives: readonly PartPort[]
  /** What it gives: slices, of which `gather` makes the whole tensors. */
  readonly sends: readonly PartPort[]
  readonly weightBytes: number
}

/**
 * All parts of a region: `shares[i]` channels for part `i`, in order. Throws `Refusal('cannot-cut')` where they are not
 * the channels of the region, or as `partOf` does.
 */
export function partsOf(prepared: Prepared, region: Region, shares: readonly number[]): RegionPart[] {
  const sum = shares.reduce((total, share) => total + share, 0)
  if (sum !== region.channels) {
    throw new Refusal(
      'cannot-cut',
      `${showRegion(prepared, region)} has ${region.channels} channels to share, not ${sum}`,
    )
  }
  let from = 0
  return shares.map((share) => {
    const part = partOf(prepared, region, from, from + share)
    from += share
    return part
  })
}

/**
 * The part of a region that does the channels `[from, to)`. Throws `Refusal('cannot-cut')` for a range outside the region,
 * with too few channels, or not at a border of its granules, and for a region of another graph.
 */
export function partOf(prepared: Prepared, region: Region, from: number, to: number): RegionPart {
  const { channels, roots, banks, granule } = region
  const what = (): string => showRegion(prepared, region)
  if (![from, to].every(Number.isInteger) || from < 0 || to > channels) {
    throw new Refusal('cannot-cut', `${what()} has the channels 0 to ${channels}, not ${from} to ${to}`)
  }
  if (to - from < leastChannels) {
    throw new Refusal(
      'cannot-cut',
      `a part of ${what()} needs ${granule} channels or more, ${from} to ${to} are too few: share it out among fewer`,
    )
  }
  const view = viewOf(prepared)
  const traced = trace(view, { roots, banks, channels }, new Set(region.nodes))
  if (typeof traced === 'string' || traced.nodes.size !== region.nodes.length) {
    throw new Refusal('cannot-cut', 'the region is of another graph: find the regions of this one')
  }
  const unit = [...traced.nodes.values()].reduce((unit, flow) => lcm(unit, flow.granule), 1)
  if (from % unit !== 0 || to % unit !== 0) {
    throw new Refusal('cannot-cut', `${what()} is parted in multiples of ${unit} channels, not ${from} to ${to}`)
  }
  const share = { from, to, channels }
  const writer = writerOf(view, share, region.receives)
  for (const [index, flow] of traced.nodes) writer.add(index, flow)
  const receives = region.receives.map((port) => partPort(port, share))
  const sends = region.sends.map((port) => partPort(port, share))
  const flow = { ...prepared.flow, constants: new Map([...prepared.flow.constants, ...writer.constants]) }
  const { model, weightBytes } = assemble(flow, {
    steps: writer.steps,
    constants: [],
    inputs: receives.map(({ port }) => declare(port, false)),
    outputs: sends.map(({ port }) => declare(port, false)),
  })
  return { from, to, model, receives, sends, weightBytes }
}

function partPort({ port, axis }: RegionPort, share: Share): PartPort {
  if (axis === undefined) return { port }
  const [offset] = rangeOf(port.shape[axis] as number, share)
  return { port: { ...port, shape: shapeOfShare(port.shape, { axis, banks: 1 }, share) }, slice: { axis, offset } }
}

/** Collects the steps of a part and the constants that are cut for it. */
function writerOf(
  view: GraphView,
  share: Share,
  receives: readonly RegionPort[],
): { readonly steps: Step[]; readonly constants: Map<string, Constant>; add(index: number, flow: Flow): void } {
  const { flow } = view.prepared
  const steps: Step[] = []
  const constants = new Map<string, Constant>()
  const known = new Map<string, string>()
  const comesWhole = new Set(receives.filter(({ axis }) => axis === undefined).map(({ port }) => port.name))
  const fresh = freshNames(view)

  const store = (tensor: Tensor): string => {
    const name = fresh()
    const initializer = [create(TensorValueSchema, { name, ...encodeTensor(tensor) })]
    const piece = toBinary(GraphSchema, create(GraphSchema, { initializer }))
    constants.set(name, { needs: [], order: -1, bytes: tensor.data.length, piece })
    return name
  }
  /** The name of a share of a constant: of a stored one its values, of one that a node makes that node on shares. */
  const slicedConstant = (name: string, layout: Layout): string => {
    const key = `${name}\0${layout.axis}/${layout.banks}`
    const made = known.get(key) ?? sliceConstant(name, layout)
    known.set(key, made)
    return made
  }
  const sliceConstant = (name: string, layout: Layout): string => {
    const { stored, node } = view.constant(name) ?? {}
    if (stored !== undefined) return store(sliceOf(decodeTensor(stored), layout, share))
    const maker = node as Node
    const whole = view.shape(name) as readonly number[]
    const needs = maker.input.map((input) => {
      const shape = view.shape(input)
      if (input === '' || shape === undefined) return input
      if (shape.length === whole.length) return slicedConstant(input, layout)
      const axis = quantisedAxis(maker, whole.length)
      const isVector = shape.length === 1 && axis === layout.axis && shape[0] === whole[axis]
      return isVector ? slicedConstant(input, { axis: 0, banks: layout.banks }) : input
    })
    const output = fresh()
    const order = flow.constants.get(name)?.order ?? 0
    const piece = pieceOf({ ...maker, input: needs, output: [output], name: output })
    constants.set(output, { needs: needs.filter((need) => need !== ''), order, bytes: 0, piece })
    return output
  }
  /** A tensor of which others need all comes whole; its share is picked from it. */
  const picked = (name: string, layout: Layout): string => {
    const key = `${name}\0${layout.axis}/${layout.banks}`
    const made = known.get(key)
    if (made !== undefined) return made
    const size = (view.shape(name) as readonly number[])[layout.axis] as number
    const positions = store(int64s(positionsOf(size, layout.banks, share)))
    const output = fresh()
    const axis = { name: 'axis', type: 2, i: BigInt(layout.axis) }
    const node = { opType: 'Gather', name: output, input: [name, positions], output: [output], attribute: [axis] }
    steps.push(stepOf(output, create(NodeSchema, node), [name], [positions]))
    known.set(key, output)
    return output
  }

  return {
    steps,
    constants,
    add(index, { takes, attributes, operands }) {
      const node = view.node(index)
      const own = operands?.(share) ?? new Map<number, Tensor>()
      const input = node.input.map((name, place) => {
        const replaced = own.get(place)
        if (replaced !== undefined) return store(replaced)
        const layout = takes.get(place)
        if (layout === undefined) return name
        if (flow.constants.has(name)) return slicedConstant(name, layout)
        return comesWhole.has(name) ? picked(name, layout) : name
      })
      const written = { ...node, input, attribute: attributesFor(node, attributes?.(share) ?? {}) }
      const isConstant = (name: string): boolean => constants.has(name) || flow.constants.has(name)
      const reads = input.filter((name) => name !== '')
      steps.push(
        stepOf(
          node.name,
          written,
          reads.filter((name) => !isConstant(name)),
          reads.filter(isConstant),
        ),
      )
    },
  }
}

function stepOf(name: string, node: Node, reads: readonly string[], constants: readonly string[]): Step {
  const writes = node.output.filter((output) => output !== '')
  const piece = pieceOf(node)
  return { name, opType: node.opType, reads, writes, constants, hasSubgraph: false, calls: [], bytes: 0, piece }
}

function pieceOf(node: Node): Uint8Array {
  return toBinary(GraphSchema, create(GraphSchema, { node: [node] }))
}

/** A node's attributes with some integers changed; lists replace lists. */
function attributesFor(node: Node, changed: Readonly<Record<string, number | readonly number[]>>): Node['attribute'] {
  return node.attribute.map((attribute) => {
    const value = changed[attribute.name]
    if (value === undefined) return attribute
    return typeof value === 'number'
      ? { ...attribute, i: BigInt(value) }
      : { ...attribute, ints: value.map((item) => BigInt(item)) }
  })
}

/** The axis along which a QuantizeLinear or DequantizeLinear has a scale for each position. */
function quantisedAxis(node: Node, rank: number): number {
  const axis = Number(node.attribute.find(({ name }) => name === 'axis')?.i ?? 1n)
  return axis < 0 ? axis + rank : axis
}

/** Names that the graph does not use. */
function freshNames({ prepared }: GraphView): () => string {
  const { inputs, steps, constants } = prepared.flow
  const taken = new Set([...inputs, ...constants.keys(), ...steps.flatMap((step) => [step.name, ...step.writes])])
  let count = 0
  return () => {
    let name = `part/${count++}`
    while (taken.has(name)) name = `part/${count++}`
    return name
  }
}
