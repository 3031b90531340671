/** The best plan that has a layer in parts, for whoever wants one, and to say what it would cost where none is chosen. */

import { costOf } from './cost.js'
import { isLegal, valueOf } from './objective.js'
import type { Holding, Objective, PlacedStage, Placement, Problem, Region } from './problem.js'

export interface Split {
  readonly placement: Placement
  readonly region: number
  /** In the objective's unit. */
  readonly value: number
}

/** Regions that are tried: of those that there are devices for, the ones with the most work. */
const triedRegions = 12
/** Rows of stages that are tried for one region. */
const triedRows = 400

/**
 * The best of the placements with what comes before a region on one device, the region in parts, and what comes after it on
 * one device: not of all with parts, which the search itself looks through. `undefined` where none is legal.
 */
export function bestSplit(problem: Problem, objective: Objective): Split | undefined {
  const { regions, classes, nodes } = problem
  const workOf = ({ divided }: Region): number =>
    divided.reduce((sum, node) => sum + Math.min(...classes.map(({ nodeUs }) => nodeUs[node]!)), 0)
  const tried = [...regions.keys()].sort((a, b) => workOf(regions[b]!) - workOf(regions[a]!))
  let best: Split | undefined
  let found = 0
  for (const region of tried) {
    if (found === triedRegions) break
    const [before, after] = around(problem, regions[region]!, nodes.length)
    let rows = 0
    let isPossible = false
    for (const stages of rowsWith(problem, region, before, after)) {
      if (rows++ === triedRows) break
      const cost = costOf(problem, { stages })
      if (!isLegal(cost)) continue
      const value = valueOf(cost, objective)
      isPossible = true
      if (best === undefined || value < best.value) best = { placement: { stages }, region, value }
    }
    if (isPossible) found++
  }
  return best
}

/** The nodes that a region needs and those that are left, both ascending. */
function around({ values }: Problem, { nodes }: Region, count: number): [number[], number[]] {
  const members = new Set(nodes)
  const needed = new Set(nodes)
  // In a topological order, what a node needs comes before it.
  const readers = values.filter(({ from }) => from !== undefined).sort((a, b) => b.from! - a.from!)
  for (const { from, to } of readers) if (to.some((node) => needed.has(node))) needed.add(from!)
  const all = Array.from({ length: count }, (_, node) => node)
  return [all.filter((node) => needed.has(node) && !members.has(node)), all.filter((node) => !needed.has(node))]
}

/** Every choice of devices, those for parts from the fastest class on. */
function* rowsWith(
  { classes, regions, maxParts }: Problem,
  region: number,
  before: readonly number[],
  after: readonly number[],
): Generator<PlacedStage[]> {
  const { divided, nodes } = regions[region]!
  const timeOf = (kind: number): number => divided.reduce((sum, node) => sum + classes[kind]!.nodeUs[node]!, 0)
  const order = [...classes.keys()].filter((kind) => timeOf(kind) < Infinity).sort((a, b) => timeOf(a) - timeOf(b))
  for (const parts of choices(
    classes.map(({ count }) => count),
    order,
    maxParts,
  )) {
    if (parts.length < 2) continue
    const left = classes.map(({ count }, kind) => count - parts.filter((part) => part === kind).length)
    const holding: Holding = { kind: 'parts', region, classes: [...parts].sort((a, b) => a - b) }
    const heads: (number | undefined)[] =
      before.length === 0 ? [undefined] : [...left.keys()].filter((kind) => left[kind]! > 0)
    for (const head of heads) {
      const rest = head === undefined ? left : left.with(head, left[head]! - 1)
      const tails: (number | undefined)[] =
        after.length === 0 ? [undefined] : [...rest.keys()].filter((kind) => rest[kind]! > 0)
      for (const tail of tails) {
        yield [
          ...(head === undefined ? [] : [{ nodes: before, holding: { kind: 'one' as const, class: head } }]),
          { nodes, holding },
          ...(tail === undefined ? [] : [{ nodes: after, holding: { kind: 'one' as const, class: tail } }]),
        ]
      }
    }
  }
}

/** Up to `most` classes in the order given, none more often than there are devices. */
function* choices(counts: readonly number[], order: readonly number[], most: number): Generator<number[]> {
  yield []
  if (most === 0) return
  for (const [at, kind] of order.entries()) {
    if (counts[kind] === 0) continue
    const rest = counts.with(kind, counts[kind]! - 1)
    for (const others of choices(rest, order.slice(at), most - 1)) yield [kind, ...others]
  }
}
