/** A prepared graph as stages in an order, each a model of its own, with what goes from each to each. */

import { Refusal } from '../errors.js'
import { crossing } from './cuts.js'
import { edgesBetween, type Edge, type Route } from './edges.js'
import { range, rangesOf, segmentPart } from './extract.js'
import { partsOf } from './part.js'
import { partPiece, wholePiece, type Piece, type StageModel } from './piece.js'
import type { Prepared } from './prepare.js'
import type { Region } from './regions.js'

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
  /** Parts it by channels into as many stages as there are shares; `nodes` must be those of the region. */
  readonly parts?: { readonly region: Region; readonly shares: readonly number[] }
}

/** Stages in a row, cut before the nodes `at` of so many. Throws `Refusal('cannot-cut')` as `rangesOf`. */
export function splitAt(count: number, at: readonly number[]): Split {
  return { shape: 'chain', stages: rangesOf(count, at).map(({ from, to }) => ({ nodes: [...range(from, to)] })) }
}

export interface StagedGraph {
  readonly stages: readonly StageModel[]
  /** In the order of their senders, the client first. */
  readonly edges: readonly Edge[]
}

/**
 * Throws `Refusal('cannot-cut')` for a split that leaves a node out, has one twice or before what it reads, for parts that
 * are none of the stage, and where a tensor would have to cross that may not, naming it.
 */
export function stagesOf(prepared: Prepared, split: Split): StagedGraph {
  const stageOf = checked(prepared, split.stages)
  const last = split.stages.length - 1
  const routes = split.shape === 'chain' ? inARow(prepared, split.stages) : straight(prepared, stageOf, last)
  for (const index of split.stages.keys()) {
    // Whoever needs nothing must still hear of the request.
    if (!routes.some(({ to }) => to === index)) routes.push({ from: undefined, to: index, names: [] })
  }
  const pieces = split.stages.map((stage, index) => piecesOf(prepared, stage, index, index === last))
  const stages = pieces.flat()
  const edges = edgesBetween(prepared, routes, stages)
  return { stages: stages.map(({ model }) => model), edges: edges.sort((a, b) => rank(a) - rank(b)) }

  /** By sender, the client first; then by receiver, the client last. */
  function rank({ from = -1, to = stages.length }: Edge): number {
    return from * (stages.length + 1) + to
  }
}

function piecesOf(prepared: Prepared, { nodes, parts }: StageSplit, of: number, isLast: boolean): Piece[] {
  if (parts === undefined) {
    const { model, inputs, outputs, weightBytes } = segmentPart(prepared, new Set(nodes), isLast)
    return [wholePiece({ of, nodes, model, runInputs: inputs, runOutputs: outputs, weightBytes })]
  }
  const { region, shares } = parts
  const isRegion = nodes.length === region.nodes.length && region.nodes.every((node) => nodes.includes(node))
  if (!isRegion) throw refuse(`stage ${of} is to be parted by a region that has other nodes`)
  if (isLast && prepared.flow.outputs.some((name) => prepared.flow.constants.has(name))) {
    throw refuse(`stage ${of} is the last one and gives outputs that depend on no input, so it cannot be parted`)
  }
  return partsOf(prepared, region, shares).map((part) => partPiece(part, of, nodes))
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
