/** Where a stage lies in the graph of its plan: what it takes from whom, and what it sends to whom. */

import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { Assembly, type SlicedPort } from '#shared/onnx/assembly.js'
import type { Port } from '#shared/onnx/tensor.js'
import type { RequestKey } from '#shared/session/requests.js'

/** One edge of the plan, as one of its ends sees it. All that goes over it for a request is one frame. */
export interface Leg {
  /** The stage at the other end; the number of stages where that is the client. */
  readonly stage: number
  /** Its devices, which take requests in turn; none where it is the client of the request. */
  readonly devices: readonly DeviceId[]
  readonly tensors: readonly SlicedPort[]
}

export interface StagePlace {
  readonly plan: number
  readonly stage: number
  readonly takes: readonly Leg[]
  readonly sends: readonly Leg[]
  /** The ports of the segment. */
  readonly runInputs: readonly Port[]
  readonly runOutputs: readonly Port[]
}

/** Who is at the other end of a leg for a request: every member comes to the same answer. */
export function endOf({ devices }: Pick<Leg, 'devices'>, { client, request }: RequestKey): DeviceId {
  return devices.length === 0 ? client : devices[request % devices.length]!
}

/** Everybody who is at the other end of one of these legs for some request, clients left out. */
export function devicesOf(legs: readonly Pick<Leg, 'devices'>[]): Set<DeviceId> {
  return new Set(legs.flatMap(({ devices }) => devices))
}

/** Whether one of these legs leads to the clients. */
export function meetsClients(legs: readonly Pick<Leg, 'devices'>[]): boolean {
  return legs.some(({ devices }) => devices.length === 0)
}

/**
 * How a stage puts together what it takes. Throws `Refusal('bad-segment')` for a place that no request can get through:
 * nothing is taken, two legs end at one device, a tensor does not come in full or comes twice, or one is sent or fed to
 * the segment that nobody has.
 */
export function assemblyOf({ stage, takes, sends, runInputs, runOutputs }: StagePlace): Assembly {
  for (const [what, legs] of [
    ['takes', takes],
    ['sends', sends],
  ] as const) {
    const ends = legs.flatMap(({ devices }): readonly string[] => (devices.length === 0 ? ['the client'] : devices))
    const twice = ends.find((end, i) => ends.indexOf(end) < i)
    if (twice !== undefined) throw bad(stage, `${what} by two ways that end at ${twice}`)
  }
  if (takes.length === 0) throw bad(stage, 'takes nothing, so that no request would reach it')
  const assembly = new Assembly(takes.map(({ tensors }) => tensors))
  const taken = new Set(assembly.ports.map(({ name }) => name))
  const missing = runInputs.find(({ name }) => !taken.has(name))
  if (missing !== undefined) throw bad(stage, `is not given '${missing.name}', which its segment needs`)
  const made = new Set(runOutputs.map(({ name }) => name))
  for (const { tensors } of sends) {
    const unknown = tensors.find(({ name }) => !made.has(name) && !taken.has(name))
    if (unknown !== undefined) throw bad(stage, `sends '${unknown.name}', which it neither makes nor is given`)
  }
  return assembly
}

function bad(stage: number, what: string): Refusal {
  return new Refusal('bad-segment', `stage ${stage} ${what}: the plan is wrong, deploy again`)
}
