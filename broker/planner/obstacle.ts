/** Why there is no placement: the sentence for people, with the remedy. */

import type { Problem } from './problem.js'
import type { Solution } from './uniform.js'

export function obstacleTo(problem: Problem, { lowerBound, remark }: Solution): string {
  const { nodes, classes } = problem
  for (const [node, { name }] of nodes.entries()) {
    if (classes.every(({ nodeUs }) => nodeUs[node] === Infinity)) {
      return `no device may run node ${name}; permit it on one, or add a device that has its operator and its trust`
    }
  }
  if (lowerBound < Infinity) return `no plan was found: ${remark}; give the planner more time or a smaller fleet`
  return 'no plan holds all nodes within memory, pins and permitted links; add memory, a device or a link'
}
