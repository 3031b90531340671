/** Nodes by name, or by a pattern in which `*` stands for any text: `conv1`, `layer3/*`. */

import { nearest } from '#shared/nearest.js'

/** Whether a node's name is meant by the pattern. In linear time, whatever the pattern. */
export function matches(pattern: string, node: string): boolean {
  const [first, ...rest] = pattern.split('*')
  if (rest.length === 0) return node === pattern
  const last = rest.pop()!
  if (node.length < first!.length + last.length || !node.startsWith(first!) || !node.endsWith(last)) return false
  const end = node.length - last.length
  let at = first!.length
  for (const piece of rest) {
    const found = node.indexOf(piece, at)
    if (found === -1 || found + piece.length > end) return false
    at = found + piece.length
  }
  return true
}

/** The node that a pattern of none most likely means: near to its name, or to the last part of a path. */
export function nearestNode(pattern: string, nodes: readonly string[]): string | undefined {
  const plain = pattern.replaceAll('*', '')
  const lastOf = (name: string): string => name.slice(name.lastIndexOf('/') + 1)
  const meant = nearest(plain, nodes) ?? nearest(lastOf(plain), nodes.map(lastOf))
  return meant === undefined ? undefined : nodes.find((name) => name === meant || lastOf(name) === meant)
}
