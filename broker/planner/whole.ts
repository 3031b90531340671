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
import { idealsOf } from './ideals.js'
import { lighterOf } from './lighter.js'
import { isLegal, valueOf } from './objective.js'
import type { Objective, Placement, Problem } from './problem.js'
import type { Searched, Solution } from './searched.js'
import { segmentsOf, type Segments } from './segments.js'
import { isTight, limitsOf } from './threshold.js'
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
  const period = { floor: Math.max(periodFloor(problem), isParted ? 0 : byPath.lowerBound), proof: byPath.proof }
  const askPaths = latencySearch(search, effort)
  const { ideals } = search.space
  const isSmall = ideals.isComplete && ideals.count <= mostIdeals
  const capacities = isParted || !isSmall ? undefined : capacitiesWithin(search)

  return { best, ask }

  function best(objective: Objective): Solution {
    const starts = [byPath.placement]
    if (objective.kind === 'latency') starts.push(askPaths(Infinity).point?.placement)
    const memory = objective.kind === 'memory' ? leastMemory(plain, effort) : undefined
    starts.push(memory?.placement)
    const start = bestOf(starts, objective, Infinity)
    const floor = floorOf(objective, memory)
    if (start !== undefined && isTight(start.value, floor)) {
      return { placement: start.placement, lowerBound: floor, proof: period.proof, remark: undefined }
    }
    const found = searched(objective, start?.value ?? Infinity, Infinity, floor)
    const placement = found.placement ?? start?.placement
    if (found.isComplete) return { placement, lowerBound: found.value, proof: 'searched through', remark: undefined }
    return { placement, lowerBound: floor, proof: period.proof, remark: 'not every placement was looked at' }
  }

  function ask(limitUs: number): Answer {
    const objective: Objective = { kind: 'latency' }
    const start = bestOf([byPath.placement, askPaths(limitUs).point?.placement], objective, limitUs)
    const floor = latencyFloor(problem)
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
    return branch(problem, ideals, { objective, below, limitUs, periodFloorUs, floor, tries, isLate, capacities })
  }

  function floorOf(objective: Objective, memory: Solution | undefined): number {
    switch (objective.kind) {
      case 'throughput':
        return period.floor
      case 'latency':
        return latencyFloor(problem)
      case 'batch':
        return latencyFloor(problem) + (objective.requests - 1) * period.floor
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

/** Capacity by limit, of all stages that are possible at all; they are found when it is asked first. */
function capacitiesWithin({ space, measure }: TimeSearch): (limitUs: number) => Float64Array {
  let segments: Segments | undefined
  return (limitUs) => {
    segments ??= segmentsOf(space.ideals, measure, limitsOf(space, measure, noLimitUs), Infinity)
    return capacitiesOf(space, segments!, limitUs)
  }
}
