/**
 * One form for every model, so that a cut is a matter of the graph and not of the exporter: weights are initializers,
 * nothing is dead or stale, names are unique, nodes stand in topological order.
 */

import { create } from '@bufbuild/protobuf'
import {
  ShapeSchema,
  TensorValueSchema,
  type Attribute,
  type Graph,
  type Node,
  type TensorValue,
  type Value,
} from './onnx_pb.js'
import type { GraphModel } from './parse.js'
import { badGraph, initializerNames, nodesInside, readsOf, showNode } from './subgraph.js'
import { encodeTensor, type TensorFields } from './tensor-file.js'

/** The nodes a graph may have: far above real networks (tens of thousands), to bound the work a stranger's file makes. */
const maxNodes = 200_000

/**
 * Rewrites a model in place. Throws `Refusal('bad-model')` for a graph with a cycle, a name defined twice or a read of
 * something that nothing produces.
 */
export function canonicalise(model: GraphModel): void {
  const { graph } = model
  if (graph.node.length > maxNodes) badGraph(`it has ${graph.node.length} nodes, more than ${maxNodes}`)
  dropDefaultInputs(graph)
  liftConstants(graph)
  graph.valueInfo = []
  graph.quantizationAnnotation = []
  for (const output of graph.output) forgetShape(output)
  checkNames(graph)
  sortNodes(graph)
  dropDead(graph)
  nameNodes(model)
}

/** Pins every input to a concrete shape, by name; inputs that are not named keep theirs. */
export function pinInputs(graph: Graph, shapes: ReadonlyMap<string, readonly number[]>): void {
  for (const { name, type } of graph.input) {
    const shape = shapes.get(name)
    if (shape === undefined || type?.kind.case !== 'tensor') continue
    const dim = shape.map((size) => ({ size: { case: 'value' as const, value: BigInt(size) } }))
    type.kind.value.shape = create(ShapeSchema, { dim })
  }
}

/** Leaves the shape of every input open: for graphs whose branch not taken would not fit the pinned ones. */
export function unpinInputs(graph: Graph): void {
  for (const input of graph.input) forgetShape(input)
}

function forgetShape({ type }: Value): void {
  if (type?.kind.case === 'tensor') delete type.kind.value.shape
}

/** Initializers listed among the inputs are defaults that could be overridden, so engines treat them as variable. */
function dropDefaultInputs(graph: Graph): void {
  const stored = new Set(initializerNames(graph))
  graph.input = graph.input.filter((input) => !stored.has(input.name))
}

/** `Constant` nodes become initializers. Those of functions and subgraphs stay: they travel with their node. */
function liftConstants(graph: Graph): void {
  graph.node = graph.node.filter((node) => {
    if (node.opType !== 'Constant' || (node.domain !== '' && node.domain !== 'ai.onnx')) return true
    const [name] = node.output
    const [attribute] = node.attribute
    if (name === undefined || attribute === undefined) badGraph(`${showNode(node)} has no output or no value`)
    if (attribute.sparseTensor?.values !== undefined) {
      attribute.sparseTensor.values.name = name
      graph.sparseInitializer.push(attribute.sparseTensor)
      return false
    }
    const tensor = constantOf(attribute)
    if (tensor === undefined) return true // of a kind that a later ONNX may bring: it stays a node without inputs
    tensor.name = name
    graph.initializer.push(tensor)
    return false
  })
}

/** The value of a `Constant` node, whichever of its attributes holds it. */
function constantOf({ name, t, f, i, s, floats, ints, strings }: Attribute): TensorValue | undefined {
  const floatBytes = (values: readonly number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer)
  const intBytes = (values: readonly bigint[]): Uint8Array => new Uint8Array(BigInt64Array.from(values).buffer)
  const made = (fields: TensorFields): TensorValue => create(TensorValueSchema, fields)
  switch (name) {
    case 'value':
      return t
    case 'value_float':
      return made(encodeTensor({ dtype: 'float32', shape: [], data: floatBytes([f]) }))
    case 'value_floats':
      return made(encodeTensor({ dtype: 'float32', shape: [floats.length], data: floatBytes(floats) }))
    case 'value_int':
      return made(encodeTensor({ dtype: 'int64', shape: [], data: intBytes([i]) }))
    case 'value_ints':
      return made(encodeTensor({ dtype: 'int64', shape: [ints.length], data: intBytes(ints) }))
    case 'value_string':
      return made({ dataType: 8, dims: [], stringData: [s] })
    case 'value_strings':
      return made({ dataType: 8, dims: [BigInt(strings.length)], stringData: strings })
    default:
      return undefined
  }
}

