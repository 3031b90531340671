/** The hops of a request that comes by several ways. */

import type { Activation, Hop } from '../protocol/tensors.js'

/** What the stages before spent: each of them once, in their order, though ways that part after a stage bring it twice. */
export function hopsOf(activations: readonly Activation[]): readonly Hop[] {
  if (activations.length === 1) return activations[0]!.hops
  const byStage = new Map(activations.flatMap(({ hops }) => hops).map((hop) => [hop.stage, hop]))
  return [...byStage.values()].sort((a, b) => a.stage - b.stage)
}
