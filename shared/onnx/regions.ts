/**
 * The regions of a prepared graph: sets of nodes that a share of the channels can run through without the others. Each
 * begins at a Conv, Gemm or MatMul, which is parted by its output channels, and stays parted through whatever keeps
 * channels apart, until just before the next node that reads all of them. Its results are put together once, at the end.
 */

import { channelsOf, isDense } from './dense.js'
import { viewOf, type GraphView } from './graph-view.js'
import { sameLayout, type Layout } from './layout.js'
import type { Prepared } from './prepare.js'
import { bestOf, leastChannels, type Region, type Undivided } from './region.js'
import { trace, type Start, type Traced } from './trace.js'

export interface Regions {
  /** In the order of their first nodes. They overlap: a stage is parted by one of them. */
  readonly regions: readonly Region[]
  /** The dense nodes that are divided in no region. */
  readonly undivided: readonly Undivided[]
}

/** Numbers of banks that are tried: gates and their values, queries with keys and values, the gates of recurrent cells. */
const bankCounts = [1, 2, 3, 4] as const

/** Finds the regions of a graph. */
export function regionsOf(prepared: Prepared): Regions {
  const view = viewOf(prepared)
  const found = new Map<string, Region>()
  const reasons = new Map<number, string>()
  const dense = [...prepared.nodes.keys()].filter((index) => isDense(view, view.node(index)))
  const solos = dense.flatMap((root) => solosAt(view, root, reasons))
  const makers = makersOf(view, solos)
  for (const { start, traced } of solos) {
    const joined = join(view, start, traced, makers)
    const best = bestOf(view, joined.start, joined.traced)
    if (typeof best === 'string') {
      if (start.banks === 1) reasons.set(start.roots[0] as number, best)
      continue
    }
    for (const region of best) found.set(keyOf(region), region)
  }
  const regions = [...found.values()].sort((a, b) => (a.nodes[0] as number) - (b.nodes[0] as number))
  const divided = new Set(regions.flatMap(({ nodes }) => nodes))
  const undivided = dense
    .filter((node) => !divided.has(node))
    .map((node) => ({
      node,
      reason: reasons.get(node) ?? 'its results would have to be put together from several banks',
    }))
  return { regions, undivided }
}

interface Solo {
  readonly start: Start
  readonly traced: Traced
}

/** The beginnings at one dense node: in one bank, and in several where that goes further. */
function solosAt(view: GraphView, root: number, reasons: Map<number, string>): Solo[] {
  const node = view.node(root)
  const outputs = channelsOf(view, node)
  if (typeof outputs === 'string') {
    reasons.set(root, outputs)
    return []
  }
  const solos: Solo[] = []
  for (const banks of bankCounts) {
    const channels = outputs / banks
    if (outputs % banks !== 0 || channels < 2 * leastChannels) continue
    const start = { roots: [root], banks, channels }
    const traced = trace(view, start)
    if (typeof traced !== 'string') solos.push({ start, traced })
    else if (banks === 1) reasons.set(root, traced)
  }
  if (solos.length === 0 && !reasons.has(root)) reasons.set(root, `its ${outputs} channels are too few to share`)
  return solos
}

/**
 * Other beginnings join where what they make parted is needed parted: then queries and keys, or a layer and the shortcut
 * around it, are one region.
 */
function join(view: GraphView, start: Start, traced: Traced, makers: Makers): Solo {
  let best = { start, traced }
  const refused = new Set<number>()
  for (;;) {
    const other = partnerOf(best, makers, refused)
    if (other === undefined) return best
    const roots = [...new Set([...best.start.roots, ...other.start.roots])].sort((a, b) => a - b)
    const joined = { roots, banks: start.banks, channels: start.channels }
    const next = trace(view, joined)
    const root = other.start.roots[0] as number
    if (typeof next === 'string' || next.nodes.size <= best.traced.nodes.size) refused.add(root)
    else best = { start: joined, traced: next }
  }
}

/** Who makes a tensor parted, by its name. */
type Makers = ReadonlyMap<string, readonly Solo[]>

function makersOf({ prepared }: GraphView, solos: readonly Solo[]): Makers {
  const makers = new Map<string, Solo[]>()
  for (const solo of solos) {
    for (const name of [...solo.traced.nodes.keys()].flatMap((node) => prepared.flow.steps[node]?.writes ?? [])) {
      const list = makers.get(name)
      if (list === undefined) makers.set(name, [solo])
      else list.push(solo)
    }
  }
  return makers
}

function partnerOf({ start, traced }: Solo, makers: Makers, refused: ReadonlySet<number>): Solo | undefined {
  for (const { name, layout } of traced.needs) {
    for (const solo of makers.get(name) ?? []) {
      const [root] = solo.start.roots as [number]
      if (refused.has(root) || traced.nodes.has(root)) continue
      if (solo.start.banks !== start.banks || solo.start.channels !== start.channels) continue
      if (sameLayout(solo.traced.layouts.get(name) as Layout, layout)) return solo
    }
  }
  return undefined
}

function keyOf({ nodes, banks }: Region): string {
  return `${banks}/${nodes.join()}`
}
