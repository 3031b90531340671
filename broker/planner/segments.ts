/** All that one device could hold at a cost of no more than a limit: a row for each device class and first ideal. */

import { isSubset, type Ideals } from './ideals.js'

/** What is measured and kept within a limit: time per request, or the share of a device's memory. */
export interface Measure {
  readonly classes: number
  /** Cost of what ideal `to` has more than `from` on one device of class `kind`; `Infinity` if it may not be there. */
  readonly cost: (kind: number, from: number, to: number) => number
  /** Never more than the cost, and never less for more nodes. */
  readonly floor: (kind: number, from: number, to: number) => number
  /** Most work, in the ideals' measure, that a cost of 1 can hold. */
  readonly rate: Float64Array
}

export interface Segments {
  /** Row `kind * ideals + from` is `[start[row], start[row + 1])` of `to` and `cost`; `to` ascends. */
  readonly start: Int32Array
  readonly to: Int32Array
  readonly cost: Float64Array
}

/**
 * Those that cost no more than `limits[kind]`; `undefined` where there are more than `most`. With `isCut`, only those between
 * ideals where it is 1.
 */
export function segmentsOf(
  ideals: Ideals,
  measure: Measure,
  limits: Float64Array,
  most: number,
  isCut?: Uint8Array,
): Segments | undefined {
  const { count, work, isChain } = ideals
  let room = 1 << 16
  let to = new Int32Array(room)
  let cost = new Float64Array(room)
  const start = new Int32Array(measure.classes * count + 1)
  let size = 0
  for (let kind = 0; kind < measure.classes; kind++) {
    const limit = limits[kind]!
    // One unit more than can be, for rounding.
    const reach = measure.rate[kind] === 0 ? Infinity : limit * measure.rate[kind]! + 1
    for (let from = 0; from < count; from++) {
      start[kind * count + from + 1] = size
      if (isCut?.[from] === 0) continue
      for (let next = from + 1; next < count; next++) {
        if (work[next]! - work[from]! > reach) break
        if (isCut?.[next] === 0) continue
        if (!isChain && !isSubset(ideals, from, next)) continue
        if (measure.floor(kind, from, next) > limit) {
          if (isChain) break
          continue
        }
        const costs = measure.cost(kind, from, next)
        if (!(costs <= limit) || costs === Infinity) continue
        if (size === most) return undefined
        if (size === room) {
          room *= 2
          to = grown(to, new Int32Array(room))
          cost = grown(cost, new Float64Array(room))
        }
        to[size] = next
        cost[size++] = costs
      }
      start[kind * count + from + 1] = size
    }
  }
  return { start, to: to.subarray(0, size), cost: cost.subarray(0, size) }
}

function grown<A extends Int32Array | Float64Array>(old: A, larger: A): A {
  larger.set(old)
  return larger
}
