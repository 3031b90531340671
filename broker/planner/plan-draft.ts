/** From the planner's answer to the document: names for numbers. */

import type { Load, Message } from './cost.js'
import type { Fleet } from './fleet.js'
import type { ModelWork } from './model-work.js'
import type { PlanBody } from './plan-document.js'
import { devicesOf, type Posed } from './pose.js'
import type { Spare } from './spares.js'
import type { Certificate, Holding, Placement, Problem } from './problem.js'

/** The gap of a plan whose bound is nothing: what is infinite cannot be written in JSON. */
export const unboundedGap = 1e15

export interface Answer {
  readonly placement: Placement
  readonly certificate: Certificate
  readonly load: Load
  /** For each stage who could take it over, if anybody. */
  readonly spares: readonly (Spare | undefined)[]
}

/** What a plan says of itself besides the planner's answer. */
export interface Circumstances {
  readonly modelName: string
  readonly madeAtMs: number
  readonly options: PlanBody['options']
}

/** The plan as a document, not signed. */
export function draftPlan(
  work: ModelWork,
  fleet: Fleet,
  posed: Posed,
  { placement, certificate, load, spares }: Answer,
  { modelName, madeAtMs, options }: Circumstances,
): PlanBody {
  const { problem } = posed
  const held = devicesOf(posed, placement)
  const spareOf = spareDevices(posed, held, spares)
  const stages = placement.stages.map(({ nodes, holding }, at): PlanBody['stages'][number] => {
    const spare = spares[at]
    const keeper = spareOf[at]
    const loads = load.members.filter((member) => member.stage === at)
    let channel = 0
    return {
      nodes: nodes
        .flatMap((node) => posed.groups[node]!)
        .sort((a, b) => a - b)
        .map((node) => work.nodes[node]!.name),
      kind: holding.kind,
      ...(holding.kind === 'parts' && { exact: work.regions[posed.regions[holding.region]!]!.exact }),
      members: held[at]!.map((index, which) => {
        const { share, computeUs, openUs, sealUs, memoryBytes } = loads[which] ?? loads[0]!
        const device = fleet.devices[index]!
        const weightBytes = heldWeight(problem, nodes, holding, share)
        const member = { computeUs, openUs, sealUs, weightBytes, memoryBytes, memoryLimitBytes: device.memoryBytes }
        if (holding.kind !== 'parts') return { device: device.name, ...member }
        const from = channel
        channel += Math.round(share * problem.regions[holding.region]!.channels)
        return { device: device.name, channels: [from, channel], ...member }
      }),
      ...(spare !== undefined &&
        keeper !== undefined && {
          spare: {
            device: fleet.devices[keeper]!.name,
            periodUs: spare.periodUs,
            memoryBytes: spare.memoryBytes,
          },
        }),
    }
  })
  const end = (stage: number | undefined, part: number): PlanBody['links'][number]['from'] =>
    stage === undefined ? 'client' : { stage, part }
  const tensorsIn = ({ values }: Message): PlanBody['links'][number]['tensors'] =>
    values.map(({ value, part }) => ({ name: problem.values[value]!.name, bytes: part * problem.values[value]!.bytes }))
  return {
    format: 'tessera-plan/1',
    madeAtMs,
    model: {
      name: modelName,
      hash: work.hash,
      level: work.level,
      signature: work.signature,
      nodes: work.nodes.length,
    },
    objective: certificate.objective,
    options,
    stages,
    links: load.messages.map((message) => ({
      from: end(message.from, message.sender),
      to: end(message.to, message.receiver),
      tensors: tensorsIn(message),
      bytes: message.bytes,
      busyUs: message.busyUs,
      latencyUs: message.link?.latencyUs ?? 0,
      turns: message.turns,
    })),
    predicted: load.cost,
    certificate: { ...certificate, gap: Math.min(certificate.gap, unboundedGap) },
  }
}

/** The devices of the spares, by index in the fleet: of idle ones that are alike, the one with the most memory left. */
function spareDevices(
  { problem, classes }: Posed,
  held: readonly (readonly number[])[],
  spares: readonly (Spare | undefined)[],
): (number | undefined)[] {
  const used = new Set(held.flat())
  const free = new Map<number, number>()
  const freeOf = (device: number, kind: number): number => free.get(device) ?? problem.classes[kind]!.memoryBytes
  return spares.map((spare) => {
    if (spare === undefined) return undefined
    const { class: kind, holds, memoryBytes } = spare
    if (holds !== undefined) return held[holds.stage]![holds.member]
    const idle = classes[kind]!.filter((device) => !used.has(device) && freeOf(device, kind) >= memoryBytes)
    if (idle.length === 0) return undefined
    const chosen = idle.reduce((best, device) => (freeOf(device, kind) > freeOf(best, kind) ? device : best))
    free.set(chosen, freeOf(chosen, kind) - memoryBytes)
    return chosen
  })
}

/** The weights that a member gets: of what a region divides, its share. */
function heldWeight({ nodes, regions }: Problem, own: readonly number[], holding: Holding, share: number): number {
  const divided = new Set(holding.kind === 'parts' ? regions[holding.region]!.divided : [])
  return own.reduce((sum, node) => sum + nodes[node]!.weightBytes * (divided.has(node) ? share : 1), 0)
}
