/**
 * A better measure of work for a row of borders: a price for every node, so chosen that no place is attractive to everybody. With
 * plain work every device counts with the segment that suits it best, and those lie where crossing is cheap; the prices go up
 * where no such segment lies and down where several do, until they cannot all be had (a Lagrangian dual, by subgradients).
 */

import { rounding, type SearchSpace } from './search-space.js'
import type { Segments } from './segments.js'
import { unitsOfWork } from './work.js'

/** Steps towards better prices for one limit, and limits that are tried. */
const steps = 48
const limitsTried = 10

export interface Priced {
  /** The largest limit that is proven too low. */
  readonly lowerBound: number
  /** Work of each ideal by the prices that proved it, in whole units. */
  readonly work: Float64Array
}

/** For ideals that are a chain: raises the bound `low` towards `high`, which is a cost that is possible. */
export function pricedBound(
  space: SearchSpace,
  segments: Segments,
  low: number,
  high: number,
  isLate: () => boolean,
): Priced {
  const { ideals } = space
  const count = ideals.count - 1
  if (ideals.work[count] === 0) return { lowerBound: low, work: ideals.work }
  // Node number i is what ideal i + 1 has more than ideal i.
  const prices = Float64Array.from({ length: count }, (_, node) => ideals.work[node + 1]! - ideals.work[node]!)
  let { work } = ideals
  let [lowerBound, open] = [low, high]
  for (let round = 0; round < limitsTried && open - lowerBound > open * 5e-4; round++) {
    const limit = (lowerBound + open) / 2
    const proven = priced(space, segments, limit, prices, isLate)
    if (proven === undefined) open = limit
    else {
      work = proven
      lowerBound = limit
    }
    if (isLate()) break
  }
  return { lowerBound, work }
}

/** Prices at which the fleet cannot hold all within the limit, as work; `prices` goes on from where it was. */
function priced(
  { ideals, hosts, factor }: SearchSpace,
  segments: Segments,
  limit: number,
  prices: Float64Array,
  isLate: () => boolean,
): Float64Array | undefined {
  const count = ideals.count - 1
  const kinds = hosts.limit.length
  const work = new Float64Array(count + 1)
  const covered = new Float64Array(count + 1)
  const best = new Float64Array(kinds)
  const from = new Int32Array(kinds)
  const to = new Int32Array(kinds)
  const weight = new Float64Array(kinds)
  for (let step = 0; step < steps && !isLate(); step++) {
    const sum = prices.reduce((total, price) => total + price, 0)
    for (let node = 0; node < count; node++) {
      prices[node] = prices[node]! / sum
      work[node + 1] = work[node]! + Math.floor(prices[node]! * unitsOfWork)
    }
    best.fill(0)
    for (let host = 0; host < hosts.count; host++) {
      const kind = hosts.class[host]!
      const turns = hosts.turns[host]!
      const within = limit * factor[host]! * (1 + rounding)
      let most = best[kind]! * turns
      for (let first = 0; first < count; first++) {
        const row = kind * (count + 1) + first
        for (let at = segments.start[row + 1]! - 1; at >= segments.start[row]!; at--) {
          const held = work[segments.to[at]!]! - work[first]!
          if (held <= most) break
          if (segments.cost[at]! > within) continue
          most = held
          from[kind] = first
          to[kind] = segments.to[at]!
          weight[kind] = hosts.limit[kind]! / turns
        }
      }
      best[kind] = most / turns
    }
    let total = 1
    for (let kind = 0; kind < kinds; kind++) total += hosts.limit[kind]! * best[kind]!
    if (total < work[count]!) return work
    // How often each node is in the segments that suit best; it should be once.
    covered.fill(0)
    for (let kind = 0; kind < kinds; kind++) {
      if (best[kind] === 0) continue
      covered[from[kind]!]! += weight[kind]!
      covered[to[kind]!]! -= weight[kind]!
    }
    let square = 0
    for (let node = 0, times = 0; node < count; node++) {
      times += covered[node]!
      covered[node] = times - 1
      square += (times - 1) ** 2
    }
    if (square === 0) return undefined
    // What is missing to a proof, and a little more (Polyak).
    const length = ((total - work[count]!) / unitsOfWork + 2e-3) / square
    for (let node = 0; node < count; node++) prices[node] = Math.max(prices[node]! - length * covered[node]!, 0)
  }
  return undefined
}
