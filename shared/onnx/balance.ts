/** The plainest plan: a chain of equal devices, cut so that the slowest segment is as fast as it can be. */

import { Refusal } from '../errors.js'
import type { Cut } from './cuts.js'

/**
 * Positions of `parts - 1` cuts that make the costliest segment cheapest, and among those send the fewest bytes.
 * `costs`: one per node, in any unit. Throws `Refusal('cannot-cut')` where there are too few legal cuts.
 */
export function balancedCuts(cuts: readonly Cut[], costs: readonly number[], parts: number): number[] {
  if (!Number.isInteger(parts) || parts < 1 || parts - 1 > cuts.length) {
    throw new Refusal('cannot-cut', `the model can be cut into 1 to ${cuts.length + 1} segments, not into ${parts}`)
  }
  const upTo = [0]
  for (const cost of costs) upTo.push((upTo.at(-1) as number) + cost)
  const places = [...cuts, { at: costs.length, bytes: 0 }]
  const costBetween = (from: number, to: number): number => (upTo[to] as number) - (upTo[from] as number)
  // best[i]: how to reach place i with the segments so far.
  let best: (Path | undefined)[] = places.map(({ at, bytes }) => ({ worst: costBetween(0, at), bytes, at: [at] }))
  for (let part = 2; part <= parts; part++) {
    best = places.map(({ at, bytes }, index) => {
      let chosen: Path | undefined
      for (const path of best.slice(0, index)) {
        if (path === undefined) continue
        const worst = Math.max(path.worst, costBetween(path.at.at(-1) as number, at))
        const longer = { worst, bytes: path.bytes + bytes, at: [...path.at, at] }
        if (chosen === undefined || isBetter(longer, chosen)) chosen = longer
      }
      return chosen
    })
  }
  return (best.at(-1) as Path).at.slice(0, -1)
}

interface Path {
  readonly worst: number
  readonly bytes: number
  readonly at: readonly number[]
}

function isBetter(a: Path, b: Path): boolean {
  return a.worst < b.worst || (a.worst === b.worst && a.bytes < b.bytes)
}
