/** The plan in force: which devices hold which stages of which model, and what each member is told. Pure. */

import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import type { Edge } from '#shared/onnx/edges.js'
import type { Port } from '#shared/onnx/tensor.js'
import { maxPeers } from '#shared/protocol/control.js'
import type { ClientWork, Leg, SegmentFile, StageWork } from '#shared/protocol/messages.js'

/** A stage, in an order in which each takes from earlier ones only. */
export interface PlannedStage {
  /** Each with its own sealed copy of the segment; several take requests in turn. */
  readonly holders: readonly { readonly device: DeviceId; readonly segment: SegmentFile }[]
  readonly runInputs: readonly Port[]
  readonly runOutputs: readonly Port[]
}

/** A member that sends requests and gets results, as the process that runs now. */
export interface PlannedClient {
  readonly device: DeviceId
  readonly run: Uint8Array
}

export interface Plan {
  readonly plan: number
  readonly model: string
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  readonly stages: readonly PlannedStage[]
  readonly edges: readonly Edge[]
  readonly clients: readonly PlannedClient[]
}

const mutable = (ports: readonly Port[]) => ports.map((port) => ({ ...port, shape: [...port.shape] }))

/** What the devices of stage `index` are to do. */
export function stageWork(plan: Plan, index: number): Map<DeviceId, StageWork> {
  const { holders, runInputs, runOutputs } = plan.stages[index]!
  return new Map(
    holders.map(({ device, segment }) => [
      device,
      {
        kind: 'stage',
        plan: plan.plan,
        model: plan.model,
        stages: plan.stages.length,
        stage: index,
        clients: plan.clients.map((client) => ({ ...client })),
        segment,
        ...legsOf(plan, index),
        runInputs: mutable(runInputs),
        runOutputs: mutable(runOutputs),
      },
    ]),
  )
}

/** What a client is told of the pipeline. */
export function clientWork(plan: Plan): ClientWork {
  return {
    kind: 'client',
    plan: plan.plan,
    model: plan.model,
    stages: plan.stages.length,
    ...legsOf(plan, undefined),
    inputs: mutable(plan.inputs),
    outputs: mutable(plan.outputs),
  }
}

/** With whom each member shares an edge of the plan. */
export function peersIn(plan: Plan): Map<DeviceId, Set<DeviceId>> {
  const peers = new Map<DeviceId, Set<DeviceId>>()
  const meets = (one: DeviceId, other: DeviceId): void => void peers.set(one, (peers.get(one) ?? new Set()).add(other))
  for (const { from, to } of plan.edges) {
    for (const one of membersAt(plan, from)) {
      for (const other of membersAt(plan, to)) {
        meets(one, other)
        meets(other, one)
      }
    }
  }
  return peers
}

/**
 * How many clients the plan has room for beside the devices that a member shares keys with. Throws
 * `Refusal('over-limit')` for a plan in which a device, or a client, would have too many of them.
 */
export function roomForClients(plan: Plan): number {
  let room = maxPeers
  for (const stage of [...plan.stages.keys(), undefined]) {
    const near = plan.edges.filter(({ from, to }) => from === stage || to === stage)
    const meetsClients = near.some(({ from, to }) => from === undefined || to === undefined)
    const peers = new Set(near.flatMap(({ from, to }) => devicesAt(plan, from === stage ? to : from))).size
    if (peers > maxPeers - (stage !== undefined && meetsClients ? 1 : 0)) {
      const who = stage === undefined ? 'a client' : `a device of stage ${stage}`
      throw new Refusal(
        'over-limit',
        `${who} would share keys with ${peers} devices, the limit is ${maxPeers}: plan with fewer replicas or parts`,
      )
    }
    if (stage !== undefined && meetsClients) room = Math.min(room, maxPeers - peers)
  }
  return room
}

/** All devices that hold a stage. */
export function devicesIn({ stages }: Pick<Plan, 'stages'>): DeviceId[] {
  return stages.flatMap(({ holders }) => holders.map(({ device }) => device))
}

function devicesAt({ stages }: Plan, stage: number | undefined): readonly DeviceId[] {
  return stage === undefined ? [] : stages[stage]!.holders.map(({ device }) => device)
}

function membersAt(plan: Plan, stage: number | undefined): readonly DeviceId[] {
  return (stage === undefined ? plan.clients : plan.stages[stage]!.holders).map(({ device }) => device)
}

/** The edges that end at a stage (or at the client), and those that begin there, as it sees them. */
function legsOf(plan: Plan, stage: number | undefined): { takes: Leg[]; sends: Leg[] } {
  const leg = (edge: Edge, end: 'from' | 'to', span: 'cut' | 'put'): Leg => {
    const other = edge[end]
    return {
      stage: other ?? plan.stages.length,
      devices: other === undefined ? [] : [...membersAt(plan, other)],
      tensors: edge.tensors.map((crossing) => {
        const slice = crossing[span]
        return { ...mutable([crossing.port])[0]!, ...(slice === undefined ? {} : { slice: { ...slice } }) }
      }),
    }
  }
  return {
    takes: plan.edges.filter(({ to }) => to === stage).map((edge) => leg(edge, 'from', 'put')),
    sends: plan.edges.filter(({ from }) => from === stage).map((edge) => leg(edge, 'to', 'cut')),
  }
}
