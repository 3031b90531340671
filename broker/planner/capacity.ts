/**
 * A bound on what a fleet can do within a limit: each device can hold no more work than the best segment that costs it no
 * more than the limit, wherever that is; together that must be all the work. Crossings, memory, what a device may not run and
 * that nodes are whole are all in it, since they are in the segments.
 */

import { rounding, type SearchSpace } from './search-space.js'
import type { Segments } from './segments.js'

/** Most work that one device of each class can hold within `limit`, alone or its share by turns. */
export function capacitiesOf({ ideals, hosts, factor }: SearchSpace, segments: Segments, limit: number): Float64Array {
  const { count, work } = ideals
  const most = new Float64Array(hosts.limit.length)
  for (let host = 0; host < hosts.count; host++) {
    const kind = hosts.class[host]!
    const within = limit * factor[host]! * (1 + rounding)
    let best = 0
    for (let from = 0; from < count; from++) {
      const row = kind * count + from
      for (let at = segments.start[row + 1]! - 1; at >= segments.start[row]!; at--) {
        const held = work[segments.to[at]!]! - work[from]!
        if (held <= best) break
        if (segments.cost[at]! <= within) best = held
      }
    }
    most[kind] = Math.max(most[kind]!, best / hosts.turns[host]!)
  }
  return most
}

/** Whether the whole fleet has the capacity for all the work. One unit is allowed for rounding. */
export function suffices({ ideals, hosts }: SearchSpace, capacities: Float64Array): boolean {
  let sum = 1
  for (let kind = 0; kind < capacities.length; kind++) sum += hosts.limit[kind]! * capacities[kind]!
  return sum >= ideals.work[ideals.count - 1]!
}

/** The largest limit found between `low` and `high` that is proven too low for the fleet. `low` if none is. */
export function capacityBound(space: SearchSpace, segments: Segments, low: number, high: number): number {
  let [proven, open] = [low, high]
  for (let round = 0; round < 30 && open - proven > open * 1e-6; round++) {
    const middle = (proven + open) / 2
    if (suffices(space, capacitiesOf(space, segments, middle))) open = middle
    else proven = middle
  }
  return proven
}
