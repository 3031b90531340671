/** The planner's entry: the best placement of a problem that it finds, and what is known about better ones. */

import { Refusal } from '#shared/errors.js'
import { checkProblem } from './check.js'
import { costOf } from './cost.js'
import { effortOf, type Effort, type EffortOptions } from './effort.js'
import { batchBound, frontOf, type Front, type Point } from './front.js'
import { isLegal, valueOf } from './objective.js'
import { obstacleTo } from './obstacle.js'
import type { Certificate, Cost, Objective, Placement, Problem } from './problem.js'
import { isTight } from './threshold.js'
import { latencySearch, leastMemory, leastPeriod, timeSearchOf, type Solution } from './uniform.js'

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
  switch (objective.kind) {
    case 'memory':
      return certified(problem, objective, placedBy(problem, leastMemory(problem, effort)))
    case 'throughput':
      return certified(problem, objective, placedBy(problem, leastPeriod(timeSearchOf(problem, effort), effort)))
    case 'latency': {
      const { point, lowerBound } = latencySearch(timeSearchOf(problem, effort), effort)(Infinity)
      const proof = lowerBound === point?.cost.latencyUs ? 'searched through' : 'the fastest device for every node'
      const remark = 'not every placement was looked at'
      return certified(
        problem,
        objective,
        placedBy(problem, { placement: point?.placement, lowerBound, proof, remark }),
      )
    }
    case 'batch': {
      const { front, periodBoundUs } = searchedFront(problem, effort)
      const best = front.points.reduce((best, point) =>
        valueOf(point.cost, objective) < valueOf(best.cost, objective) ? point : best,
      )
      const lowerBound = batchBound(front, objective.requests, periodBoundUs)
      const known = {
        placement: best.placement,
        lowerBound,
        proof: 'the front searched through',
        remark: remarkOf(front),
      }
      return { ...certified(problem, objective, placedBy(problem, known)), front: front.points }
    }
  }
}

/** The front between period and latency. Throws what `optimise` throws. */
export function paretoFront(problem: Problem, options: EffortOptions = {}): ParetoFront {
  checkProblem(problem)
  const { front } = searchedFront(problem, effortOf(options))
  const { points, isProven } = front
  const remark = remarkOf(front)
  return remark === undefined ? { points, isProven } : { points, isProven, remark }
}

function searchedFront(problem: Problem, effort: Effort): { front: Front; periodBoundUs: number } {
  const search = timeSearchOf(problem, effort)
  const { placement, lowerBound } = placedBy(problem, leastPeriod(search, effort))
  const cost = costOf(problem, placement)
  const periodBoundUs = isTight(cost.periodUs, lowerBound) ? cost.periodUs : lowerBound
  return {
    front: frontOf(latencySearch(search, effort), { placement, cost }, periodBoundUs, effort.isLate),
    periodBoundUs,
  }
}

function remarkOf({ isProven }: Front): string | undefined {
  return isProven ? undefined : 'not every trade between period and latency was looked at'
}

/** The solution, if it has a placement. */
function placedBy(problem: Problem, solution: Solution): Solution & { readonly placement: Placement } {
  const { placement } = solution
  if (placement === undefined) throw new Refusal('cannot-plan', obstacleTo(problem, solution))
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
