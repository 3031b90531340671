/**
 * The regions of a prepared graph: sets of nodes that a share of the channels can run through without the others. Each
 * begins at a Conv, Gemm or MatMul, which is parted by its output channels, and stays parted through whatever keeps
 * channels apart, until just before the next node that reads all of them. Its results are put together once, at the end.
 */

import { isDense } from './dense.js'
import { lcm, leastChannels } from './flow.js'
import { viewOf, type GraphView } from './graph-view.js'
import type { Layout } from './layout.js'
import type { Prepared } from './prepare.js'
import { beginningsOf } from './starts.js'
import { showNode } from './subgraph.js'
import { byteLength, type Port } from './tensor.js'
import type { Start, Traced } from './trace.js'

/** A tensor that crosses the border of a region. */
export interface RegionPort {
  /** Of the whole tensor. */
  readonly port: Port
  /** The axis on which the slices of the parts lie, one behind the other; absent where every part needs all of it. */
  readonly axis?: number
}

/** A set of nodes that can be parted by channels. Plain data: `partOf` makes the parts. */
export interface Region {
  /** Ascending; convex. Each of them is divided: a part does its share of every node. */
  readonly nodes: readonly number[]
  /** The dense nodes among them at which it begins; several where their results meet (queries and keys; a shortcut). */
  readonly roots: readonly number[]
  /** Banks of the roots' output channels, one behind the other, that are parted alike: 3 for queries, keys and values. */
  readonly banks: number
  /** Channels to share out: those of one bank. */
  readonly channels: number
  /** Shares are multiples of it: 2, a group, a head's width, a block of the layout; `channels` need not be one. */
  readonly granule: number
  /** What the region reads. Those with an axis can come parted. */
  readonly receives: readonly RegionPort[]
  /** What others, or the graph's outputs, need of it: each has an axis. */
  readonly sends: readonly RegionPort[]
  /** Nodes that read its results and could not go on with a share of them, and why. */
  readonly ends: readonly Undivided[]
  /** Of the whole region; a part has its share, and the few bytes that are not divisible. */
  readonly weightBytes: number
  /** Gathered, the parts give the bits of the whole: measured for this engine on x64, like the reasons why not. */
  readonly exact: boolean
  /** Why not, where they may not. */
  readonly inexact?: string
}

/** Why a node cannot do a share of the channels. */
export interface Undivided {
  readonly node: number
  readonly reason: string
}

export interface Regions {
  /** In the order of their first nodes. They overlap: a stage is parted by one of them. */
  readonly regions: readonly Region[]
  /** The dense nodes that are divided in no region. */
  readonly undivided: readonly Undivided[]
}

