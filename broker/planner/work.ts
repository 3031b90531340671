/** One number of work for every node: what ideals are sorted by and capacity is counted in. Any such measure gives a bound. */

import type { Problem } from './problem.js'

/** All the work there is, in units: whole numbers, so that sums are exact whatever the order. */
export const unitsOfWork = 2 ** 40

/** By node: its time on the fleet's average device; nothing where some device takes no time for it. */
export function timeWork({ nodes, classes }: Problem): Float64Array {
  const us = Float64Array.from(nodes, (_, node) => {
    let devices = 0
    let speed = 0
    for (const { count, nodeUs } of classes) {
      if (nodeUs[node] === Infinity) continue
      devices += count
      speed += count / nodeUs[node]!
    }
    return speed === 0 ? 0 : devices / speed
  })
  return inUnits(us)
}

/** By node: its weights. */
export function weightWork({ nodes }: Problem): Float64Array {
  return inUnits(Float64Array.from(nodes, ({ weightBytes }) => weightBytes))
}

/** By class: the most work that a microsecond (or, for weights, a byte) of compute can be. */
export function ratesOf(work: Float64Array, costs: readonly (readonly number[])[]): Float64Array {
  return Float64Array.from(costs, (row) => {
    let rate = 0
    row.forEach((cost, node) => {
      if (work[node]! > 0) rate = Math.max(rate, work[node]! / cost)
    })
    return rate
  })
}

function inUnits(amounts: Float64Array): Float64Array {
  const sum = amounts.reduce((total, amount) => total + amount, 0)
  return sum === 0 ? amounts : amounts.map((amount) => Math.floor((amount / sum) * unitsOfWork))
}
