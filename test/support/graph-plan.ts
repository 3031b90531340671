/** Plans of any shape over numbers that are easy to check: each value is made from others, whole or in parts. */

import type { Plan } from '#broker/planner/plan.js'
import type { DeviceId } from '#shared/ids.js'
import type { Edge } from '#shared/onnx/edges.js'
import type { Port } from '#shared/onnx/tensor.js'

/** What makes one value; the value that nobody reads goes to the client. */
export interface Maker {
  /** Earlier values that it is made from, by their position; -1 is the client's input. */
  readonly from: readonly number[]
  /** Stages that make a share of it each; 1 unless given. */
  readonly parts?: number
  /** Devices for each of its stages, which take requests in turn; 1 unless given. */
  readonly holders?: number
}

export const chainOf = (stages: number): Maker[] => Array.from({ length: stages }, (_, i) => ({ from: [i - 1] }))

/** Bytes of every value. */
export const valueBytes = 12

/** A stage of the plan: which value it makes, and which bytes of it. */
export interface Making {
  readonly value: number
  readonly from: readonly number[]
  readonly at: number
  readonly bytes: number
  readonly holders: number
}

/** The stages, one for each part of each value. */
export function makingsOf(makers: readonly Maker[]): Making[] {
  return makers.flatMap(({ from, parts = 1, holders = 1 }, value) =>
    Array.from({ length: parts }, (_, part) => {
      const at = Math.floor((part * valueBytes) / parts)
      return { value, from, at, bytes: Math.floor(((part + 1) * valueBytes) / parts) - at, holders }
    }),
  )
}

export function nameOf(value: number): string {
  return value === -1 ? 'x' : `v${value}`
}

/** The plan for these makers, with holders from `devices` in order. */
export function planFor(
  makers: readonly Maker[],
  { plan, devices, clients }: { plan: number; devices: readonly DeviceId[]; clients: Plan['clients'] },
): Plan {
  const makings = makingsOf(makers)
  const outputs = [...makers.keys()].filter((value) => !makers.some(({ from }) => from.includes(value)))
  const port = (value: number, bytes = valueBytes): Port => ({ name: nameOf(value), dtype: 'uint8', shape: [bytes] })
  const edges: Edge[] = []
  const connect = (from: number | undefined, to: number | undefined, values: readonly number[]): void => {
    const making = from === undefined ? { at: 0, bytes: valueBytes } : makings[from]!
    const put = making.bytes === valueBytes ? {} : { put: { axis: 0, at: making.at, of: valueBytes } }
    edges.push({ from, to, tensors: values.map((value) => ({ port: port(value, making.bytes), ...put })) })
  }
  for (const [to, making] of makings.entries()) {
    for (const value of making.from) {
      if (value === -1) connect(undefined, to, [-1])
      else for (const [from, source] of makings.entries()) if (source.value === value) connect(from, to, [value])
    }
  }
  for (const [from, { value }] of makings.entries()) if (outputs.includes(value)) connect(from, undefined, [value])
  let next = 0
  return {
    plan,
    model: 'numbers',
    inputs: [port(-1)],
    outputs: outputs.map((value) => port(value)),
    clients,
    edges,
    stages: makings.map(({ value, from, bytes, holders }, index) => ({
      runInputs: from.map((source) => port(source)),
      runOutputs: [port(value, bytes)],
      holders: Array.from({ length: holders }, () => ({ device: devices[next++]!, segment: segmentOf(index) })),
    })),
  }
}

function segmentOf(index: number) {
  return {
    name: `numbers/seg-${index}`,
    version: 1,
    modelId: new Uint8Array(16),
    fileBytes: 2000,
    fileHash: new Uint8Array(32).fill(index),
    blockBytes: 1024,
    blockHashes: new Uint8Array(64),
  }
}

/** What a value is, made from these: no two of its sources can change places, and every byte counts. */
export function made(value: number, sources: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: valueBytes }, (_, at) =>
    sources.reduce((sum, source, i) => sum + source[at]! * (2 * i + 5) + source[(at + 1) % valueBytes]!, value + at),
  )
}

/** The outputs of the whole plan for an input, by name. */
export function wholeOf(makers: readonly Maker[], input: Uint8Array): Map<string, Uint8Array> {
  const values: Uint8Array[] = []
  for (const [value, { from }] of makers.entries()) {
    values.push(made(value, from.map((source) => (source === -1 ? input : values[source]!)))) // prettier-ignore
  }
  return new Map(values.map((data, value) => [nameOf(value), data]))
}

/** Devices that a plan for these makers takes. */
export function devicesFor(makers: readonly Maker[]): number {
  return makingsOf(makers).reduce((sum, { holders }) => sum + holders, 0)
}

/** The stage that a device holds. */
export function stageHeldBy(plan: Plan, device: DeviceId): number {
  return plan.stages.findIndex(({ holders }) => holders.some((holder) => holder.device === device))
}
