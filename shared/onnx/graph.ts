/** A prepared graph as stages in an order, each a model of its own, with what goes from each to each. */

import { Refusal } from '../errors.js'
import type { Span } from './span.js'
import { crossing } from './cuts.js'
import { portsOf, range, rangesOf, segmentPart } from './extract.js'
import type { Prepared } from './prepare.js'
import type { Port } from './tensor.js'

/** How to part a graph. What the first k stages hold must be closed under predecessors, for every k. */
export interface Split {
  /**
   * `chain`: each stage sends to the next one only, and what is made early and used late rides along. `dag`: a tensor goes
   * straight from the stage that makes it to each that reads it, and to the client.
   */
  readonly shape: 'chain' | 'dag'
  readonly stages: readonly StageSplit[]
}

export interface StageSplit {
  /** Positions in the canonical order. */
  readonly nodes: readonly number[]
}

/** Stages in a row, cut before the nodes `at` of so many. Throws `Refusal('cannot-cut')` as `rangesOf`. */
export function splitAt(count: number, at: readonly number[]): Split {
  return { shape: 'chain', stages: rangesOf(count, at).map(({ from, to }) => ({ nodes: [...range(from, to)] })) }
}

/** A stage as a model of its own. */
export interface StageModel {
  readonly nodes: readonly number[]
  readonly model: Uint8Array
  readonly runInputs: readonly Port[]
  readonly runOutputs: readonly Port[]
  readonly weightBytes: number
}

/** What one stage sends to another for each request; `undefined` is the client. */
export interface Edge {
  readonly from: number | undefined
  readonly to: number | undefined
  readonly tensors: readonly Crossing[]
}

/** A tensor on an edge. */
export interface Crossing {
  /** As it travels. */
  readonly port: Port
  /** Where it lies in the tensor of this name that the sender has; absent where it is all of it. */
  readonly cut?: Span
  /** And in the one that the receiver needs. */
  readonly put?: Span
}

export interface StagedGraph {
  readonly stages: readonly StageModel[]
  /** In the order of their senders, the client first. */
  readonly edges: readonly Edge[]
}

/**
 * Throws `Refusal('cannot-cut')` for a split that leaves a node out, has one twice or before what it reads, and where a
 * tensor would have to cross that may not, naming it.
 */
export function stagesOf(prepared: Prepared, split: Split): StagedGraph {
  const stageOf = checked(prepared, split.stages)
  const last = split.stages.length - 1
  const stages = split.stages.map(({ nodes }, index): StageModel => {
    const { model, inputs, outputs, weightBytes } = segmentPart(prepared, new Set(nodes), index === last)
    return { nodes, model, runInputs: inputs, runOutputs: outputs, weightBytes }
  })
  const routes = split.shape === 'chain' ? inARow(prepared, split.stages) : straight(prepared, stageOf, last)
  for (const index of stages.keys()) {
    // Whoever needs nothing must still hear of the request.
    if (!routes.some(({ to }) => to === index)) routes.push({ from: undefined, to: index, names: [] })
  }
  const edges = routes.sort((a, b) => place(a.from) - place(b.from) || (a.to ?? Infinity) - (b.to ?? Infinity))
  return { stages, edges: edges.map((route) => edgeOf(prepared, route)) }
}

/** The names of what goes from one stage to another. */
interface Route {
  readonly from: number | undefined
  readonly to: number | undefined
  readonly names: readonly string[]
}

function place(from: number | undefined): number {
  return from ?? -1
}

function edgeOf(prepared: Prepared, { from, to, names }: Route): Edge {
  const where = ` between ${to === undefined ? `stage ${from} and the client` : `stages ${from ?? 'none'} and ${to}`}`
  return { from, to, tensors: portsOf(prepared, names, where).map((port) => ({ port })) }
}

/** The stage of each node. */
function checked(prepared: Prepared, stages: readonly StageSplit[]): Map<number, number> {
  const stageOf = new Map<number, number>()
  for (const [stage, { nodes }] of stages.entries()) {
    if (nodes.length === 0 && prepared.nodes.length > 0) throw refuse(`stage ${stage} has no nodes`)
    for (const node of nodes) {
      if (stageOf.has(node)) throw refuse(`node ${node} is in stage ${stageOf.get(node)} and in stage ${stage}`)
      if (prepared.nodes[node] === undefined) throw refuse(`the graph has no node ${node}`)
      stageOf.set(node, stage)
    }
  }
  const missing = prepared.nodes.findIndex((_, node) => !stageOf.has(node))
  if (missing !== -1) throw refuse(`node ${missing}, '${prepared.nodes[missing]!.name}', is in no stage`)
  const makers = makersOf(prepared)
  for (const [node, { reads }] of prepared.flow.steps.entries()) {
    for (const name of reads) {
      const maker = makers.get(name)
      if (maker === undefined || stageOf.get(maker)! <= stageOf.get(node)!) continue
      throw refuse(
        `node ${node} of stage ${stageOf.get(node)} reads '${name}', which stage ${stageOf.get(maker)} makes`,
      )
    }
  }
  return stageOf
}

/** The node that makes each tensor; inputs have none. */
function makersOf({ flow }: Prepared): Map<string, number> {
  return new Map(flow.steps.flatMap(({ writes }, node) => writes.map((name) => [name, node] as const)))
}

/** All that is alive goes on to the next stage. */
function inARow(prepared: Prepared, stages: readonly StageSplit[]): Route[] {
  const before = new Set<number>()
  const routes: Route[] = [{ from: undefined, to: 0, names: prepared.flow.inputs }]
  for (const [stage, { nodes }] of stages.entries()) {
    for (const node of nodes) before.add(node)
    const isLast = stage === stages.length - 1
    const names = isLast ? prepared.flow.outputs : crossing(prepared, before)
    routes.push({ from: stage, to: isLast ? undefined : stage + 1, names })
  }
  return routes
}

/** Everything goes from where it is made to where it is read. */
function straight(prepared: Prepared, stageOf: ReadonlyMap<number, number>, last: number): Route[] {
  const { flow } = prepared
  const makers = makersOf(prepared)
  const routes = new Map<string, { from: number | undefined; to: number | undefined; names: string[] }>()
  const send = (name: string, from: number | undefined, to: number | undefined): void => {
    const key = `${from} ${to}`
    const known = routes.get(key) ?? { from, to, names: [] }
    routes.set(key, known)
    if (from !== to && !known.names.includes(name)) known.names.push(name)
  }
  for (const [node, { reads }] of flow.steps.entries()) {
    for (const name of reads) {
      const maker = makers.get(name)
      send(name, maker === undefined ? undefined : stageOf.get(maker)!, stageOf.get(node))
    }
  }
  for (const name of flow.outputs) {
    const maker = makers.get(name)
    // Constants, and inputs that are outputs: the last stage gives them, so that they come with the rest.
    if (flow.inputs.includes(name)) send(name, undefined, last)
    send(name, maker === undefined ? last : stageOf.get(maker)!, undefined)
  }
  return [...routes.values()].filter(({ from, to }) => from !== to)
}

function refuse(what: string): Refusal {
  return new Refusal('cannot-cut', `the graph cannot be parted so: ${what}`)
}
