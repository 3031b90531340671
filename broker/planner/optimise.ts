/** The planner's entry: the best placement of a problem that it finds, and what is known about better ones. */

import { Refusal } from '#shared/errors.js'
import { latencyFloor } from './bound.js'
import { checkProblem } from './check.js'
import { costOf } from './cost.js'
import { effortOf, type Effort, type EffortOptions } from './effort.js'
import { batchBound, frontOf, type Front, type Point } from './front.js'
import { isLegal, valueOf } from './objective.js'
import { obstacleTo } from './obstacle.js'
import type { Certificate, Cost, Objective, Placement, Problem } from './problem.js'
import { isTight } from './threshold.js'
import type { Searched, Solution } from './searched.js'
import { searchPaths } from './uniform.js'
import { searchWhole } from './whole.js'

export interface Optimum {
  readonly placement: Placement
  readonly cost: Cost
  readonly certificate: Certificate
  /** For objective 'batch': what it was chosen from. */
  readonly front?: readonly Point[]
}

/** All trades between period and latency that no other beats, the shortest period first. */
export interface ParetoFront {
  readonly points: readonly Point[]
  /** Whether that is proven. */
  readonly isProven: boolean
  readonly remark?: string
}

/**
 * The best placement for `objective`. Without a deadline in `options` it depends on the problem only. Throws
 * `Refusal('cannot-plan')`, naming what stands in the way: numbers that make no sense, a node that no device may run, a pin
 * that cannot hold, or a model that is too big, with the smallest addition that would fit.
 */
export function optimise(problem: Problem, objective: Objective, options: EffortOptions = {}): Optimum {
  checkProblem(problem)
  if (objective.kind === 'batch' && !(Number.isInteger(objective.requests) && objective.requests >= 1)) {
    throw new Refusal(
      'cannot-plan',
      `a batch of ${objective.requests} requests cannot be planned; give a whole number from 1`,
    )
  }
  const effort = effortOf(options)
  const searched = searchFor(problem, effort)
  if (objective.kind !== 'batch')
    return certified(problem, objective, placedBy(problem, searched.best(objective), effort))
  const { front, periodBoundUs } = frontBy(problem, searched, effort)
  const best = front.points.reduce((best, point) =>
    valueOf(point.cost, objective) < valueOf(best.cost, objective) ? point : best,
  )
  const floor = { periodUs: periodBoundUs, latencyUs: latencyFloor(problem) }
  const lowerBound = batchBound(front, objective.requests, floor)
  const known = {
    placement: best.placement,
    lowerBound,
    proof: front.isProven ? 'the front was searched through' : 'what was searched of the front',
    remark: remarkOf(front),
  }
  return { ...certified(problem, objective, known), front: front.points }
}

/** The front between period and latency. Throws what `optimise` throws. */
export function paretoFront(problem: Problem, options: EffortOptions = {}): ParetoFront {
  checkProblem(problem)
  const effort = effortOf(options)
  const { front } = frontBy(problem, searchFor(problem, effort), effort)
  const { points, isProven } = front
  const remark = remarkOf(front)
  return remark === undefined ? { points, isProven } : { points, isProven, remark }
}

/** Paths of stages price a chain exactly; where stages are parted, or a value goes straight to its readers, they do not. */
function searchFor(problem: Problem, effort: Effort): Searched {
  const isParted = problem.maxParts > 1 && problem.regions.length > 0
  return problem.shape === 'dag' || isParted ? searchWhole(problem, effort) : searchPaths(problem, effort)
}

function frontBy(problem: Problem, searched: Searched, effort: Effort): { front: Front; periodBoundUs: number } {
  const { placement, lowerBound } = placedBy(problem, searched.best({ kind: 'throughput' }), effort)
  const cost = costOf(problem, placement)
  const periodBoundUs = isTight(cost.periodUs, lowerBound) ? cost.periodUs : lowerBound
  return { front: frontOf(searched.ask, { placement, cost }, periodBoundUs, effort.isLate), periodBoundUs }
}

function remarkOf({ isProven }: Front): string | undefined {
  return isProven ? undefined : 'not every trade between period and latency was looked at'
}

/** The solution, if it has a placement. */
function placedBy(problem: Problem, solution: Solution, effort: Effort): Solution & { readonly placement: Placement } {
  const { placement } = solution
  if (placement === undefined) throw new Refusal('cannot-plan', obstacleTo(problem, solution, effort))
  return { ...solution, placement }
}

function certified(
  problem: Problem,
  objective: Objective,
  known: Solution & { readonly placement: Placement },
): Optimum {
  const { placement } = known
  const cost = costOf(problem, placement)
  if (!isLegal(cost)) throw new Error('a placement was found that is not legal')
  const value = valueOf(cost, objective)
  const isProven = isTight(value, known.lowerBound)
  const lowerBound = isProven ? value : Math.min(value, known.lowerBound)
  const gap = isProven ? 0 : value / lowerBound - 1
  const certificate: Certificate = { objective, value, lowerBound, gap, proof: known.proof }
  const remark = isProven ? undefined : known.remark
  return { placement, cost, certificate: remark === undefined ? certificate : { ...certificate, remark } }
}
