/** One stage on its own: what can be said of it before its neighbours are known. */

import { roomFor } from './cost.js'
import { nodesBetween, type Ideals } from './ideals.js'
import type { Holding, Problem, Region } from './problem.js'
import { sharesOf } from './shares.js'

/** A stage that may be put on, with what is fixed about it whatever its neighbours. */
export interface Piece {
  readonly from: number
  readonly to: number
  readonly holding: Holding
  /** By member. */
  readonly classes: readonly number[]
  readonly shares: readonly number[]
  readonly computeUs: readonly number[]
  readonly fixedBytes: readonly number[]
  readonly turns: number
  readonly region: Region | undefined
}

/** The stage of what ideal `to` has more than `from`, held that way; `undefined` where a device may not run them or the region cannot be shared. */
export function pieceOf(
  problem: Problem,
  ideals: Ideals,
  from: number,
  to: number,
  holding: Holding,
): Piece | undefined {
  const { classes, nodes } = problem
  const held = nodesBetween(ideals, from, to)
  const region = holding.kind === 'parts' ? problem.regions[holding.region]! : undefined
  const members = holding.kind === 'parts' ? holding.classes : [holding.class]
  let shares: number[] = members.map(() => 1)
  if (holding.kind === 'parts') {
    const rooms = members.map((kind) => roomFor(problem, region!, classes[kind]!))
    const counts = sharesOf(problem, holding.region, members, rooms)
    if (counts === undefined) return undefined
    shares = counts.map((count) => count / region!.channels)
  }
  const computeUs: number[] = []
  const fixedBytes: number[] = []
  for (const [member, kind] of members.entries()) {
    const { stageUs, nodeUs, sessionBytes, memoryBytes } = classes[kind]!
    let us = stageUs
    let weights = 0
    let scratch = 0
    for (const node of held) {
      const share = region?.divided.includes(node) === true ? shares[member]! : 1
      us += nodeUs[node]! * share
      weights += nodes[node]!.weightBytes * share
      scratch = Math.max(scratch, nodes[node]!.scratchBytes)
    }
    const fixed = sessionBytes + weights + scratch
    if (us === Infinity || fixed > memoryBytes) return undefined
    computeUs.push(us)
    fixedBytes.push(fixed)
  }
  const turns = holding.kind === 'replicas' ? holding.count : 1
  return { from, to, holding, classes: members, shares, computeUs, fixedBytes, turns, region }
}
