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
 * Throws `Refusal('cannot-cut')` when there are fewer legal cuts than needed, or for no number of stages.
 */
export function partition(costs: ChainCosts, stages: number): number[] {
  const { nodeUs, cuts } = costs
  if (!Number.isInteger(stages) || stages < 1) {
    throw new Refusal('cannot-cut', `a model is cut into 1 or more segments, not into ${stages}`)
  }
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

  const last = places.length - 1
  const fastest = bestPath(last, stages, (sofarUs, from, to) => Math.max(sofarUs, stepUs(from, to)))
  // Among all with this bottleneck, and not among those that were fastest at every place on the way.
  const path = bestPath(last, stages, (sofarBytes, from, to) =>
    stepUs(from, to) <= fastest.value ? sofarBytes + places[to]!.bytes : Infinity,
  )
  return path.through.map((place) => places[place]!.at)
}

/**
 * The way from place 0 to place `last` in so many steps, each to a later place, with the smallest value; `step` adds the
 * step from one place to another to a value, and must not make a smaller value the larger one.
 */
function bestPath(
  last: number,
  steps: number,
  step: (value: number, from: number, to: number) => number,
): { value: number; through: number[] } {
  let values = Array.from({ length: last + 1 }, (_, place) => (place === 0 ? 0 : Infinity))
  const cameFrom: number[][] = []
  for (let k = 1; k <= steps; k++) {
    const from = values.map(() => -1)
    const next = values.map((_, to) => {
      let best = Infinity
      for (let place = 0; place < to; place++) {
        if (values[place] === Infinity) continue
        const value = step(values[place]!, place, to)
        if (value >= best) continue
        best = value
        from[to] = place
      }
      return best
    })
    cameFrom.push(from)
    values = next
  }
  const through: number[] = []
  for (let k = steps, place = last; k > 1; k--) {
    place = cameFrom[k - 1]![place]!
    through.unshift(place)
  }
  return { value: values[last]!, through }
}
