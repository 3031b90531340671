/**
 * In shape 'chain' with parts: the least time from each ideal to the client, if devices could be used again and again, and if
 * a region in parts took no longer than the fastest devices need at least. A bound on latency; without parts it is that of
 * `timesLeft`.
 */

import type { Ideals } from './ideals.js'
import type { PartedCapacity } from './parted-capacity.js'
import type { Problem } from './problem.js'
import type { LinkCosts } from './search-space.js'
import type { Segments } from './segments.js'

export interface TimeLeft {
  /** Row by class of the last device, column by ideal. */
  readonly after: Float64Array
  /** By ideal, after a stage in parts. */
  readonly afterParts: Float64Array
  readonly fromClient: number
}

export function timeLeftWithParts(
  { regions }: Problem,
  ideals: Ideals,
  segments: Segments,
  links: LinkCosts,
  delays: Float64Array,
  parted: PartedCapacity,
): TimeLeft {
  const { count } = ideals
  const kinds = links.classes
  const side = kinds + 1
  const full = count - 1
  const starts = regionStarts(regions, ideals)
  const regionUs = regions.map((_, region) => parted.leastUs(region))
  /** The link alone: nothing is known of the bytes that one part gets or sends. */
  const bare = (from: number, to: number): number => links.fixed[from * side + to]! + delays[from * side + to]!
  const carried = (from: number, to: number, ideal: number): number => {
    return bare(from, to) + links.byByte[from * side + to]! * links.borderBytes[ideal]!
  }
  const leastFrom = (from: number): number => least(kinds, (to) => bare(from, to))
  const leastTo = (to: number): number => least(kinds, (from) => bare(from, to))
  const between = least(kinds, leastFrom)
  const after = new Float64Array(kinds * count).fill(Infinity)
  const afterParts = new Float64Array(count).fill(Infinity)
  for (let kind = 0; kind < kinds; kind++) after[kind * count + full] = carried(kind, kinds, full)
  afterParts[full] = leastTo(kinds)
  let fromClient = Infinity
  const through = new Float64Array(kinds)
  for (let from = full - 1; from >= 0; from--) {
    for (let kind = 0; kind < kinds; kind++) {
      through[kind] = Infinity
      const row = kind * count + from
      for (let at = segments.start[row]!; at < segments.start[row + 1]!; at++) {
        through[kind] = Math.min(through[kind]!, segments.cost[at]! + after[kind * count + segments.to[at]!]!)
      }
    }
    let inParts = Infinity
    for (const { region, to } of starts[from]!) inParts = Math.min(inParts, regionUs[region]! + afterParts[to]!)
    for (let last = 0; last < kinds; last++) {
      const alone = least(kinds, (kind) => carried(last, kind, from) + through[kind]!)
      after[last * count + from] = Math.min(alone, leastFrom(last) + inParts)
    }
    afterParts[from] = Math.min(
      least(kinds, (kind) => leastTo(kind) + through[kind]!),
      between + inParts,
    )
    if (from === 0) {
      const alone = least(kinds, (kind) => carried(kinds, kind, 0) + through[kind]!)
      fromClient = Math.min(alone, leastFrom(kinds) + inParts)
    }
  }
  return { after, afterParts, fromClient }
}

/** By ideal: the regions that can follow it, and the ideals with them. */
function regionStarts(regions: Problem['regions'], { bits, words, count }: Ideals) {
  const name = (from: number): string => bits.subarray(from * words, (from + 1) * words).join()
  const places = new Map(Array.from({ length: count }, (_, ideal) => [name(ideal), ideal] as const))
  const masks = regions.map(({ nodes }) => {
    const mask = new Uint32Array(words)
    for (const node of nodes) mask[node >>> 5]! |= 1 << (node & 31)
    return mask
  })
  return Array.from({ length: count }, (_, ideal) => {
    return masks.flatMap((mask, region) => {
      if (mask.some((word, at) => (word & bits[ideal * words + at]!) !== 0)) return []
      const to = places.get(mask.map((word, at) => word | bits[ideal * words + at]!).join())
      return to === undefined ? [] : [{ region, to }]
    })
  })
}

function least(count: number, cost: (index: number) => number): number {
  let best = Infinity
  for (let index = 0; index < count; index++) best = Math.min(best, cost(index))
  return best
}
