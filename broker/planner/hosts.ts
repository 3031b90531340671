/**
 * Who may hold a stage alone or by turns: a host is one device of a class, or several that take requests in turn. Which
 * devices are taken is a number in mixed radix, one digit for every class: alike devices are counted, not named.
 */

import type { Problem } from './problem.js'

export interface Hosts {
  readonly count: number
  /** By host. */
  readonly class: Int32Array
  readonly turns: Int32Array
  /** What the host adds to the number of devices taken. */
  readonly step: Float64Array
  /** By class: what one device adds, and how many there are. */
  readonly radix: Float64Array
  readonly limit: Int32Array
  /** Numbers of devices taken that there are, 0 included. */
  readonly states: number
}

export function hostsOf({ classes, maxReplicas, nodes }: Problem): Hosts {
  const kinds: number[] = []
  const turns: number[] = []
  const steps: number[] = []
  const radix = new Float64Array(classes.length)
  // More than a stage for every node, with all its replicas, cannot be used.
  const limit = Int32Array.from(classes, ({ count }) => Math.min(count, nodes.length * maxReplicas))
  let states = 1
  for (let index = 0; index < classes.length; index++) {
    radix[index] = states
    for (let count = 1; count <= Math.min(maxReplicas, limit[index]!); count++) {
      kinds.push(index)
      turns.push(count)
      steps.push(count * states)
    }
    states *= limit[index]! + 1
  }
  return {
    count: kinds.length,
    class: Int32Array.from(kinds),
    turns: Int32Array.from(turns),
    step: Float64Array.from(steps),
    radix,
    limit,
    states,
  }
}

/** Devices of a class that are taken in state `taken`. */
export function takenOf({ radix, limit }: Hosts, taken: number, kind: number): number {
  return Math.floor(taken / radix[kind]!) % (limit[kind]! + 1)
}
