/** One part of a region as a model of its own: a share of the channels, with the weights that belong to them and no others. */

import { Refusal } from '../errors.js'
import { assemble } from './dataflow.js'
import { lcm, leastChannels } from './flow.js'
import { viewOf, type GraphView } from './graph-view.js'
import { rangeOf, shapeOfShare, type Share } from './layout.js'
import { declare } from './observe.js'
import { writerOf } from './part-writer.js'
import type { Prepared } from './prepare.js'
import { showRegion, type Region, type RegionPort } from './regions.js'
import type { Port } from './tensor.js'
import { trace } from './trace.js'

/** A tensor of a part: all of one, or the slice of it that begins at `offset` of `axis`. */
export interface PartPort {
  /** As the part's model has it: of a slice the shape is the slice's. */
  readonly port: Port
  readonly slice?: { readonly axis: number; readonly offset: number }
}

/** The channels `[from, to)` of a region. */
export interface RegionPart {
  readonly from: number
  readonly to: number
  readonly model: Uint8Array<ArrayBuffer>
  /** What the part's session takes, in the order of the region's. */
  readonly receives: readonly PartPort[]
  /** What it gives: slices, of which `gather` makes the whole tensors. */
  readonly sends: readonly PartPort[]
  readonly weightBytes: number
}

/**
 * All parts of a region: `shares[i]` channels for part `i`, in order. Throws `Refusal('cannot-cut')` where they are not
 * the channels of the region, or as `partOf` does.
 */
export function partsOf(prepared: Prepared, region: Region, shares: readonly number[]): RegionPart[] {
  const sum = shares.reduce((total, share) => total + share, 0)
  if (sum !== region.channels) {
    throw new Refusal(
      'cannot-cut',
      `${showRegion(prepared, region)} has ${region.channels} channels to share, not ${sum}`,
    )
  }
  const view = viewOf(prepared)
  let from = 0
  return shares.map((share) => {
    const part = cut(view, region, from, from + share)
    from += share
    return part
  })
}

/**
 * The part of a region that does the channels `[from, to)`. Throws `Refusal('cannot-cut')` for a range outside the region,
 * with too few channels, or not at a border of its granules, and for a region of another graph.
 */
export function partOf(prepared: Prepared, region: Region, from: number, to: number): RegionPart {
  return cut(viewOf(prepared), region, from, to)
}

function cut(view: GraphView, region: Region, from: number, to: number): RegionPart {
  const { prepared } = view
  const { channels, roots, banks, granule } = region
  const what = (): string => showRegion(prepared, region)
  if (![from, to].every(Number.isInteger) || from < 0 || to > channels) {
    throw new Refusal('cannot-cut', `${what()} has the channels 0 to ${channels}, not ${from} to ${to}`)
  }
  if (to - from < leastChannels) {
    throw new Refusal(
      'cannot-cut',
      `a part of ${what()} needs ${granule} channels or more, ${from} to ${to} are too few: share it out among fewer`,
    )
  }
  const traced = trace(view, { roots, banks, channels }, new Set(region.nodes))
  if (typeof traced === 'string' || traced.nodes.size !== region.nodes.length) {
    throw new Refusal('cannot-cut', 'the region is of another graph: find the regions of this one')
  }
  const unit = [...traced.nodes.values()].reduce((unit, flow) => lcm(unit, flow.granule), 1)
  if (from % unit !== 0 || to % unit !== 0) {
    throw new Refusal('cannot-cut', `${what()} is parted in multiples of ${unit} channels, not ${from} to ${to}`)
  }
  const share = { from, to, channels }
  const writer = writerOf(view, share, region.receives)
  for (const [index, flow] of traced.nodes) writer.add(index, flow)
  const receives = region.receives.map((port) => partPort(port, share))
  const sends = region.sends.map((port) => partPort(port, share))
  const flow = { ...prepared.flow, constants: new Map([...prepared.flow.constants, ...writer.constants]) }
  const { model, weightBytes } = assemble(flow, {
    steps: writer.steps,
    constants: [],
    inputs: receives.map(({ port }) => declare(port, false)),
    outputs: sends.map(({ port }) => declare(port, false)),
  })
  return { from, to, model, receives, sends, weightBytes }
}

function partPort({ port, axis }: RegionPort, share: Share): PartPort {
  if (axis === undefined) return { port }
  const [offset] = rangeOf(port.shape[axis] as number, share)
  return { port: { ...port, shape: shapeOfShare(port.shape, { axis, banks: 1 }, share) }, slice: { axis, offset } }
}
