/**
 * Placements that paths of stages cannot price: with parted stages, or in shape 'dag'. Paths give a start and, where nothing is
 * parted, a bound; branch and bound over whole placements does the rest.
 */

import { latencyFloor, memoryFloor, periodFloor } from './bound.js'
import { branch } from './branch.js'
import { capacitiesOf } from './capacity.js'
import { costOf } from './cost.js'
import type { Effort } from './effort.js'
import type { Answer } from './front.js'
import { idealsOf, type Ideals } from './ideals.js'
import { lighterOf } from './lighter.js'
import { isLegal, valueOf } from './objective.js'
import { polished } from './polish.js'
import { PartedCapacity } from './parted-capacity.js'
import type { Objective, Placement, Problem } from './problem.js'
import type { Searched, Solution } from './searched.js'
import { segmentsOf, type Segments } from './segments.js'
import { isTight, limitsOf } from './threshold.js'
import { timeLeftWithParts, type TimeLeft } from './time-left.js'
import { latencySearch, leastMemory, leastPeriod, noLimitUs, timeSearchOf, type TimeSearch } from './uniform.js'
import { timeWork } from './work.js'

/** Ideals that branch and bound starts with at most: it looks at every pair of them. */
const mostIdeals = 2000

/** With more ideals than this, nodes that take no time are left out at first. */
const manyIdeals = 20_000

export function searchWhole(problem: Problem, effort: Effort): Searched {
  // On a chain a stage without work may still be the way from one device to another; and a region is itself or nothing.
  const mayLeaveOut = problem.shape === 'dag' && (problem.maxParts === 1 || problem.regions.length === 0)
  const hasMany = mayLeaveOut && idealsOf(problem, timeWork(problem), manyIdeals) === undefined
  const lighter = hasMany ? lighterOf(problem) : undefined
  if (lighter === undefined) return searchAll(problem, effort)
  const searched = searchAll(lighter.problem, effort)
  return {
    best(objective) {
      const solution = searched.best(objective)
      const placement = solution.placement === undefined ? undefined : lighter.restore(solution.placement)
      if (placement !== undefined && !isLegal(costOf(problem, placement)))
        return searchAll(problem, effort).best(objective)
      return { ...solution, placement, remark: solution.remark ?? 'nodes that take no time were placed last' }
    },
    ask(limitUs) {
      const { point, lowerBound } = searched.ask(limitUs)
      const placement = point === undefined ? undefined : lighter.restore(point.placement)
      const cost = placement === undefined ? undefined : costOf(problem, placement)
      if (placement === undefined || cost === undefined) return { point: undefined, lowerBound }
      return { point: isLegal(cost) && cost.periodUs < limitUs ? { placement, cost } : undefined, lowerBound }
    },
  }
}

