/** Graphs inside nodes (If, Loop, Scan): what they capture from outside, and walks that leave no node out. */

import { Refusal } from '../errors.js'
import type { Attribute, Graph, Node, TensorValue } from './onnx_pb.js'
import type { GraphModel } from './parse.js'

/** The graphs that a node carries in its attributes. */
export function subgraphsOf(node: Node): Graph[] {
  return node.attribute.flatMap((attribute) => [
    ...(attribute.g === undefined ? [] : [attribute.g]),
    ...attribute.graphs,
  ])
}

/** Everything a node reads from its own graph: inputs, and what its subgraphs capture; each name once, never ''. */
export function readsOf(node: Node): string[] {
  const names = new Set(node.input)
  for (const graph of subgraphsOf(node)) for (const name of captures(graph)) names.add(name)
  names.delete('')
  return [...names]
}

/** The names that a graph uses but does not define. */
function captures(graph: Graph): Set<string> {
  const own = new Set([...graph.input.map((value) => value.name), ...initializerNames(graph)])
  const free = new Set<string>()
  for (const node of graph.node) {
    for (const name of readsOf(node)) if (!own.has(name)) free.add(name)
    for (const name of node.output) own.add(name)
  }
  for (const { name } of graph.output) if (!own.has(name)) free.add(name)
  return free
}

export function initializerNames(graph: Graph): string[] {
  return [
    ...graph.initializer.map((tensor) => tensor.name),
    ...graph.sparseInitializer.map((sparse) => sparse.values?.name ?? ''),
  ]
}

/** Every node of a model: the graph's, those of subgraphs, those of local functions. */
export function* everyNode(model: GraphModel): Generator<Node> {
  yield* nodesWithin(model.graph.node)
  for (const called of model.functions) yield* nodesWithin(called.node)
}

function* nodesWithin(nodes: readonly Node[]): Generator<Node> {
  for (const node of nodes) {
    yield node
    yield* nodesInside(node)
  }
}

/** The nodes of a node's subgraphs, and of theirs. */
export function* nodesInside(node: Node): Generator<Node> {
  for (const graph of subgraphsOf(node)) yield* nodesWithin(graph.node)
}

/** Every tensor stored in a model, wherever it hides. */
export function* everyTensor(model: GraphModel): Generator<TensorValue> {
  yield* tensorsWithin(model.graph)
  for (const called of model.functions) for (const node of called.node) yield* tensorsOf(node)
}

function* tensorsWithin(graph: Graph): Generator<TensorValue> {
  yield* graph.initializer
  for (const sparse of graph.sparseInitializer)
    yield* [sparse.values, sparse.indices].filter((tensor) => tensor !== undefined)
  for (const node of graph.node) yield* tensorsOf(node)
}

/** The tensors that a node carries: in its attributes and in its subgraphs. */
export function* tensorsOf(node: Node): Generator<TensorValue> {
  for (const attribute of node.attribute) yield* tensorsOfAttribute(attribute)
  for (const graph of subgraphsOf(node)) yield* tensorsWithin(graph)
}

function* tensorsOfAttribute({ t, tensors, sparseTensor, sparseTensors }: Attribute): Generator<TensorValue> {
  if (t !== undefined) yield t
  yield* tensors
  for (const sparse of [...(sparseTensor === undefined ? [] : [sparseTensor]), ...sparseTensors]) {
    yield* [sparse.values, sparse.indices].filter((tensor) => tensor !== undefined)
  }
}

/** A node as people find it: its op and its name. */
export function showNode(node: { readonly name: string; readonly opType: string }): string {
  return node.name === '' ? `a ${node.opType} node` : `node '${node.name}' (${node.opType})`
}

export function badGraph(reason: string): never {
  throw new Refusal('bad-model', `the graph is not well formed: ${reason}`)
}
