/** Nodes that cannot be parted from each other, because what goes between them is of a type that cannot be sent. */

import type { ModelWork } from './model-work.js'

/**
 * The model's nodes in groups that stay together, in a topological order of the groups: the strongly connected components
 * of the graph in which a tensor that cannot be sent ties its reader to its maker as well. So a group is convex.
 */
export function fusedGroups({ nodes, values }: ModelWork): number[][] {
  const next: number[][] = nodes.map(() => [])
  let isTied = false
  for (const { from, to, dtype } of values) {
    if (from === undefined) continue
    for (const reader of to) {
      next[from]!.push(reader)
      if (dtype === undefined) next[reader]!.push(from)
    }
    isTied ||= dtype === undefined && to.length > 0
  }
  if (!isTied) return nodes.map((_, index) => [index])
  return componentsOf(next).map((group) => group.sort((a, b) => a - b))
}

/** Strongly connected components in topological order (Tarjan 1972), without recursion: graphs may be long. */
function componentsOf(next: readonly (readonly number[])[]): number[][] {
  const found: number[][] = []
  const order = next.map(() => -1)
  const low = next.map(() => 0)
  const isOpen = next.map(() => false)
  const open: number[] = []
  let visited = 0
  for (const root of next.keys()) {
    if (order[root] !== -1) continue
    const path: { node: number; edge: number }[] = [{ node: root, edge: 0 }]
    while (path.length > 0) {
      const step = path.at(-1)!
      const { node } = step
      if (step.edge === 0) {
        order[node] = visited
        low[node] = visited++
        open.push(node)
        isOpen[node] = true
      }
      const to = next[node]![step.edge]
      if (to !== undefined) {
        step.edge++
        if (order[to] === -1) path.push({ node: to, edge: 0 })
        else if (isOpen[to]) low[node] = Math.min(low[node]!, order[to]!)
        continue
      }
      path.pop()
      const parent = path.at(-1)?.node
      if (parent !== undefined) low[parent] = Math.min(low[parent]!, low[node]!)
      if (low[node] !== order[node]) continue
      const group = open.splice(open.indexOf(node))
      for (const member of group) isOpen[member] = false
      found.push(group)
    }
  }
  return found.reverse()
}