function searchAll(problem: Problem, effort: Effort): Searched {
  const plain: Problem = { ...problem, regions: [], maxParts: 1 }
  const isParted = problem.maxParts > 1 && problem.regions.length > 0
  const search = timeSearchOf(plain, effort)
  const byPath = leastPeriod(search, effort)
  const { ideals } = search.space
  const isSmall = ideals.isComplete && ideals.count <= mostIdeals
  const capacities = isSmall ? capacitiesWithin(problem, search) : undefined
  const period = boundedPeriod(problem, byPath, isParted, capacities, ideals)
  const askPaths = latencySearch(search, effort)
  const left = isParted && isSmall && problem.shape === 'chain' ? leftWithin(problem, search) : undefined
  const latency = Math.max(latencyFloor(problem), (left?.fromClient ?? 0) * (1 - 1e-12))
  /** Without parts first: what may be parted need not be. */
  const unparted = isParted && problem.shape === 'dag' ? searchAll(plain, effort) : undefined

  return { best, ask }

  function best(objective: Objective): Solution {
    const starts = [byPath.placement]
    if (objective.kind === 'latency') starts.push(askPaths(Infinity).point?.placement)
    const memory = objective.kind === 'memory' ? leastMemory(plain, effort) : undefined
    starts.push(memory?.placement, unparted?.best(objective).placement)
    let start = bestOf(starts, objective, Infinity)
    if (start === undefined && problem.shape === 'dag') start = bestOf([rowed()], objective, Infinity)
    const floor = floorOf(objective, memory)
    if (start !== undefined && isTight(start.value, floor)) {
      return { placement: start.placement, lowerBound: floor, proof: period.proof, remark: undefined }
    }
    const found = searched(objective, start?.value ?? Infinity, Infinity, floor)
    const placement = found.placement ?? start?.placement
    if (found.isComplete) return { placement, lowerBound: found.value, proof: 'searched through', remark: undefined }
    const better = placement === undefined ? undefined : polished(problem, placement, objective, effort.isLate)
    return { placement: better, lowerBound: floor, proof: period.proof, remark: 'not every placement was looked at' }
  }

  /** A row of stages that are each linked to the next: where values cannot go straight to all that read them. */
  function rowed(): Placement | undefined {
    const { sealedOnce: _, ...rest } = plain
    return leastPeriod(timeSearchOf({ ...rest, shape: 'chain' }, effort), effort).placement
  }

  function ask(limitUs: number): Answer {
    const objective: Objective = { kind: 'latency' }
    const starts = [byPath, askPaths(limitUs).point, unparted?.ask(limitUs).point]
    const start = bestOf(
      starts.map((found) => found?.placement),
      objective,
      limitUs,
    )
    const floor = latency
    const found = searched(objective, start?.value ?? Infinity, limitUs, floor)
    const placement = found.placement ?? start?.placement
    const lowerBound = found.isComplete ? found.value : floor
    return { point: placement === undefined ? undefined : { placement, cost: costOf(problem, placement) }, lowerBound }
  }

  function searched(objective: Objective, below: number, limitUs: number, floor: number) {
    if (ideals.count > mostIdeals || !ideals.isComplete)
      return { placement: undefined, value: below, isComplete: false }
    const { isLate, tries } = effort
    const periodFloorUs = period.floor
    return branch(problem, ideals, { objective, below, limitUs, periodFloorUs, floor, tries, isLate, capacities, left })
  }

  function floorOf(objective: Objective, memory: Solution | undefined): number {
    switch (objective.kind) {
      case 'throughput':
        return period.floor
      case 'latency':
        return latency
      case 'batch':
        return latency + (objective.requests - 1) * period.floor
      case 'memory':
        return isParted || memory === undefined ? memoryFloor(problem) : memory.lowerBound
    }
  }

  function bestOf(placements: readonly (Placement | undefined)[], objective: Objective, limitUs: number) {
    let best: { placement: Placement; value: number } | undefined
    for (const placement of placements) {
      if (placement === undefined) continue
      const cost = costOf(problem, placement)
      const value = valueOf(cost, objective)
      if (isLegal(cost) && cost.periodUs < limitUs && value < (best?.value ?? Infinity)) best = { placement, value }
    }
    return best
  }
}

/** The bound of the paths where nothing is parted; else that of capacity, parts and all. */
function boundedPeriod(
  problem: Problem,
  byPath: Solution,
  isParted: boolean,
  capacities: ((limitUs: number) => Float64Array) | undefined,
  { work, count }: Ideals,
): { floor: number; proof: string } {
  const floor = periodFloor(problem)
  if (!isParted) return { floor: Math.max(floor, byPath.lowerBound), proof: byPath.proof }
  if (capacities === undefined || byPath.placement === undefined)
    return { floor, proof: 'the work and the heaviest node' }
  let [low, high] = [floor, Math.max(floor, costOf(problem, byPath.placement).periodUs)]
  for (let round = 0; round < 30; round++) {
    const middle = (low + high) / 2
    const most = capacities(middle)
    const all = problem.classes.reduce((sum, { count }, kind) => sum + count * most[kind]!, 1)
    if (all < work[count - 1]!) low = middle
    else high = middle
  }
  return { floor: low, proof: 'the capacity of the fleet' }
}

function leftWithin(problem: Problem, { space, measure, delays }: TimeSearch): TimeLeft {
  const segments = segmentsOf(space.ideals, measure, limitsOf(space, measure, noLimitUs), Infinity)!
  const parted = new PartedCapacity(problem, timeWork(problem))
  return timeLeftWithParts(problem, space.ideals, segments, space.links, delays, parted)
}

/** Capacity by limit, of all stages that are possible at all; they are found when it is asked first. */
function capacitiesWithin(problem: Problem, { space, measure }: TimeSearch): (limitUs: number) => Float64Array {
  let segments: Segments | undefined
  const parted = problem.maxParts > 1 ? new PartedCapacity(problem, timeWork(problem)) : undefined
  return (limitUs) => {
    segments ??= segmentsOf(space.ideals, measure, limitsOf(space, measure, noLimitUs), Infinity)
    const alone = capacitiesOf(space, segments!, limitUs)
    const inParts = parted?.within(limitUs)
    return inParts === undefined ? alone : alone.map((work, kind) => Math.max(work, inParts[kind]!))
  }
}
