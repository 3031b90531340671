/** What every way of searching offers to the planner's entry. */

import type { Ask } from './front.js'
import type { Objective, Placement } from './problem.js'

export interface Solution {
  /** `undefined`: none was found. */
  readonly placement: Placement | undefined
  /** No placement has a lower value. `Infinity`: proven that there is none. */
  readonly lowerBound: number
  /** How the bound was found. */
  readonly proof: string
  /** What was not searched, if anything. */
  readonly remark: string | undefined
}

export interface Searched {
  /** The best placement for an objective; batches are chosen from the front that `ask` yields. */
  readonly best: (objective: Objective) => Solution
  readonly ask: Ask
}
