/** Small models and fleets as the planner's values, and plans for them, without an engine. */

import { loadOf } from '#broker/planner/cost.js'
import { parseFleet } from '#broker/planner/fleet-file.js'
import type { Fleet } from '#broker/planner/fleet.js'
import type { ModelValue, ModelWork } from '#broker/planner/model-work.js'
import { optimise } from '#broker/planner/optimise.js'
import type { PlanBody } from '#broker/planner/plan-document.js'
import { draftPlan } from '#broker/planner/plan-draft.js'
import { pose, type Posed, type PoseOptions } from '#broker/planner/pose.js'
import type { Spare } from '#broker/planner/spares.js'
import type { Objective, Placement } from '#broker/planner/problem.js'

/** Nodes n0, n1, … in a row, of so many microseconds each; every tensor is of so many bytes. */
export function chainWork(us: readonly number[], bytes = 1000): ModelWork {
  const nodes = us.map((time, index) => ({
    name: `n${index}`,
    opType: index % 2 === 0 ? 'Conv' : 'Relu',
    us: time,
    weightBytes: 1000,
    scratchBytes: 100,
  }))
  const values = [...us, 0].map((_, index) => ({
    name: `v${index}`,
    dtype: 'float32' as const,
    bytes,
    from: index === 0 ? undefined : index - 1,
    to: index === us.length ? [] : [index],
    isOutput: index === us.length,
  }))
  return { hash: 'ab'.repeat(32), level: 'all', signature: 'v0:float32[1]', nodes, values, regions: [] }
}

/** The same work with other values. */
export function withValues(work: ModelWork, change: (value: ModelValue, index: number) => ModelValue): ModelWork {
  return { ...work, values: work.values.map(change) }
}

/** A fleet from the lines of its devices, with links that cost little. */
export function fleetFrom(text: string): Fleet {
  return parseFleet(
    `linkDefaults: { rate: 1 Gbit/s, rtt: 100 us, message: 1 us }
overhead: { stage: 0 us, open: { message: 1 us, byte: 0 ns }, seal: { message: 1 us, byte: 0 ns }, session: 1 kB }
${text}`,
    'fleet.yaml',
  )
}

export const chainOptions: PoseOptions = { shape: 'chain', maxReplicas: 1, maxParts: 1 }

/** The best plan for a fleet. */
export function planFor(
  work: ModelWork,
  fleet: Fleet,
  objective: Objective = { kind: 'throughput' },
  options: PoseOptions = chainOptions,
): { plan: PlanBody; posed: Posed; placement: Placement } {
  const posed = pose(work, fleet, options)
  const { placement, certificate } = optimise(posed.problem, objective)
  return { plan: draft(work, fleet, posed, placement, certificate), posed, placement }
}

/** A plan of a placement that was not searched for. */
export function draft(
  work: ModelWork,
  fleet: Fleet,
  posed: Posed,
  placement: Placement,
  certificate = {
    objective: { kind: 'throughput' as const } as Objective,
    value: loadOf(posed.problem, placement).cost.periodUs,
    lowerBound: loadOf(posed.problem, placement).cost.periodUs,
    gap: 0,
    proof: 'said so',
  },
  spares: readonly (Spare | undefined)[] = [],
): PlanBody {
  const { shape, maxReplicas } = posed.problem
  return draftPlan(
    work,
    fleet,
    posed,
    { placement, certificate, load: loadOf(posed.problem, placement), spares },
    { modelName: 'small', madeAtMs: 1_700_000_000_000, options: { granularity: 'auto', shape, maxReplicas, bits: 32 } },
  )
}
