/** Who does what: a split of a graph, with the devices that hold each stage. Pure. */

import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { splitAt, type Split, type StageSplit } from '#shared/onnx/graph.js'
import type { Region } from '#shared/onnx/regions.js'
import { maxReplicas } from '#shared/protocol/messages.js'
import { roomFor } from './cost.js'
import type { Posed } from './pose.js'
import type { Placement } from './problem.js'
import { sharesOf } from './shares.js'

export interface Layout extends Split {
  /** The graph that the nodes are of, as `ModelFacts.hash`; any where it is not given. */
  readonly graph?: string
  readonly stages: readonly LaidStage[]
}

export interface LaidStage extends StageSplit {
  /** One; or several, which take requests in turn; or one for each part. */
  readonly devices: readonly DeviceId[]
}

/** A chain, cut before the nodes `at`, one stage for each of the first devices. */
export function inARow(
  { nodeUs }: { readonly nodeUs: readonly number[] },
  at: readonly number[],
  devices: readonly DeviceId[],
): Layout {
  const { shape, stages } = splitAt(nodeUs.length, at)
  return { shape, stages: stages.map((stage, index) => ({ ...stage, devices: devices.slice(index, index + 1) })) }
}

/**
 * Throws `Refusal`: `cannot-cut` for a layout of another graph, or with a device twice, none or too many for a stage;
 * `device-lost` for a device that is not among `available`.
 */
export function checkLayout(layout: Layout, graph: string, available: ReadonlySet<DeviceId>): void {
  if (layout.graph !== undefined && layout.graph !== graph) {
    throw new Refusal('cannot-cut', `the plan is for the graph ${layout.graph}, this one is ${graph}: plan again`)
  }
  const seen = new Set<DeviceId>()
  for (const [stage, { devices, parts }] of layout.stages.entries()) {
    if (devices.length < 1 || devices.length > maxReplicas) {
      throw new Refusal(
        'cannot-cut',
        `stage ${stage} is given to ${devices.length} devices: give it to 1 to ${maxReplicas}`,
      )
    }
    if (parts !== undefined && parts.shares.length !== devices.length) {
      throw new Refusal(
        'cannot-cut',
        `stage ${stage} is parted in ${parts.shares.length} and given to ${devices.length} devices: name one for each part`,
      )
    }
    for (const device of devices) {
      if (seen.has(device)) throw new Refusal('cannot-cut', `device ${device} is given two stages: it can hold one`)
      if (!available.has(device))
        throw new Refusal('device-lost', `device ${device} is not online: start it or plan again`)
      seen.add(device)
    }
  }
}

/** Who holds each of the stages that a layout was cut into, where each part of a parted stage counts as one. */
export function holdersOf(
  { stages }: Layout,
  cut: readonly { readonly of: number; readonly channels?: unknown }[],
): (readonly DeviceId[])[] {
  return cut.map(({ of, channels }, index) => {
    const { devices } = stages[of]!
    if (channels === undefined) return devices
    const part = index - cut.findIndex((first) => first.of === of)
    return devices.slice(part, part + 1)
  })
}

/**
 * The layout of a placement: `posed` says which nodes and regions of the graph the problem's are, `devices` who was chosen
 * for each stage, `regions` are those of the graph (`ModelFacts.regions`). Throws `RangeError` for a placement that is not
 * one of the problem.
 */
export function layoutOf(
  { problem, groups, regions: given }: Pick<Posed, 'problem' | 'groups' | 'regions'>,
  { stages }: Placement,
  devices: readonly (readonly DeviceId[])[],
  regions: readonly Region[],
): Layout {
  return {
    shape: problem.shape,
    stages: stages.map(({ nodes, holding }, stage): LaidStage => {
      const own = nodes.flatMap((node) => groups[node]!).sort((a, b) => a - b)
      if (holding.kind !== 'parts') return { nodes: own, devices: devices[stage]! }
      const region = regions[given[holding.region]!]!
      const planned = problem.regions[holding.region]!
      const rooms = holding.classes.map((index) => roomFor(problem, planned, problem.classes[index]!))
      const shares = sharesOf(problem, holding.region, holding.classes, rooms)
      if (shares === undefined) throw new RangeError(`the region of stage ${stage} cannot be shared out so`)
      // What is no whole granule comes last, so that every part begins at a border of granules.
      const order = [...shares.keys()].sort(
        (a, b) => (shares[a]! % region.granule) - (shares[b]! % region.granule) || a - b,
      )
      return {
        nodes: own,
        devices: order.map((part) => devices[stage]![part]!),
        parts: { region, shares: order.map((part) => shares[part]!) },
      }
    }),
  }
}