/** Finds the regions of a graph. */
export function regionsOf(prepared: Prepared): Regions {
  const view = viewOf(prepared)
  const found = new Map<string, Region>()
  const reasons = new Map<number, string>()
  const dense = [...prepared.nodes.keys()].filter((index) => isDense(view, view.node(index)))
  for (const { start, traced } of beginningsOf(view, dense, reasons)) {
    const best = bestOf(view, start, traced)
    if (typeof best !== 'string') for (const region of best) found.set(keyOf(region), region)
    else if (start.banks === 1) for (const root of start.roots) reasons.set(root, best)
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

/**
 * How far to stay parted: to where the fewest bytes have to be put together, the longest way among equals. Two answers
 * where the best is not exact and a shorter one is.
 */
function bestOf(view: GraphView, start: Start, traced: Traced): Region[] | string {
  const nodes = [...traced.nodes.keys()].sort((a, b) => a - b)
  let best: Candidate | undefined
  let exact: Candidate | undefined
  let reason = 'its results cannot be put together'
  for (let length = 1; length <= nodes.length; length++) {
    if (!start.roots.every((root) => nodes.indexOf(root) < length)) continue
    const candidate = candidateOf(view, start, traced, nodes.slice(0, length))
    if (typeof candidate === 'string') {
      if (best === undefined) reason = candidate
      continue
    }
    if (best === undefined || candidate.bytes <= best.bytes) best = candidate
    if (candidate.inexact === undefined && (exact === undefined || candidate.bytes <= exact.bytes)) exact = candidate
  }
  if (best === undefined) return reason
  const chosen = exact === undefined || exact === best ? [best] : [exact, best]
  return chosen.map((candidate) => regionOf(view, start, traced, candidate))
}

interface Candidate {
  readonly nodes: readonly number[]
  readonly sends: readonly RegionPort[]
  readonly bytes: number
  readonly granule: number
  readonly inexact: string | undefined
}

function candidateOf(
  { prepared, readers }: GraphView,
  { channels }: Start,
  { nodes: flows, layouts }: Traced,
  nodes: readonly number[],
): Candidate | string {
  const { steps, outputs } = prepared.flow
  const granule = nodes.reduce((least, node) => lcm(least, flows.get(node)?.granule ?? 1), 1)
  const least = Math.max(granule, leastChannels)
  if (least * 2 > channels) return `its ${channels} channels are too few to share in multiples of ${least}`
  const members = new Set(nodes)
  const sends: RegionPort[] = []
  for (const name of nodes.flatMap((node) => steps[node]?.writes ?? [])) {
    if (!outputs.includes(name) && readers(name).every((reader) => members.has(reader))) continue
    const port = prepared.ports.get(name)
    const layout = layouts.get(name) as Layout
    if (port === undefined || port.varies === true || port.dtype === 'string')
      return `its result '${name}' cannot be put together from slices`
    if (layout.banks > 1) return `its result '${name}' would lie in ${layout.banks} banks`
    sends.push({ port, axis: layout.axis })
  }
  const inexact = nodes.map((node) => flows.get(node)?.inexact).find((reason) => reason !== undefined)
  return { nodes, sends, bytes: sends.reduce((sum, { port }) => sum + byteLength(port), 0), granule: least, inexact }
}

function regionOf(view: GraphView, start: Start, traced: Traced, candidate: Candidate): Region {
  const { nodes, sends, granule, inexact } = candidate
  return {
    nodes,
    roots: start.roots,
    banks: start.banks,
    channels: start.channels,
    granule,
    receives: receivesOf(view, traced, nodes),
    sends,
    ends: endsOf(view, traced, sends),
    weightBytes: weightBytesOf(view, nodes),
    exact: inexact === undefined,
    ...(inexact !== undefined && { inexact }),
  }
}

/** What some nodes read from elsewhere, in their order; with an axis where none needs all of it and one range is enough. */
function receivesOf({ prepared, node }: GraphView, traced: Traced, nodes: readonly number[]): RegionPort[] {
  const { steps } = prepared.flow
  const written = new Set(nodes.flatMap((index) => steps[index]?.writes ?? []))
  const read = new Set(nodes.flatMap((index) => steps[index]?.reads ?? []))
  const whole = new Set<string>()
  for (const index of nodes) {
    const takes = traced.nodes.get(index)?.takes
    for (const [place, name] of node(index).input.entries()) if (takes?.has(place) !== true) whole.add(name)
  }
  return [...read]
    .filter((name) => !written.has(name))
    .map((name) => {
      const port = prepared.ports.get(name) as Port
      const layout = whole.has(name) ? undefined : traced.layouts.get(name)
      return layout?.banks === 1 ? { port, axis: layout.axis } : { port }
    })
}

function endsOf({ readers }: GraphView, { ends }: Traced, sends: readonly RegionPort[]): Undivided[] {
  const reading = new Set(sends.flatMap(({ port }) => readers(port.name)))
  return [...ends].filter(([node]) => reading.has(node)).map(([node, reason]) => ({ node, reason }))
}

function weightBytesOf({ prepared }: GraphView, nodes: readonly number[]): number {
  const { steps, constants } = prepared.flow
  const found = new Set<string>()
  const pending = nodes.flatMap((node) => steps[node]?.constants ?? [])
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (found.has(name)) continue
    found.add(name)
    pending.push(...(constants.get(name)?.needs ?? []))
  }
  return [...found].reduce((sum, name) => sum + (constants.get(name)?.bytes ?? 0), 0)
}

function keyOf({ nodes, banks }: Region): string {
  return `${banks}/${nodes.join()}`
}

/** A region for people: its first node, and how many there are. */
export function showRegion(prepared: Prepared, { nodes }: Region): string {
  const [first] = nodes as [number]
  return `the region of ${nodes.length} nodes at ${showNode(prepared.nodes[first] as Prepared['nodes'][number])}`
}
