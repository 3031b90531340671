/** The planner's entry: the best placement of a problem that it finds, and what is known about better ones. */

import { Refusal } from '#shared/errors.js'
import { checkProblem } from './check.js'
import { costOf } from './cost.js'
import { effortOf, type EffortOptions } from './effort.js'
import { isLegal, valueOf } from './objective.js'
import { obstacleTo } from './obstacle.js'
import type { Certificate, Cost, Objective, Placement, Problem } from './problem.js'
import { isTight } from './threshold.js'
import { leastMemory, leastPeriod, type Solution } from './uniform.js'

export interface Optimum {
  readonly placement: Placement
  readonly cost: Cost
  readonly certificate: Certificate
}

/**
 * The best placement for `objective`. Without a deadline in `options` it depends on the problem only. Throws
 * `Refusal('cannot-plan')`, naming what stands in the way: numbers that make no sense, a node that no device may run, a pin
 * that cannot hold, or a model that is too big, with the smallest addition that would fit.
 */
export function optimise(problem: Problem, objective: Objective, options: EffortOptions = {}): Optimum {
  checkProblem(problem)
  const effort = effortOf(options)
  const solution = objective.kind === 'memory' ? leastMemory(problem, effort) : leastPeriod(problem, effort)
  if (solution.placement === undefined) throw new Refusal('cannot-plan', obstacleTo(problem, solution))
  return certified(problem, objective, solution.placement, solution)
}

function certified(problem: Problem, objective: Objective, placement: Placement, known: Solution): Optimum {
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
