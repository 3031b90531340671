/** What a device can contribute to stages in parts within a time, at most: the part of `capacity.ts` for regions. */

import { roomFor } from './cost.js'
import type { Problem } from './problem.js'

/** A device's part of a region takes at least `fixedUs + share x sharedUs`, and it has room for no more than `room`. */
interface PartCost {
  readonly work: number
  readonly fixedUs: number
  readonly sharedUs: number
  readonly room: number
}

export class PartedCapacity {
  /** By class and region. */
  readonly #costs: readonly (readonly PartCost[])[]
  readonly #counts: readonly number[]
  readonly #maxParts: number

  constructor(problem: Problem, work: Float64Array) {
    this.#costs = problem.classes.map((_, kind) =>
      problem.regions.map((_, region) => partCost(problem, work, kind, region)),
    )
    this.#counts = problem.classes.map(({ count }) => count)
    this.#maxParts = problem.maxParts
  }

  /** By class: the most work that a device can do as a part within a limit. */
  within(limitUs: number): Float64Array {
    return Float64Array.from(this.#costs, (regions) => {
      return regions.reduce((most, cost) => Math.max(most, cost.work * shareWithin(cost, limitUs)), 0)
    })
  }

  /** No division of the region over devices is through with it sooner: a time at which shares could sum up to all. */
  leastUs(region: number): number {
    let [low, high] = [0, 1]
    while (this.#sharesWithin(region, high) < 1 && high < 1e12) high *= 2
    if (high >= 1e12) return Infinity
    for (let round = 0; round < 40; round++) {
      const middle = (low + high) / 2
      if (this.#sharesWithin(region, middle) < 1) low = middle
      else high = middle
    }
    return low
  }

  #sharesWithin(region: number, limitUs: number): number {
    const shares = this.#costs.flatMap((regions, kind) => {
      const share = shareWithin(regions[region]!, limitUs)
      return Array.from({ length: Math.min(this.#counts[kind]!, this.#maxParts) }, () => share)
    })
    shares.sort((a, b) => b - a)
    return shares.slice(0, this.#maxParts).reduce((sum, share) => sum + share, 0)
  }
}

function shareWithin({ fixedUs, sharedUs, room }: PartCost, limitUs: number): number {
  // A little more than can be, for rounding.
  const left = limitUs * (1 + 1e-9) - fixedUs
  if (left < 0) return 0
  return Math.min(1, room, sharedUs === 0 ? 1 : left / sharedUs)
}

function partCost(problem: Problem, work: Float64Array, kind: number, index: number): PartCost {
  const { nodeUs, stageUs, open, seal } = problem.classes[kind]!
  const region = problem.regions[index]!
  const [nodes, divided] = [new Set(region.nodes), new Set(region.divided)]
  let fixedUs = stageUs
  let sharedUs = 0
  for (const node of region.nodes) {
    if (divided.has(node)) sharedUs += nodeUs[node]!
    else fixedUs += nodeUs[node]!
  }
  let comes = false
  let goes = false
  for (const [value, { from, to, bytes, isOutput }] of problem.values.entries()) {
    const isMade = from !== undefined && nodes.has(from)
    if (!isMade && to.some((node) => nodes.has(node))) {
      comes = true
      if (region.dividedInputs.includes(value)) sharedUs += open.byteUs * bytes
      else fixedUs += open.byteUs * bytes
    }
    if (isMade && divided.has(from) && (isOutput || to.some((node) => !nodes.has(node)))) {
      goes = true
      sharedUs += seal.byteUs * bytes
    }
  }
  if (comes) fixedUs += open.messageUs
  if (goes) fixedUs += seal.messageUs
  return {
    work: region.nodes.reduce((sum, node) => sum + work[node]!, 0),
    fixedUs,
    sharedUs,
    // Channels that are no whole granule come on top.
    room: Math.max(0, roomFor(problem, region, problem.classes[kind]!) + region.granule / region.channels),
  }
}
