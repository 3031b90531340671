/** Follows channels, parted at one node or several, through a graph: which nodes can go on with a share of them. */

import { beginning, obstacleIn } from './dense.js'
import { channelFlow } from './channel-flow.js'
import type { Flow } from './flow.js'
import type { GraphView } from './graph-view.js'
import { sameLayout, type Layout } from './layout.js'

/** Where channels are parted first. */
export interface Start {
  /** Dense nodes with the same number of output channels, ascending. */
  readonly roots: readonly number[]
  /** Banks of their output channels, and the channels in each. */
  readonly banks: number
  readonly channels: number
}

export interface Traced {
  readonly nodes: ReadonlyMap<number, Flow>
  /** Every tensor that is parted, by name: made by these nodes, or needed by them and made elsewhere. */
  readonly layouts: ReadonlyMap<string, Layout>
  /** What has to come from elsewhere parted, in order. */
  readonly needs: readonly { readonly name: string; readonly layout: Layout }[]
  /** Nodes that read parted channels but end the region, and why. */
  readonly ends: ReadonlyMap<number, string>
}

/**
 * The nodes that a share can go through from `start` on: convex, in order. The reason where a root cannot begin a region,
 * or depends on another one's results from outside. `within`: no others are looked at.
 */
export function trace(view: GraphView, start: Start, within?: ReadonlySet<number>): Traced | string {
  const { steps, constants } = view.prepared.flow
  const roots = new Set(start.roots)
  const nodes = new Map<number, Flow>()
  const layouts = new Map<string, Layout>()
  const needs: { name: string; layout: Layout }[] = []
  const ends = new Map<number, string>()
  const made = new Set<string>()
  const after = new Set<string>() // depends on the region, but is made outside: who reads it cannot be inside
  const lastRoot = Math.max(...roots)
  const first = Math.min(...roots)
  let alive = lastRoot
  for (let index = first; index < steps.length && index <= alive; index++) {
    const step = steps[index] as (typeof steps)[number]
    const reads = step.reads.filter((name) => made.has(name))
    const isAfter = step.reads.some((name) => after.has(name))
    const isRoot = roots.has(index)
    if (isRoot && isAfter) return 'it depends on another beginning of the region from outside'
    if (!isRoot && !isAfter && reads.length === 0) continue
    const leave = (reason?: string): void => {
      if (reason !== undefined) ends.set(index, reason)
      for (const name of step.writes) after.add(name)
    }
    if (isAfter || (within !== undefined && !within.has(index))) {
      leave()
      continue
    }
    const node = view.node(index)
    const parted = node.input.map((name) => (made.has(name) ? layouts.get(name) : undefined))
    const asked = { view, node, channels: start.channels, parted }
    const isFunction = step.calls.length > 0
    const flow = isFunction ? 'is a function of the model' : isRoot ? beginning(asked, start.banks) : channelFlow(asked)
    const reason = typeof flow === 'string' ? flow : conflict(view, flow, node.input, made, layouts)
    if (typeof flow === 'string' || reason !== undefined) {
      if (isRoot) return reason ?? ''
      leave(reason)
      continue
    }
    nodes.set(index, flow)
    for (const [place, layout] of flow.takes) {
      const name = node.input[place] as string
      if (made.has(name) || constants.has(name)) continue
      layouts.set(name, layout)
      needs.push({ name, layout })
    }
    for (const name of step.writes) {
      layouts.set(name, flow.gives)
      made.add(name)
      alive = Math.max(alive, view.readers(name).at(-1) ?? -1)
    }
  }
  return { nodes, layouts, needs, ends }
}

/** Why a node cannot have its operands as it wants them. */
function conflict(
  view: GraphView,
  flow: Flow,
  inputs: readonly string[],
  made: ReadonlySet<string>,
  layouts: ReadonlyMap<string, Layout>,
): string | undefined {
  for (const [place, name] of inputs.entries()) {
    const wanted = flow.takes.get(place)
    const got = layouts.get(name)
    if (made.has(name) && wanted === undefined) return 'reads all channels'
    const isConstant = view.constant(name) !== undefined
    if (name !== '' && !isConstant && view.shape(name) === undefined) return `the shape of '${name}' is not known`
    if (wanted !== undefined && view.dtype(name) === 'string') return 'reads strings'
    if (wanted !== undefined && isConstant) {
      const reason = obstacleIn(view, name)
      if (reason !== undefined) return reason
    }
    if (wanted !== undefined && got !== undefined && !sameLayout(wanted, got))
      return 'its operands are parted along different axes'
  }
  return undefined
}
