/** Writes the nodes of a part: with the share of the constants that belongs to it, and what says how many channels there are. */

import { create, toBinary } from '@bufbuild/protobuf'
import type { Constant, Step } from './dataflow.js'
import { integers, type Flow } from './flow.js'
import { intOf, type GraphView } from './graph-view.js'
import { positionsOf, sliceOf, type Layout, type Share } from './layout.js'
import { GraphSchema, NodeSchema, TensorValueSchema, type Node } from './onnx_pb.js'
import type { RegionPort } from './regions.js'
import { decodeTensor, encodeTensor } from './tensor-file.js'
import type { Tensor } from './tensor.js'

/** Collects the steps of a part and the constants that are cut for it. */
export function writerOf(
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
    const positions = store(integers(positionsOf(size, layout.banks, share)))
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
  const axis = intOf(node, 'axis') ?? 1
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
