/** From the planner's answer to the document: names for numbers. */

import type { Load, Message } from './cost.js'
import type { Fleet } from './fleet.js'
import type { ModelWork } from './model-work.js'
import type { PlanBody } from './plan-document.js'
import { devicesOf, type Posed } from './pose.js'
import type { Certificate, Holding, Placement, Problem } from './problem.js'

export interface Answer {
  readonly placement: Placement
  readonly certificate: Certificate
  readonly load: Load
  /** For each stage the device class that has a spare for it, if one has. */
  readonly spares: readonly (number | undefined)[]
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
  const used = new Set(held.flat())
  const stages = placement.stages.map(({ nodes, holding }, at): PlanBody['stages'][number] => {
    const spare = spares[at] === undefined ? undefined : posed.classes[spares[at]]!.find((index) => !used.has(index))
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
      ...(spare === undefined ? {} : { spare: fleet.devices[spare]!.name }),
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
    certificate,
  }
}

/** The weights that a member gets: of what a region divides, its share. */
function heldWeight({ nodes, regions }: Problem, own: readonly number[], holding: Holding, share: number): number {
  const divided = new Set(holding.kind === 'parts' ? regions[holding.region]!.divided : [])
  return own.reduce((sum, node) => sum + nodes[node]!.weightBytes * (divided.has(node) ? share : 1), 0)
}
