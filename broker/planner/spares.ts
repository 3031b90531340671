/** Warm spares: who could take over a stage at once, because it holds the stage's nodes beside whatever it holds itself. */

import { loadOf } from './cost.js'
import type { PlacedStage, Placement, Problem } from './problem.js'

export interface Spare {
  readonly class: number
  /** The stage that the device holds itself, and for parts or replicas which of its devices; `undefined`: it is idle. */
  readonly holds: { readonly stage: number; readonly member: number } | undefined
  /** The period if it takes over: of a device with two stages, what both take. */
  readonly periodUs: number
  /** Memory that it needs for the stage, besides what it uses. */
  readonly memoryBytes: number
}

interface Keeper {
  readonly class: number
  readonly holds: Spare['holds']
  readonly busyUs: number
  freeBytes: number
}

/** Devices that are tried for one stage, those first that would be done with it soonest. */
const tried = 6

/**
 * By stage: the device with which the period would be shortest if it took the whole stage over, of those that have memory for
 * it, may run all its nodes and have all the links; `undefined` where there is none. Whoever keeps several has memory for all.
 */
export function spares(problem: Problem, placement: Placement): (Spare | undefined)[] {
  const keepers = keepersOf(problem, placement)
  const found: (Spare | undefined)[] = placement.stages.map(() => undefined)
  // The largest stages first: they have the fewest to choose from.
  const size = ({ nodes }: PlacedStage): number =>
    nodes.reduce((sum, node) => sum + problem.nodes[node]!.weightBytes, 0)
  const order = [...placement.stages.keys()].sort(
    (a, b) => size(placement.stages[b]!) - size(placement.stages[a]!) || a - b,
  )
  for (const stage of order) {
    let best: { spare: Spare; keeper: Keeper } | undefined
    let count = 0
    for (const keeper of soonest(problem, placement.stages[stage]!, keepers)) {
      if (keeper.holds?.stage === stage) continue
      const spare = takeOver(problem, placement, stage, keeper)
      if (spare === undefined || spare.memoryBytes > keeper.freeBytes) continue
      if (best === undefined || spare.periodUs < best.spare.periodUs) best = { spare, keeper }
      if (++count === tried) break
    }
    if (best === undefined) continue
    best.keeper.freeBytes -= best.spare.memoryBytes
    found[stage] = best.spare
  }
  return found
}

/** Every device, idle or not, with the memory that it has left. */
function keepersOf(problem: Problem, placement: Placement): Keeper[] {
  const keepers: Keeper[] = []
  const idle = problem.classes.map(({ count }) => count)
  for (const { class: kind, stage, part, turns, computeUs, openUs, sealUs, memoryBytes } of loadOf(problem, placement)
    .members) {
    const freeBytes = problem.classes[kind]!.memoryBytes - memoryBytes
    for (let turn = 0; turn < turns; turn++) {
      idle[kind]!--
      const holds = { stage, member: turns > 1 ? turn : part }
      keepers.push({ class: kind, holds, busyUs: (computeUs + openUs + sealUs) / turns, freeBytes })
    }
  }
  for (const [kind, count] of idle.entries()) {
    for (let device = 0; device < count; device++) {
      keepers.push({ class: kind, holds: undefined, busyUs: 0, freeBytes: problem.classes[kind]!.memoryBytes })
    }
  }
  return keepers
}

/** Who may and can hold the nodes, by when it would be done with them and its own. Of idle devices that are alike, one. */
function soonest({ nodes, classes }: Problem, stage: PlacedStage, keepers: readonly Keeper[]): Keeper[] {
  const ends = new Map<Keeper, number>()
  const idle = new Set<string>()
  for (const keeper of keepers) {
    const { nodeUs, sessionBytes, stageUs } = classes[keeper.class]!
    const weights = stage.nodes.reduce((sum, node) => sum + nodes[node]!.weightBytes, sessionBytes)
    const us = stage.nodes.reduce((sum, node) => sum + nodeUs[node]!, stageUs)
    if (weights > keeper.freeBytes || us === Infinity) continue
    const name = `${keeper.class} ${keeper.freeBytes}`
    if (keeper.holds === undefined && idle.has(name)) continue
    if (keeper.holds === undefined) idle.add(name)
    ends.set(keeper, us + keeper.busyUs)
  }
  return [...ends.keys()].sort((a, b) => ends.get(a)! - ends.get(b)!)
}

function takeOver(problem: Problem, placement: Placement, stage: number, keeper: Keeper): Spare | undefined {
  const { class: kind, holds, busyUs } = keeper
  const stages = placement.stages.with(stage, {
    nodes: placement.stages[stage]!.nodes,
    holding: { kind: 'one', class: kind },
  })
  const { cost, members } = loadOf(problem, { stages })
  const taken = members.find((member) => member.stage === stage)
  if (taken === undefined || cost.periodUs === Infinity) return undefined
  const { computeUs, openUs, sealUs, memoryBytes } = taken
  const periodUs = Math.max(cost.periodUs, computeUs + openUs + sealUs + busyUs)
  return { class: kind, holds, periodUs, memoryBytes }
}