/** Every name of the graph is defined once, and the outputs are somewhere. */
function checkNames(graph: Graph): void {
  const defined = new Set<string>()
  const define = (name: string, what: string): void => {
    if (name === '') return
    if (defined.has(name)) badGraph(`'${name}' is defined twice, the second time by ${what}`)
    defined.add(name)
  }
  for (const { name } of graph.input) define(name, 'an input')
  for (const name of initializerNames(graph)) define(name, 'an initializer')
  for (const node of graph.node) for (const name of node.output) define(name, showNode(node))
  if (graph.output.length === 0) badGraph('it has no outputs')
  const listed = new Set<string>()
  for (const { name } of graph.output) {
    if (!defined.has(name)) badGraph(`nothing produces its output '${name}'`)
    if (listed.has(name)) badGraph(`its output '${name}' is listed twice`)
    listed.add(name)
  }
}

/** Topological order, as near to the file's own order as it can be. */
function sortNodes(graph: Graph): void {
  const producer = new Map<string, number>()
  for (const [index, node] of graph.node.entries()) for (const name of node.output) producer.set(name, index)
  producer.delete('')
  const given = new Set([...graph.input.map((input) => input.name), ...initializerNames(graph)])
  const waitingFor = graph.node.map(() => 0)
  const followers: number[][] = graph.node.map(() => [])
  for (const [index, node] of graph.node.entries()) {
    const sources = new Set<number>()
    for (const name of readsOf(node)) {
      const source = producer.get(name)
      if (source !== undefined) sources.add(source)
      else if (!given.has(name)) badGraph(`${showNode(node)} reads '${name}', which nothing produces`)
    }
    waitingFor[index] = sources.size
    for (const source of sources) followers[source]?.push(index)
  }
  const sorted = topological(waitingFor, followers)
  if (sorted.length < graph.node.length) badGraph('its nodes form a cycle')
  graph.node = sorted.map((index) => graph.node[index] as Node)
}

/** Always the ready node that stands first in the file: a sorted file stays as it is. */
function topological(waitingFor: number[], followers: readonly number[][]): number[] {
  const sorted: number[] = []
  const done = waitingFor.map(() => false)
  // A node can become ready behind the cursor; the heap of those is almost always empty, so a sorted array will do.
  const behind: number[] = []
  let cursor = 0
  while (sorted.length < waitingFor.length) {
    while (cursor < waitingFor.length && (done[cursor] === true || waitingFor[cursor] !== 0)) cursor++
    const next = behind.length > 0 && (behind[0] as number) < cursor ? (behind.shift() as number) : cursor
    if (next >= waitingFor.length) break
    done[next] = true
    sorted.push(next)
    for (const follower of followers[next] ?? []) {
      waitingFor[follower] = (waitingFor[follower] as number) - 1
      if (waitingFor[follower] === 0 && follower < cursor) insertSorted(behind, follower)
    }
  }
  return sorted
}

function insertSorted(list: number[], value: number): void {
  const at = list.findIndex((other) => other > value)
  list.splice(at === -1 ? list.length : at, 0, value)
}

/** Nodes and weights that no output depends on. Expects topological order. */
function dropDead(graph: Graph): void {
  const live = new Set(graph.output.map((output) => output.name))
  const kept: Node[] = []
  for (const node of graph.node.toReversed()) {
    if (!node.output.some((name) => live.has(name))) continue
    kept.push(node)
    for (const name of readsOf(node)) live.add(name)
  }
  graph.node = kept.reverse()
  graph.initializer = graph.initializer.filter((tensor) => live.has(tensor.name))
  graph.sparseInitializer = graph.sparseInitializer.filter((sparse) => live.has(sparse.values?.name ?? ''))
}

/** Names are unique, inside subgraphs too: profiles tell nodes apart by them. Those already unique stay. */
function nameNodes({ graph }: GraphModel): void {
  const taken = new Set<string>([''])
  const used = new Map<string, number>() // per stem, so that a thousand unnamed Relu cost a thousand steps
  for (const node of [...graph.node, ...graph.node.flatMap((node) => [...nodesInside(node)])]) {
    const stem = node.name === '' ? node.opType : node.name
    let name = stem
    let count = used.get(stem) ?? 0
    while (taken.has(name)) name = `${stem}_${++count}`
    used.set(stem, count)
    taken.add(name)
    node.name = name
  }
}
