/** Whether a placement is one of the space, said again without the planner's code. */

import type { Placement, Problem } from '#broker/planner/problem.js'

/** What keeps a placement out of the space, in words; `undefined` where it is in it. */
export function mistakeIn(problem: Problem, { stages }: Placement): string | undefined {
  const { nodes, values, classes, regions, maxReplicas, maxParts } = problem
  const used = classes.map(() => 0)
  const placed = new Set<number>()
  for (const [place, { nodes: held, holding }] of stages.entries()) {
    if (held.length === 0) return `stage ${place} is empty`
    if (held.some((node, at) => at > 0 && node <= held[at - 1]!)) return `the nodes of stage ${place} do not ascend`
    for (const node of held) {
      if (nodes[node] === undefined || placed.has(node)) return `node ${node} is unknown or placed twice`
    }
    for (const node of held) placed.add(node)
    const late = values.find(
      ({ from, to }) => from !== undefined && !placed.has(from) && to.some((node) => held.includes(node)),
    )
    if (late !== undefined) return `stage ${place} reads ${late.name}, which is made later`
    if (holding.kind === 'parts') {
      const parts = holding.classes.length
      if (parts < 2 || parts > maxParts) return `stage ${place} has ${parts} parts`
      if (regions[holding.region]?.nodes.join() !== held.join()) return `stage ${place} is not its region`
      if (holding.classes.some((index, at) => at > 0 && index < holding.classes[at - 1]!))
        return `the classes of stage ${place} do not ascend`
      for (const index of holding.classes) used[index]!++
    } else {
      const count = holding.kind === 'one' ? 1 : holding.count
      if (holding.kind === 'replicas' && (count < 2 || count > maxReplicas))
        return `stage ${place} has ${count} replicas`
      used[holding.class]! += count
    }
  }
  const overused = used.findIndex((count, index) => !(count <= classes[index]!.count))
  if (overused !== -1) return `${used[overused]} devices of class ${overused} are used`
  return placed.size === nodes.length ? undefined : `${nodes.length - placed.size} nodes are nowhere`
}
