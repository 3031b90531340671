/** Who does what in the demo, for each granularity. Pure: what the model costs comes in, what the planner would say goes out. */

import type { ModelFacts } from '#broker/models/catalogue.js'
import type { LaidStage, Layout } from '#broker/planner/layout.js'
import { partition } from '#broker/planner/partition.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { splitAt } from '#shared/onnx/graph.js'
import type { Region } from '#shared/onnx/regions.js'

export type Granularity = 'layer' | 'block'

/** Stages in a row, each held by `replicas` devices; devices that make up no whole stage stay idle. */
export function byLayers(facts: ModelFacts, devices: readonly DeviceId[], replicas: number): Layout {
  const { nodeUs } = facts
  const { shape, stages } = splitAt(nodeUs.length, partition(facts, Math.floor(devices.length / replicas)))
  return {
    shape,
    stages: stages.map((stage, i) => ({ ...stage, devices: devices.slice(i * replicas, (i + 1) * replicas) })),
  }
}

/**
 * The layer that takes longest is parted over two devices, or three where there are six or more; the others have what is
 * before it and behind it, one stage each. Throws `Refusal('cannot-cut')` where nothing can be parted, or not by so few.
 */
export function byBlocks(facts: ModelFacts, devices: readonly DeviceId[]): Layout {
  const { nodeUs, regions } = facts
  const parts = devices.length < 6 ? 2 : 3
  const cost = (nodes: readonly number[]): number => nodes.reduce((sum, node) => sum + nodeUs[node]!, 0)
  const candidates = regions
    .filter(({ exact, channels, granule }) => exact && Math.floor(channels / granule) >= parts)
    .map((region) => ({ region, ...around(facts, region) }))
  if (candidates.length === 0)
    throw new Refusal('cannot-cut', 'no layer of this model can be parted: use --granularity layer')
  const least = Math.min(...candidates.map(({ before, after }) => parts + sides(before, after)))
  const [best] = candidates
    .filter(({ before, after }) => parts + sides(before, after) <= devices.length)
    .sort((a, b) => cost(b.region.nodes) - cost(a.region.nodes))
  if (best === undefined) {
    throw new Refusal(
      'cannot-cut',
      `to part a layer of this model takes ${least} devices: start more than ${devices.length}`,
    )
  }
  const { region, before, after } = best
  const rest = devices.length - parts
  const share = Math.round((rest * cost(before)) / (cost(before) + cost(after)))
  const first = Math.min(Math.max(share, Math.min(1, before.length)), rest - Math.min(1, after.length))
  const left = [...devices]
  const take = (count: number): DeviceId[] => left.splice(0, count)
  const inARow = (nodes: readonly number[], count: number): LaidStage[] =>
    evenly(nodes, nodeUs, count).map((some) => ({ nodes: some, devices: take(1) }))
  return {
    shape: 'dag',
    stages: [
      ...inARow(before, first),
      { nodes: region.nodes, devices: take(parts), parts: { region, shares: sharesOf(region, parts) } },
      ...inARow(after, rest - first),
    ],
  }
}

function sides(before: readonly number[], after: readonly number[]): number {
  return Math.min(1, before.length) + Math.min(1, after.length)
}

/** The nodes that a region needs, directly or not, and all others. */
function around({ nodeUs, values }: ModelFacts, { nodes }: Region): { before: number[]; after: number[] } {
  const members = new Set(nodes)
  const needed = new Set<number>()
  const pending = [...nodes]
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    for (const { from: source, to } of values) {
      if (source === undefined || !to.includes(node) || members.has(source) || needed.has(source)) continue
      needed.add(source)
      pending.push(source)
    }
  }
  const all = [...nodeUs.keys()]
  return {
    before: all.filter((node) => needed.has(node)),
    after: all.filter((node) => !needed.has(node) && !members.has(node)),
  }
}

/** Nodes in their order, in so many runs that take about as long as each other. */
function evenly(nodes: readonly number[], nodeUs: readonly number[], count: number): number[][] {
  const runs = Math.min(count, nodes.length)
  if (runs === 0) return []
  const costs = {
    nodeUs: nodes.map((node) => nodeUs[node]!),
    cuts: nodes.slice(1).map((_, at) => ({ at: at + 1, bytes: 0 })),
    inputBytes: 0,
    outputBytes: 0,
  }
  const at = [0, ...partition(costs, runs), nodes.length]
  return at.slice(1).map((end, i) => nodes.slice(at[i], end))
}

/** As even as granules allow; what is no whole granule is with the last. */
function sharesOf({ channels, granule }: Region, parts: number): number[] {
  const granules = Math.floor(channels / granule)
  const shares = Array.from({ length: parts }, (_, i) => Math.floor(((i + 1) * granules) / parts) * granule)
  return shares.map((end, i) => (i === parts - 1 ? channels : end) - (shares[i - 1] ?? 0))
}
