/**
 * A canonical graph as a planner sees it: steps that compute, in order; the tensors they read and write; and constants,
 * which are never sent but copied to whoever needs them. Each step and constant keeps its encoded bytes, so that a
 * segment is written by joining slices instead of encoding weights again.
 */

import { create, toBinary } from '@bufbuild/protobuf'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { concat, lengthOf } from '../bytes.js'
import { Refusal } from '../errors.js'
import {
  GraphSchema,
  ModelSchema,
  type Function as LocalFunction,
  type Node,
  type TensorValue,
  type Value,
} from './onnx_pb.js'
import { maxModelBytes, type GraphModel } from './parse.js'
import { readsOf, subgraphsOf, tensorsOf } from './subgraph.js'
import { dtypeOf } from './tensor-file.js'
import { elementCount, itemBytes } from './tensor.js'

/** A node whose result depends on the graph's inputs. */
export interface Step {
  readonly name: string
  readonly opType: string
  /** Tensors from inputs or other steps, captures of subgraphs included. */
  readonly reads: readonly string[]
  readonly writes: readonly string[]
  readonly constants: readonly string[]
  /** Holds a graph of its own (If, Loop, Scan): its part must leave input shapes open. */
  readonly hasSubgraph: boolean
  /** Ids of the local functions it may call. */
  readonly calls: readonly string[]
  /** Bytes of the weights inside the node itself: those of its subgraphs. */
  readonly bytes: number
  readonly piece: Uint8Array
}

/** An initializer, or a node fed by constants only (a Cast or Reshape of a weight). */
export interface Constant {
  /** Constants it is made from, which come earlier in `order`. */
  readonly needs: readonly string[]
  readonly order: number
  /** Bytes of the values it stores; 0 for a node. */
  readonly bytes: number
  readonly piece: Uint8Array
}

export interface Dataflow {
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly steps: readonly Step[]
  readonly constants: ReadonlyMap<string, Constant>
  readonly functions: ReadonlyMap<string, { readonly calls: readonly string[]; readonly piece: Uint8Array }>
  /** IR version and operator sets, encoded. */
  readonly head: Uint8Array
}

/** Ops that give another result each time: never copied, although they may have no inputs. */
const random = new Set([
  'RandomNormal',
  'RandomUniform',
  'RandomNormalLike',
  'RandomUniformLike',
  'Multinomial',
  'Bernoulli',
  'Dropout',
])

/** The dataflow of a model in canonical form. */
export function dataflowOf(model: GraphModel): Dataflow {
  const { graph } = model
  const functions = new Map(
    model.functions.map((called) => [functionId(called.domain, called.name), functionOf(model, called)]),
  )
  const constants = new Map<string, Constant>()
  for (const tensor of graph.initializer) {
    const piece = toBinary(GraphSchema, create(GraphSchema, { initializer: [tensor] }))
    constants.set(tensor.name, { needs: [], order: -1, bytes: storedBytes(tensor), piece })
  }
  for (const sparse of graph.sparseInitializer) {
    const piece = toBinary(GraphSchema, create(GraphSchema, { sparseInitializer: [sparse] }))
    constants.set(sparse.values?.name ?? '', { needs: [], order: -1, bytes: piece.length, piece })
  }
  const steps: Step[] = []
  for (const [order, node] of graph.node.entries()) {
    const piece = toBinary(GraphSchema, create(GraphSchema, { node: [node] }))
    const reads = readsOf(node)
    const writes = node.output.filter((name) => name !== '')
    const calls = callsOf(model, [node])
    if (calls.length === 0 && !isRandom(node) && reads.every((name) => constants.has(name))) {
      for (const name of writes) constants.set(name, { needs: reads, order, bytes: 0, piece })
    } else {
      steps.push({
        name: node.name,
        opType: node.opType,
        reads: reads.filter((name) => !constants.has(name)),
        writes,
        constants: reads.filter((name) => constants.has(name)),
        hasSubgraph: subgraphsOf(node).length > 0,
        calls,
        bytes: [...tensorsOf(node)].reduce((sum, tensor) => sum + storedBytes(tensor), 0),
        piece,
      })
    }
  }
  return {
    inputs: graph.input.map((input) => input.name),
    outputs: graph.output.map((output) => output.name),
    steps,
    constants,
    functions,
    head: toBinary(ModelSchema, create(ModelSchema, { irVersion: model.irVersion, opsetImport: model.opsetImport })),
  }
}

/** What goes into a model file beside its steps. */
export interface Contents {
  readonly steps: readonly Step[]
  /** Constants that the steps do not read but the outputs name. */
  readonly constants: readonly string[]
  readonly inputs: readonly Value[]
  readonly outputs: readonly Value[]
}

