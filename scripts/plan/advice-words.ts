/** What a change to the fleet would bring, in a sentence. */

import type { Advice } from '#broker/planner/advice.js'
import type { Objective } from '#broker/planner/problem.js'
import { showChange, showPercent, showRate, showTime } from './figures.js'

export function adviceWords({ says, value, gain }: Advice, objective: Objective): string {
  if (value === undefined) return `${says} the model does not fit, or cannot be reached`
  if (Math.abs(gain) < 0.0005) return `${says}: no difference`
  switch (objective.kind) {
    case 'throughput':
      return `${says}: ${showChange(gain)} (${showRate(value)})`
    case 'latency':
      return `${says}: latency ${showChange(-gain)} (${showTime(value)})`
    case 'batch':
      return `${says}: time ${showChange(-gain)} (${showTime(value)})`
    case 'memory':
      return `${says}: ${showChange(-gain)} memory (${showPercent(value)} of the fullest device)`
  }
}
