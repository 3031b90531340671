/** The best placements of a small problem, found by looking at all of them. */

import type { Cost, Objective, Placement, Problem } from '#broker/planner/problem.js'
import { naiveCost } from './naive-cost.js'
import { allPlacements } from './placements.js'

export interface Looked {
  /** Placements that hold: finite and within memory. */
  readonly feasible: readonly { readonly placement: Placement; readonly cost: Cost }[]
  readonly looked: number
}

/** All placements that count, with their costs; `undefined` where there are more than `most` to look at. */
export function lookAtAll(problem: Problem, most: number): Looked | undefined {
  const feasible: { placement: Placement; cost: Cost }[] = []
  let looked = 0
  for (const placement of allPlacements(problem)) {
    if (++looked > most) return undefined
    const cost = naiveCost(problem, placement)
    if (cost.periodUs < Infinity && cost.memoryShare <= 1) feasible.push({ placement, cost })
  }
  return { feasible, looked }
}

/** The least of an objective over all that counts; `Infinity` where nothing does. */
export function leastOf({ feasible }: Looked, objective: Objective): number {
  return feasible.reduce((least, { cost }) => Math.min(least, naiveValue(cost, objective)), Infinity)
}

export function naiveValue({ periodUs, latencyUs, memoryShare }: Cost, objective: Objective): number {
  switch (objective.kind) {
    case 'throughput':
      return periodUs
    case 'latency':
      return latencyUs
    case 'batch':
      return latencyUs + (objective.requests - 1) * periodUs
    case 'memory':
      return memoryShare
  }
}

/** Of these, what no other beats in both period and latency, the shortest period first; what is equal but for rounding is one. */
export function frontOf(
  costs: readonly Pick<Cost, 'periodUs' | 'latencyUs'>[],
): { periodUs: number; latencyUs: number }[] {
  const sorted = costs
    .map(({ periodUs, latencyUs }) => ({ periodUs, latencyUs }))
    .sort((a, b) => a.periodUs - b.periodUs || a.latencyUs - b.latencyUs)
  const front: { periodUs: number; latencyUs: number }[] = []
  for (const point of sorted) {
    const last = front.at(-1)
    if (last !== undefined && (point.latencyUs >= last.latencyUs || isNear(point.latencyUs, last.latencyUs))) continue
    if (last !== undefined && isNear(point.periodUs, last.periodUs)) front.pop()
    front.push(point)
  }
  return front
}

/** Equal but for rounding. */
export function isNear(a: number, b: number): boolean {
  return a === b || Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b))
}
