/** The plan in force: which device is which stage of which model, and what each member is told. Pure. */

import type { DeviceId } from '#shared/ids.js'
import type { Port } from '#shared/onnx/tensor.js'
import type { ClientWork, SegmentFile, StageWork } from '#shared/protocol/messages.js'

export interface PlannedStage {
  readonly device: DeviceId
  readonly segment: SegmentFile
  readonly receives: readonly Port[]
  readonly sends: readonly Port[]
  readonly runInputs: readonly Port[]
  readonly runOutputs: readonly Port[]
}

export interface Plan {
  readonly plan: number
  readonly model: string
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  readonly stages: readonly PlannedStage[]
  /** Members that send requests and get results. */
  readonly clients: readonly DeviceId[]
}

const mutable = (ports: readonly Port[]) => ports.map((port) => ({ ...port, shape: [...port.shape] }))

/** What the device of stage `index` is to do. */
export function stageWork(plan: Plan, index: number): StageWork {
  const stage = plan.stages[index]!
  const upstream = plan.stages[index - 1]?.device
  const downstream = plan.stages[index + 1]?.device
  return {
    kind: 'stage',
    plan: plan.plan,
    model: plan.model,
    stages: plan.stages.length,
    clients: [...plan.clients],
    stage: index,
    ...(upstream === undefined ? {} : { upstream }),
    ...(downstream === undefined ? {} : { downstream }),
    segment: stage.segment,
    receives: mutable(stage.receives),
    sends: mutable(stage.sends),
    runInputs: mutable(stage.runInputs),
    runOutputs: mutable(stage.runOutputs),
  }
}

/** What a client is told of the pipeline. */
export function clientWork(plan: Plan): ClientWork {
  return {
    kind: 'client',
    plan: plan.plan,
    model: plan.model,
    stages: plan.stages.length,
    clients: [...plan.clients],
    first: plan.stages[0]!.device,
    last: plan.stages.at(-1)!.device,
    inputs: mutable(plan.inputs),
    outputs: mutable(plan.outputs),
  }
}

/** With whom each member shares an edge of the plan. */
export function peersIn(plan: Plan): Map<DeviceId, Set<DeviceId>> {
  const peers = new Map<DeviceId, Set<DeviceId>>()
  const join = (a: DeviceId, b: DeviceId): void => {
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const known = peers.get(one) ?? new Set()
      peers.set(one, known.add(other))
    }
  }
  plan.stages.forEach(({ device }, i) => {
    const next = plan.stages[i + 1]
    if (next !== undefined) join(device, next.device)
  })
  for (const client of plan.clients) {
    join(client, plan.stages[0]!.device)
    join(client, plan.stages.at(-1)!.device)
  }
  return peers
}
