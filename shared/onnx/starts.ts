/** Where regions can begin: at a dense node, or at several whose results meet, in one bank or in several. */

import { channelsOf } from './dense.js'
import { leastChannels } from './flow.js'
import type { GraphView } from './graph-view.js'
import { sameLayout, type Layout } from './layout.js'
import { trace, type Start, type Traced } from './trace.js'

/** Numbers of banks that are tried: gates and their values, queries with keys and values, the gates of recurrent cells. */
const bankCounts = [1, 2, 3, 4] as const

/** A beginning, and all that a share can go through from there. */
export interface Beginning {
  readonly start: Start
  readonly traced: Traced
}

/** Every way to begin at these dense nodes; why there is none goes to `reasons`, by node. */
export function beginningsOf(view: GraphView, dense: readonly number[], reasons: Map<number, string>): Beginning[] {
  const alone = dense.flatMap((root) => aloneAt(view, root, reasons))
  const makers = makersOf(view, alone)
  return alone.map((beginning) => join(view, beginning, makers))
}

/** The beginnings at one dense node: in one bank, and in several where that goes further. */
function aloneAt(view: GraphView, root: number, reasons: Map<number, string>): Beginning[] {
  const node = view.node(root)
  const outputs = channelsOf(view, node)
  if (typeof outputs === 'string') {
    reasons.set(root, outputs)
    return []
  }
  const beginnings: Beginning[] = []
  for (const banks of bankCounts) {
    const channels = outputs / banks
    if (outputs % banks !== 0 || channels < 2 * leastChannels) continue
    const start = { roots: [root], banks, channels }
    const traced = trace(view, start)
    if (typeof traced !== 'string') beginnings.push({ start, traced })
    else if (banks === 1) reasons.set(root, traced)
  }
  if (beginnings.length === 0 && !reasons.has(root)) reasons.set(root, `its ${outputs} channels are too few to share`)
  return beginnings
}

/**
 * Other beginnings join where what they make parted is needed parted: then queries and keys, or a layer and the shortcut
 * around it, are one region.
 */
function join(view: GraphView, alone: Beginning, makers: Makers): Beginning {
  const { banks, channels } = alone.start
  let best = alone
  const refused = new Set<number>()
  for (;;) {
    const other = partnerOf(best, makers, refused)
    if (other === undefined) return best
    const roots = [...new Set([...best.start.roots, ...other.start.roots])].sort((a, b) => a - b)
    const joined = { roots, banks, channels }
    const next = trace(view, joined)
    const root = other.start.roots[0] as number
    if (typeof next === 'string' || next.nodes.size <= best.traced.nodes.size) refused.add(root)
    else best = { start: joined, traced: next }
  }
}

/** Who makes a tensor parted, by its name. */
type Makers = ReadonlyMap<string, readonly Beginning[]>

function makersOf({ prepared }: GraphView, alone: readonly Beginning[]): Makers {
  const makers = new Map<string, Beginning[]>()
  for (const beginning of alone) {
    for (const name of [...beginning.traced.nodes.keys()].flatMap((node) => prepared.flow.steps[node]?.writes ?? [])) {
      const list = makers.get(name)
      if (list === undefined) makers.set(name, [beginning])
      else list.push(beginning)
    }
  }
  return makers
}

function partnerOf({ start, traced }: Beginning, makers: Makers, refused: ReadonlySet<number>): Beginning | undefined {
  for (const { name, layout } of traced.needs) {
    for (const other of makers.get(name) ?? []) {
      const [root] = other.start.roots as [number]
      if (refused.has(root) || traced.nodes.has(root)) continue
      if (other.start.banks !== start.banks || other.start.channels !== start.channels) continue
      if (sameLayout(other.traced.layouts.get(name) as Layout, layout)) return other
    }
  }
  return undefined
}
