/** What a cost is worth by an objective. */

import type { Cost, Objective } from './problem.js'

/** Lower is better: microseconds, or the share of memory. */
export function valueOf({ periodUs, latencyUs, memoryShare }: Cost, objective: Objective): number {
  switch (objective.kind) {
    case 'throughput':
      return periodUs
    case 'latency':
      return latencyUs
    case 'batch':
      return latencyUs + (objective.requests - 1) * periodUs
    case 'memory':
      return memoryShare
  }
}

/** Whether a placement with this cost can be used at all. */
export function isLegal({ periodUs, latencyUs, memoryShare }: Cost): boolean {
  return periodUs < Infinity && latencyUs < Infinity && memoryShare <= 1
}
