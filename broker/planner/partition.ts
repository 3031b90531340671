/**
 * Parts a chain of nodes into stages of equal devices so that the slowest step is as fast as it can be. A step is a
 * stage's nodes plus what it costs to receive and send its boundaries. Pure: costs in, cuts out.
 */

import { Refusal } from '#shared/errors.js'

export interface ChainCosts {
  /** Time of each node, in microseconds, in canonical order. */
  readonly nodeUs: readonly number[]
  /** Places where the chain may be cut, ascending, with the bytes that cross. */
  readonly cuts: readonly { readonly at: number; readonly bytes: number }[]
  /** Bytes of the model's inputs and outputs, which the first stage receives and the last one sends. */
  readonly inputBytes: number
  readonly outputBytes: number
}

/** One end of a sealed hop: a fixed part and a part by the byte (DESIGN 5: 50 us + 1.8 ns/B for both ends). */
export const hopEndUs = 25
export const hopEndUsPerByte = 0.0009

/**
 * The `stages - 1` cuts with the smallest bottleneck; of those the one with the fewest bytes crossing. Exact, by dynamic
 * programming over the cuts: O(stages x cuts^2).
 * Throws `Refusal('cannot-cut')` when there are fewer legal cuts than needed.
 */
export function partition(costs: ChainCosts, stages: number): number[] {
  const { nodeUs, cuts } = costs
  if (cuts.length < stages - 1) {
    throw new Refusal(
      'cannot-cut',
      `the model has ${cuts.length} legal cut${cuts.length === 1 ? '' : 's'}, so it cannot be cut into ${stages} segments: ask for at most ${cuts.length + 1}`,
    )
  }
  const places = [{ at: 0, bytes: costs.inputBytes }, ...cuts, { at: nodeUs.length, bytes: costs.outputBytes }]
  const before = [0]
  for (const us of nodeUs) before.push(before.at(-1)! + us)
  const stepUs = (from: number, to: number): number =>
    before[places[to]!.at]! -
    before[places[from]!.at]! +
    2 * hopEndUs +
    hopEndUsPerByte * (places[from]!.bytes + places[to]!.bytes)

  interface Best {
    readonly worstUs: number
    readonly bytes: number
    readonly from: number
  }
  // best[k][j]: the best way to have k stages end at place j.
  let best: (Best | undefined)[] = places.map((_, j) => (j === 0 ? { worstUs: 0, bytes: 0, from: -1 } : undefined))
  const history: (Best | undefined)[][] = []
  for (let k = 1; k <= stages; k++) {
    const next = places.map((place, j): Best | undefined => {
      if (k < stages && j === places.length - 1) return undefined
      let found: Best | undefined
      for (let i = 0; i < j; i++) {
        const earlier = best[i]
        if (earlier === undefined) continue
        const worstUs = Math.max(earlier.worstUs, stepUs(i, j))
        const bytes = earlier.bytes + place.bytes
        if (found === undefined || worstUs < found.worstUs || (worstUs === found.worstUs && bytes < found.bytes)) {
          found = { worstUs, bytes, from: i }
        }
      }
      return found
    })
    history.push(next)
    best = next
  }
  const chosen: number[] = []
  for (let k = stages, j = places.length - 1; k > 1; k--) {
    j = history[k - 1]![j]!.from
    chosen.unshift(places[j]!.at)
  }
  return chosen
}
