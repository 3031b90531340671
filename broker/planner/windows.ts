/**
 * Whether a path of stages exists within a limit, where there are tens of thousands of ideals, few sets of devices, and links
 * that do not matter: exact, without keeping what can follow what. An ideal is reached with the fewest devices that do; from
 * it only those are looked at that are within one device's capacity, and that leave no more than the others can do.
 */

import type { Effort } from './effort.js'
import type { Hosts } from './hosts.js'
import { isSubset, type Ideals } from './ideals.js'
import { rounding, type Step } from './search-space.js'
import type { Measure } from './segments.js'
import type { Least } from './threshold.js'

/** Sets of devices times ideals that are kept at most, one byte and four for where each was reached from. */
export const mostReached = 32_000_000

export interface WindowSearch {
  readonly ideals: Ideals
  readonly hosts: Hosts
  readonly measure: Measure
  readonly factor: Float64Array
}

/** The path; `undefined` where there is none; 'late' where more than `pairs` pairs of ideals would have to be looked at. */
export function windowPath(
  { ideals, hosts, measure, factor }: WindowSearch,
  limit: number,
  pairs: number,
  isLate: () => boolean,
): { path: Step[] | undefined | 'late'; looked: number } {
  const { count, work } = ideals
  const full = count - 1
  const within = limit * (1 + rounding)
  const from = new Int32Array(hosts.states * count).fill(-1)
  const host = new Uint16Array(hosts.states * count)
  /** 1: reached with these devices; 2: with fewer, too. */
  const isReached = new Uint8Array(hosts.states * count)
  const most = measure.rate.map((rate) => (rate === 0 ? work[full]! : Math.min(within * rate, work[full]!)))
  const taken = new Int32Array(hosts.limit.length)
  isReached[0] = 1
  let looked = 0
  for (let state = 0; state < hosts.states; state++) {
    if (state > 0) step(taken, hosts.limit)
    const row = state * count
    for (let kind = 0; kind < taken.length; kind++) {
      if (taken[kind] === 0) continue
      const fewer = (state - hosts.radix[kind]!) * count
      for (let ideal = 0; ideal < count; ideal++) if (isReached[fewer + ideal] !== 0) isReached[row + ideal] = 2
    }
    let spare = 1
    for (let kind = 0; kind < taken.length; kind++) spare += (hosts.limit[kind]! - taken[kind]!) * most[kind]!
    for (let at = 0; at < hosts.count; at++) {
      const kind = hosts.class[at]!
      const turns = hosts.turns[at]!
      if (taken[kind]! + turns > hosts.limit[kind]!) continue
      const then = (state + hosts.step[at]!) * count
      const reach = turns * most[kind]! + 1
      const least = work[full]! - (spare - turns * most[kind]!)
      const cost = within * factor[at]!
      for (let ideal = 0; ideal < count; ideal++) {
        if (isReached[row + ideal] !== 1 || work[ideal]! + reach < least) continue
        looked += 64
        for (let next = full; next > ideal && work[next]! >= least; next--) {
          if (work[next]! - work[ideal]! > reach) {
            // Far beyond: go straight to what is within reach.
            next = lastWith(work, work[ideal]! + reach) + 1
            continue
          }
          looked++
          if (isReached[then + next] !== 0) continue
          if (measure.floor(kind, ideal, next) > cost || !isSubset(ideals, ideal, next)) continue
          looked += 8
          if (!(measure.cost(kind, ideal, next) <= cost)) continue
          isReached[then + next] = 1
          from[then + next] = ideal
          host[then + next] = at
          if (next === full) return { path: traced(state + hosts.step[at]!), looked }
        }
        if (looked > pairs || ((ideal & 63) === 0 && isLate())) return { path: 'late', looked }
      }
    }
  }
  return { path: undefined, looked }

  function traced(end: number): Step[] {
    const path: Step[] = []
    let [state, to] = [end, full]
    while (to !== 0) {
      // Where it was reached with fewer devices, what led there is known with those only.
      while (isReached[state * count + to] === 2) state = fewer(state, to)
      const at = state * count + to
      path.unshift({ host: host[at]!, from: from[at]!, to })
      state -= hosts.step[host[at]!]!
      to = from[at]!
    }
    return path
  }

  function fewer(state: number, ideal: number): number {
    for (let kind = 0; kind < hosts.limit.length; kind++) {
      const less = state - hosts.radix[kind]!
      if (
        Math.floor(state / hosts.radix[kind]!) % (hosts.limit[kind]! + 1) > 0 &&
        isReached[less * count + ideal] !== 0
      )
        return less
    }
    throw new Error('an ideal that was reached cannot be traced back')
  }
}

/** Whether this search can be asked at all. */
export function isWindowed({ count }: Ideals, { states }: Hosts): boolean {
  return states * count <= mostReached
}

/** The least limit, from any path that is known: halving what is open until it is little, then asking for any better one. */
export function leastByWindows(search: WindowSearch, floor: number, start: Step[] | undefined, effort: Effort): Least {
  let path = start
  let cost = start === undefined ? Infinity : costOfPath(search, start)
  let lowerBound = floor
  let proof = 'the work and the heaviest node'
  let left = effort.pairs
  while (cost - lowerBound > cost * 1e-9 || cost === Infinity) {
    const isWide = cost - lowerBound > cost * 2e-3
    const limit = cost === Infinity ? 1e300 : isWide ? (lowerBound + cost) / 2 : cost * (1 - 1e-9)
    const { path: better, looked } = windowPath(search, limit, left, effort.isLate)
    left -= looked
    if (better === 'late')
      return { path, cost, lowerBound, proof, remark: 'more ideals could follow each other than were looked at' }
    if (better !== undefined) {
      path = better
      cost = costOfPath(search, better)
    } else if (limit === 1e300)
      return { path, cost, lowerBound: Infinity, proof: 'searched through', remark: undefined }
    else {
      // Nothing is below what was asked for last: what is known is the least.
      lowerBound = isWide ? limit : cost
      proof = 'all ideals searched through'
    }
  }
  return { path, cost, lowerBound: cost, proof: 'searched through', remark: undefined }
}

function costOfPath({ hosts, measure, factor }: WindowSearch, path: readonly Step[]): number {
  return path.reduce(
    (most, { host, from, to }) => Math.max(most, measure.cost(hosts.class[host]!, from, to) / factor[host]!),
    0,
  )
}

function step(digits: Int32Array, limit: Int32Array): void {
  for (let digit = 0; digit < digits.length; digit++) {
    if (digits[digit]! < limit[digit]!) {
      digits[digit]!++
      return
    }
    digits[digit] = 0
  }
}

/** The last ideal with at most so much work. */
function lastWith(work: Float64Array, most: number): number {
  let [low, high] = [0, work.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (work[middle]! <= most) low = middle + 1
    else high = middle
  }
  return low - 1
}
