/** How the channels of a region are shared out over the devices that part it. */

import type { DeviceClass, Problem } from './problem.js'

/**
 * Channels for each part, in the order of `classes`: in proportion to speed, in whole granules, at least one each; where a
 * device's memory allows less, what it cannot take goes to the others in proportion. `room[i]` is the largest fraction of
 * the region that part `i` has memory for. `undefined` where there are too few granules, or too little memory in all.
 */
export function sharesOf(
  problem: Problem,
  region: number,
  classes: readonly number[],
  room: readonly number[],
): number[] | undefined {
  const { channels, granule, divided } = problem.regions[region]!
  const granules = Math.floor(channels / granule)
  const most = room.map((fraction) => Math.min(granules, Math.floor((fraction * channels) / granule + 1e-9)))
  if (granules < classes.length || most.some((limit) => limit < 1)) return undefined
  if (most.reduce((sum, limit) => sum + limit, 0) < granules) return undefined
  const speeds = classes.map((index) => 1 / Math.max(timeOf(problem.classes[index]!, divided), 1e-9))
  const shares = classes.map(() => 1)
  // Granule by granule to the part that would be done first with one more: the fastest way to share out equal pieces.
  for (let left = granules - classes.length; left > 0; left--) {
    let next = -1
    for (const [part, share] of shares.entries()) {
      if (share >= most[part]!) continue
      if (next === -1 || (share + 1) / speeds[part]! < (shares[next]! + 1) / speeds[next]!) next = part
    }
    shares[next]!++
  }
  // What is no whole granule stays with the part that has the most room left in time.
  const counts = shares.map((share) => share * granule)
  const rest = channels - granules * granule
  if (rest > 0) counts[fastestOf(counts, speeds)]! += rest
  return counts
}

function timeOf({ nodeUs }: DeviceClass, nodes: readonly number[]): number {
  return nodes.reduce((sum, node) => sum + nodeUs[node]!, 0)
}

/** The part that would be done first; the earlier one of two. */
function fastestOf(counts: readonly number[], speeds: readonly number[]): number {
  return counts.reduce((best, count, part) => (count / speeds[part]! < counts[best]! / speeds[best]! ? part : best), 0)
}