/** The bytes of a model with these contents and every constant and function they need; and the bytes of its weights. */
export function assemble(flow: Dataflow, contents: Contents): { model: Uint8Array<ArrayBuffer>; weightBytes: number } {
  const constants = constantsFor(flow, [...contents.steps.flatMap((step) => step.constants), ...contents.constants])
  const { inputs: input, outputs: output } = contents
  const ports = toBinary(GraphSchema, create(GraphSchema, { name: 'tessera', input: [...input], output: [...output] }))
  const body = [ports, ...constants.map(({ piece }) => piece), ...contents.steps.map(({ piece }) => piece)]
  const functions = functionsFor(
    flow,
    contents.steps.flatMap((step) => step.calls),
  )
  const graphField = 7
  const bytes = lengthOf(body)
  if (bytes > maxModelBytes)
    throw new Refusal(
      'bad-model',
      `a part would have ${bytes} bytes, more than the 2 GiB a model can have; cut it smaller`,
    )
  const opening = new BinaryWriter().tag(graphField, WireType.LengthDelimited).uint32(bytes).finish()
  return {
    model: concat([flow.head, ...functions, opening, ...body]),
    weightBytes: [...constants, ...contents.steps].reduce((sum, { bytes }) => sum + bytes, 0),
  }
}

/** The same dataflow with its pieces as slices of `model`, which must hold all of them: weights then exist only once. */
export function sliced(flow: Dataflow, contents: Contents, model: Uint8Array): Dataflow {
  const pieces = piecesOf(flow, contents)
  const slices = new Map<Uint8Array, Uint8Array>()
  let end = model.length
  for (const piece of pieces.toReversed()) {
    slices.set(piece, model.subarray(end - piece.length, end))
    end -= piece.length
  }
  const slice = <T extends { readonly piece: Uint8Array }>(part: T): T => ({
    ...part,
    piece: slices.get(part.piece) ?? part.piece,
  })
  return {
    ...flow,
    steps: flow.steps.map(slice),
    constants: new Map([...flow.constants].map(([name, constant]) => [name, slice(constant)])),
  }
}

/** Constants before steps, so that nodes made of constants stand before their readers. */
function piecesOf(flow: Dataflow, { steps, constants }: Contents): Uint8Array[] {
  const needed = constantsFor(flow, [...steps.flatMap((step) => step.constants), ...constants])
  return [...needed, ...steps].map(({ piece }) => piece)
}

/** Distinct constants, each after those it is made from. */
function constantsFor(flow: Dataflow, names: readonly string[]): Constant[] {
  const found = new Set<Constant>()
  const pieces = new Set<Uint8Array>() // a node with two outputs is two constants with one piece
  const pending = [...names]
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    const constant = flow.constants.get(name)
    if (constant === undefined || pieces.has(constant.piece)) continue
    pieces.add(constant.piece)
    found.add(constant)
    pending.push(...constant.needs)
  }
  return [...found].sort((a, b) => a.order - b.order)
}

function functionsFor(flow: Dataflow, ids: readonly string[]): Uint8Array[] {
  const found = new Map<string, Uint8Array>()
  const pending = [...ids]
  for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
    const called = flow.functions.get(id)
    if (called === undefined || found.has(id)) continue
    found.set(id, called.piece)
    pending.push(...called.calls)
  }
  return [...found.values()]
}

/** Overloads of a function share an id: a caller gets all of them. */
function functionId(domain: string, name: string): string {
  return `${domain}\0${name}`
}

function functionOf(model: GraphModel, called: LocalFunction): { calls: string[]; piece: Uint8Array } {
  const overloads = model.functions.filter(({ domain, name }) => domain === called.domain && name === called.name)
  const piece = toBinary(ModelSchema, create(ModelSchema, { functions: overloads }))
  return {
    calls: callsOf(
      model,
      overloads.flatMap((overload) => overload.node),
    ),
    piece,
  }
}

function callsOf(model: GraphModel, nodes: readonly Node[]): string[] {
  if (model.functions.length === 0) return []
  const known = new Set(model.functions.map(({ domain, name }) => functionId(domain, name)))
  const called = new Set<string>()
  const visit = (node: Node): void => {
    const id = functionId(node.domain, node.opType)
    if (known.has(id)) called.add(id)
    for (const graph of subgraphsOf(node)) graph.node.forEach(visit)
  }
  nodes.forEach(visit)
  return [...called]
}

function isRandom(node: Node): boolean {
  return random.has(node.opType) || subgraphsOf(node).some((graph) => graph.node.some(isRandom))
}

/** Bytes of the values that a stored tensor holds. */
export function storedBytes(tensor: TensorValue): number {
  if (tensor.rawData.length > 0) return tensor.rawData.length
  const dtype = dtypeOf(tensor.dataType)
  if (dtype === undefined || dtype === 'string') return tensor.stringData.reduce((sum, text) => sum + text.length, 0)
  return Math.max(0, elementCount(tensor.dims.map(Number)) * itemBytes[dtype])
}
