/** The demo once everything is up. */

import type { Deployment } from '#broker/deployments.js'
import type { RunningHub } from '#broker/start.js'
import type { Client } from '#device/client.js'
import type { DeviceId } from '#shared/ids.js'
import { byteLength } from '#shared/onnx/tensor.js'
import type { DeviceProcess } from './devices.js'
import type { Tally } from './tally.js'

export interface RunningDemo {
  readonly running: RunningHub
  readonly deployment: Deployment
  readonly processes: readonly DeviceProcess[]
  readonly client: Client
  readonly tally: Tally
}

/** A device at work: stage by stage, and those that hold one stage one after the other. */
export interface Post {
  readonly stage: number
  /** For people: the stage's number, and a letter where it is a part of one. */
  readonly label: string
  /** Of a part. */
  readonly channels: { readonly from: number; readonly to: number } | undefined
  readonly device: DeviceId
  /** Positions of the stage's nodes in the canonical order, as `0-3 7`. */
  readonly nodes: string
  readonly sealedBytes: number
}

const letterA = 0x61

export function postsOf({ plan, cut, segmentBytes }: Deployment): Post[] {
  return plan.stages.flatMap(({ holders }, stage) => {
    const { of, nodes, channels } = cut.stages[stage]!
    const part = stage - cut.stages.findIndex((first) => first.of === of)
    const label = `${of}${channels === undefined ? '' : String.fromCodePoint(letterA + part)}`
    const post = { stage, label, channels, nodes: showNodes(nodes), sealedBytes: segmentBytes[stage]! }
    return holders.map(({ device }) => ({ ...post, device }))
  })
}

/** Half-open ranges. */
export function showNodes(nodes: readonly number[]): string {
  const ranges: [number, number][] = []
  for (const node of [...nodes].sort((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last?.[1] === node) last[1] = node + 1
    else ranges.push([node, node + 1])
  }
  return ranges.map(([from, to]) => `${from}-${to}`).join(' ')
}

/** Bytes of the tensors on each edge between two stages. */
export function boundaryBytes({ plan }: Deployment): number[] {
  return plan.edges
    .filter(({ from, to }) => from !== undefined && to !== undefined)
    .map(({ tensors }) => tensors.reduce((sum, { port }) => sum + byteLength(port), 0))
}

/** Who sends to whom, edge by edge; `undefined` is the client. */
export function waysOf({ plan }: Deployment): { from: DeviceId | undefined; to: DeviceId | undefined }[] {
  const ends = (stage: number | undefined): readonly (DeviceId | undefined)[] =>
    stage === undefined ? [undefined] : plan.stages[stage]!.holders.map(({ device }) => device)
  return plan.edges.flatMap((edge) => ends(edge.from).flatMap((from) => ends(edge.to).map((to) => ({ from, to }))))
}
