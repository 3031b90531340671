/** All placements of a problem's space, one after the other. Naive on purpose: it is what the planner is judged by. */

import type { Holding, PlacedStage, Placement, Problem } from '#broker/planner/problem.js'
import type { Dice } from './dice.js'

/** Every placement of the space, whatever it costs, as often as its stages can be put in a row. */
export function* allPlacements(problem: Problem): Generator<Placement> {
  yield* extensions(problem, [], new Set(), idle(problem))
}

/** One placement by chance, or `undefined` where the dice ran out of devices. */
export function somePlacement(problem: Problem, dice: Dice): Placement | undefined {
  const stages: PlacedStage[] = []
  const placed = new Set<number>()
  let left = idle(problem)
  while (placed.size < problem.nodes.length) {
    const holdable = nextStages(problem, placed).map((nodes) => ({ nodes, holdings: holdings(problem, nodes, left) }))
    const found = holdable.filter(({ holdings }) => holdings.length > 0)
    if (found.length === 0) return undefined
    const { nodes, holdings: possible } = dice.pick(found)
    const holding = dice.pick(possible)
    stages.push({ nodes, holding })
    for (const node of nodes) placed.add(node)
    left = without(left, holding)
  }
  return { stages }
}

function* extensions(
  problem: Problem,
  stages: readonly PlacedStage[],
  placed: ReadonlySet<number>,
  left: readonly number[],
): Generator<Placement> {
  if (placed.size === problem.nodes.length) {
    yield { stages }
    return
  }
  for (const nodes of nextStages(problem, placed)) {
    for (const holding of holdings(problem, nodes, left)) {
      yield* extensions(
        problem,
        [...stages, { nodes, holding }],
        new Set([...placed, ...nodes]),
        without(left, holding),
      )
    }
  }
}

/** Sets of nodes that can come next: each node's predecessors are placed or come with it. */
function nextStages({ nodes, values }: Problem, placed: ReadonlySet<number>): number[][] {
  const open = nodes.flatMap((_, node) => (placed.has(node) ? [] : [node]))
  const found: number[][] = []
  for (let mask = 1; mask < 2 ** open.length; mask++) {
    const picked = open.filter((_, bit) => Math.floor(mask / 2 ** bit) % 2 === 1)
    const isReady = (node: number): boolean =>
      values.every(
        ({ from, to }) => from === undefined || !to.includes(node) || placed.has(from) || picked.includes(from),
      )
    if (picked.every(isReady)) found.push(picked)
  }
  return found
}

/** All that can hold these nodes with the devices that are left, by class. */
function holdings(
  { classes, regions, maxReplicas, maxParts }: Problem,
  nodes: readonly number[],
  left: readonly number[],
): Holding[] {
  const found: Holding[] = []
  for (const index of classes.keys()) {
    if (left[index]! >= 1) found.push({ kind: 'one', class: index })
    for (let count = 2; count <= Math.min(maxReplicas, left[index]!); count++) {
      found.push({ kind: 'replicas', class: index, count })
    }
  }
  for (const [region, { nodes: parted }] of regions.entries()) {
    if (parted.join() !== nodes.join()) continue
    for (let parts = 2; parts <= maxParts; parts++) {
      for (const chosen of ascending(left, parts)) found.push({ kind: 'parts', region, classes: chosen })
    }
  }
  return found
}

/** All ascending rows of so many classes that there are devices for. */
function ascending(left: readonly number[], length: number): number[][] {
  if (length === 0) return [[]]
  return left.flatMap((devices, index) => {
    if (devices === 0) return []
    const rest = left.map((count, other) => (other < index ? 0 : other === index ? count - 1 : count))
    return ascending(rest, length - 1).map((row) => [index, ...row])
  })
}

function idle({ classes }: Problem): number[] {
  return classes.map(({ count }) => count)
}

function without(left: readonly number[], holding: Holding): number[] {
  const taken =
    holding.kind === 'parts'
      ? holding.classes
      : Array<number>(holding.kind === 'one' ? 1 : holding.count).fill(holding.class)
  return left.map((count, index) => count - taken.filter((other) => other === index).length)
}
