/**
 * The least limit at which a path of stages exists: found from above by the beam, bounded from below by capacity, and closed
 * by the exact search where that is affordable. Nothing between two costs that occur can be the least limit, so the costs
 * that occur are what is searched.
 */

import { beam } from './beam.js'
import { capacityBound } from './capacity.js'
import type { Effort } from './effort.js'
import { pricedBound } from './prices.js'
import { reach, reachEffort, mostReachWords } from './reach.js'
import { linkCost, pathCost, type SearchSpace, type Step } from './search-space.js'
import { segmentsOf, type Measure, type Segments } from './segments.js'

export interface Least {
  /** `undefined`: none was found. */
  readonly path: Step[] | undefined
  /** Of the path; `Infinity` without one. */
  readonly cost: number
  /** Proven: there is no path with a lower cost. `Infinity` where it is proven that there is no path. */
  readonly lowerBound: number
  readonly proof: string
  readonly remark: string | undefined
}

/** Searches up to `most`; `floor` is a bound that is known already. */
export function leastLimit(space: SearchSpace, measure: Measure, floor: number, most: number, effort: Effort): Least {
  const found = firstPath(space, measure, floor, most, effort)
  if (found.path === undefined) return found.least
  const { segments } = found
  let { path, cost } = found
  let lowerBound = capacityBound(space, segments, floor, cost)
  let proof = lowerBound > floor ? 'the capacity of the fleet' : 'the work and the heaviest node'
  let measured = space
  for (const [round, width] of effort.beamWidths.entries()) {
    improve(width)
    if (round > 0 || !space.ideals.isChain || cost - lowerBound <= cost * 1e-4) continue
    const priced = pricedBound(space, segments, lowerBound, cost, effort.isLate)
    if (priced.lowerBound === lowerBound) continue
    lowerBound = priced.lowerBound
    proof = 'the capacity of the fleet, at prices for nodes'
    measured = { ...space, ideals: { ...space.ideals, work: priced.work } }
  }
  if (isTight(cost, lowerBound)) return { path, cost, lowerBound, proof, remark: undefined }
  const needs = reachEffort(space)
  if (needs.words > mostReachWords || needs.operations > effort.operations) {
    const sets = space.hosts.states.toPrecision(3)
    const remark = `${sets} sets of devices and ${space.ideals.count} borders are too many to search all`
    return { path, cost, lowerBound, proof, remark }
  }
  const costs = costsBetween(space, segments, lowerBound, cost)
  // costs[below] and less do not do; costs[above] does.
  let [below, above] = [-1, costs.length]
  while (above - below > 1) {
    const middle = (below + above) >> 1
    const better = reach(measured, segments, costs[middle]!, effort.isLate)
    if (better === 'late') return { path, cost, lowerBound, proof, remark: 'the time for planning was over' }
    if (better === undefined) {
      below = middle
      lowerBound = costs[below + 1] ?? cost
    } else {
      path = better
      cost = pathCost(space, segments, better)
      above = middle
    }
  }
  return { path, cost, lowerBound: cost, proof: 'searched through', remark: undefined }

  /** The beam is cheap: let it come as near to the bound as it can. */
  function improve(width: number): void {
    let low = lowerBound
    for (let round = 0; round < 16 && cost - low > cost * 1e-4 && !effort.isLate(); round++) {
      const limit = (low + cost) / 2
      const better = beam(measured, segments, limit, width)
      if (better === undefined) low = limit
      else {
        path = better
        cost = pathCost(space, segments, better)
      }
    }
  }
}

export type First = { path: Step[]; cost: number; segments: Segments } | { path: undefined; least: Least }

/** Any path: from a limit at which one is likely, upwards. */
export function firstPath(space: SearchSpace, measure: Measure, floor: number, most: number, effort: Effort): First {
  const start = Math.max(floor, Number.MIN_VALUE)
  for (const times of [1.25, 2, 4, 16, 256, Infinity]) {
    const limit = Math.min(most, start * times)
    const segments = segmentsOf(space.ideals, measure, limitsOf(space, measure, limit), effort.segments)
    if (segments === undefined) {
      const remark = 'the stages that are possible are too many to look at'
      return {
        path: undefined,
        least: { path: undefined, cost: Infinity, lowerBound: floor, proof: 'the work', remark },
      }
    }
    let path = beam(space, segments, limit, effort.beamWidths[0]!)
    if (path === undefined && limit === most) {
      const needs = reachEffort(space)
      const isAffordable = needs.words <= mostReachWords && needs.operations <= effort.operations
      const exact = isAffordable ? reach(space, segments, limit, () => false) : 'late'
      if (exact === undefined) {
        const least = {
          path: undefined,
          cost: Infinity,
          lowerBound: Infinity,
          proof: 'searched through',
          remark: undefined,
        }
        return { path: undefined, least }
      }
      path = exact === 'late' ? beam(space, segments, limit, 8 * effort.beamWidths[0]!) : exact
    }
    if (path !== undefined) return { path, cost: pathCost(space, segments, path), segments }
    if (limit === most) break
  }
  const remark = 'no plan was found, and not every one was looked at'
  return { path: undefined, least: { path: undefined, cost: Infinity, lowerBound: floor, proof: 'the work', remark } }
}

/** By class: what one stage may cost, by turns the more. */
export function limitsOf({ hosts, factor }: SearchSpace, { classes }: Measure, limit: number): Float64Array {
  const limits = new Float64Array(classes)
  for (let host = 0; host < hosts.count; host++) {
    const kind = hosts.class[host]!
    // A little more, so that rounding loses none.
    limits[kind] = Math.max(limits[kind]!, limit * factor[host]! * (1 + 1e-9))
  }
  return limits
}

/** Every cost that occurs above `low` and below `high`, ascending, each once. */
function costsBetween(space: SearchSpace, segments: Segments, low: number, high: number): Float64Array {
  const { ideals, hosts, factor } = space
  const found: number[] = []
  const add = (cost: number): void => {
    if (cost > low && cost < high) found.push(cost)
  }
  for (let host = 0; host < hosts.count; host++) {
    const row = hosts.class[host]! * ideals.count
    for (let at = segments.start[row]!; at < segments.start[row + ideals.count]!; at++) {
      add(segments.cost[at]! / factor[host]!)
    }
    add(linkCost(space, -1, host, 0))
    add(linkCost(space, host, -1, ideals.count - 1))
    for (let next = 0; next < hosts.count; next++) {
      for (let ideal = 1; ideal < ideals.count - 1; ideal++) add(linkCost(space, host, next, ideal))
    }
  }
  const sorted = Float64Array.from(found).sort()
  return sorted.filter((cost, at) => at === 0 || cost > sorted[at - 1]! * (1 + 1e-12))
}

export function isTight(value: number, lowerBound: number): boolean {
  return value - lowerBound <= value * 1e-9
}
