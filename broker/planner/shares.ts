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
  // Times and no speeds: whole numbers stay whole, so that equal parts are equal.
  const timesUs = classes.map((index) => Math.max(timeOf(problem.classes[index]!, divided), 1e-9))
  const shares = classes.map(() => 1)
  // Granule by granule to the part that would be done first with one more, the earlier of two: the fastest way to share out
  // equal pieces.
  for (let left = granules - classes.length; left > 0; left--) {
    let next = -1
    for (const [part, share] of shares.entries()) {
      if (share >= most[part]!) continue
      if (next === -1 || (share + 1) * timesUs[part]! < (shares[next]! + 1) * timesUs[next]!) next = part
    }
    shares[next]!++
  }
  // What is no whole granule goes to the part that is done first without it.
  const counts = shares.map((share) => share * granule)
  const rest = channels - granules * granule
  if (rest > 0) counts[fastestOf(counts, timesUs)]! += rest
  return counts
}

function timeOf({ nodeUs }: DeviceClass, nodes: readonly number[]): number {
  return nodes.reduce((sum, node) => sum + nodeUs[node]!, 0)
}

/** The part that would be done first; the earlier one of two. */
function fastestOf(counts: readonly number[], timesUs: readonly number[]): number {
  return counts.reduce(
    (best, count, part) => (count * timesUs[part]! < counts[best]! * timesUs[best]! ? part : best),
    0,
  )
}
