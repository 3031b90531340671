/**
 * The chain scheduler of usc-isi/PipeEdge and its problem: layers in a row, device types, one bandwidth a device. What keeps
 * a stage busy is its layers; what keeps a hop busy is the smaller bandwidth of its ends; nothing enters or leaves the row.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { DeviceClass, Placement, Problem, Value } from '#broker/planner/problem.js'
import { seededRandom, unitFrom } from '#shared/random.js'
import { runPeer } from './peer-program.js'

export interface DeviceType {
  readonly name: string
  readonly hosts: number
  readonly memoryMiB: number
  /** In 2^20 bits a second. */
  readonly mbps: number
  /** Of each layer. */
  readonly seconds: readonly number[]
}

export interface Row {
  readonly layerMiB: readonly number[]
  /** Numbers of 4 bytes that enter the first layer and leave each. */
  readonly inputs: number
  readonly outputs: readonly number[]
  readonly types: readonly DeviceType[]
}

/** Layers `[from, end)` on a device of a type. */
export interface RowStage {
  readonly type: number
  readonly from: number
  readonly end: number
}

export interface Scheduled {
  /** `undefined` where there is no schedule, or where it took too long. */
  readonly stages: readonly RowStage[] | undefined
  readonly cpuMs: number
  readonly isLate: boolean
}

const MiB = 1024 * 1024
const bytesPerNumber = 4
const usPerSecond = 1e6
/** What a device holds for a hop: it has two buffers at each end of a hop and one in hand. The first layer's input has one. */
const buffers = 3

/** A vision transformer's profile, each layer of each type off by up to 20 %, weights for about half the fleet's memory. */
export function rowCase(seed: string, layers: number, types: readonly { hosts: number; speed?: number }[]): Row {
  const random = seededRandom(seed)
  const between = (low: number, high: number): number => low + (high - low) * unitFrom(random)
  const layerMiB = Array.from({ length: layers }, (_, i) => [25, 19, 27, 26][i % 4]! * between(0.95, 1.05))
  const needed = layerMiB.reduce((sum, size) => sum + size, 0)
  const hosts = types.reduce((sum, type) => sum + type.hosts, 0)
  return {
    layerMiB,
    inputs: 150_528,
    outputs: Array.from({ length: layers }, (_, i) =>
      i === layers - 1 ? 1000 : [302_592, 151_296, 756_480, 151_296][i % 4]!,
    ),
    types: types.map(({ hosts: count, speed }, index) => {
      const slowness = speed === undefined ? between(1, 4) : 1 / speed
      return {
        name: `type${String(index).padStart(3, '0')}`,
        hosts: count,
        memoryMiB: Math.max(128, (needed / hosts) * between(1, 4)),
        mbps: between(200, 1000),
        seconds: Array.from(
          { length: layers },
          (_, i) => [0.37, 0.065, 0.28, 0.24][i % 4]! * slowness * between(0.8, 1.2),
        ),
      }
    }),
  }
}

/** The same as a problem of ours: messages are counted 1.5 times, at 1.5 times the rate, as we hold two of each. */
export function poseRow({ layerMiB, inputs, outputs, types }: Row): Problem {
  const heldTwice = buffers / 2
  const values = [inputs / buffers, ...outputs].map((numbers, at): Value => ({
    name: `value ${at}`,
    bytes: numbers * bytesPerNumber * heldTwice,
    from: at === 0 ? undefined : at - 1,
    to: at === layerMiB.length ? [] : [at],
    isOutput: at === layerMiB.length,
  }))
  const free = { messageUs: 0, byteUs: 0, latencyUs: 0 }
  const link = (a: DeviceType, b: DeviceType): typeof free => {
    return { ...free, byteUs: usPerSecond / bytesPerSecond(a, b) / heldTwice }
  }
  return {
    nodes: layerMiB.map((size, i) => ({ name: `layer ${i + 1}`, weightBytes: size * MiB, scratchBytes: 0 })),
    values,
    classes: types.map(({ name, hosts, memoryMiB, seconds }): DeviceClass => ({
      name,
      count: hosts,
      nodeUs: seconds.map((s) => s * usPerSecond),
      stageUs: 0,
      open: { messageUs: 0, byteUs: 0 },
      seal: { messageUs: 0, byteUs: 0 },
      memoryBytes: memoryMiB * MiB,
      sessionBytes: 0,
    })),
    links: types.map((a) => types.map((b) => link(a, b))),
    fromClient: types.map(() => free),
    toClient: types.map(() => free),
    regions: [],
    shape: 'chain',
    maxReplicas: 1,
    maxParts: 1,
  }
}

/** The bottleneck as PipeEdge counts it, in seconds; `Infinity` where a stage does not fit. */
export function bottleneckOf({ layerMiB, inputs, outputs, types }: Row, stages: readonly RowStage[]): number {
  let bottleneck = 0
  for (const [index, { type, from, end }] of stages.entries()) {
    const kind = types[type]!
    const enters = (from === 0 ? inputs : buffers * outputs[from - 1]!) * bytesPerNumber
    const leaves = outputs[end - 1]! * bytesPerNumber
    const weights = layerMiB.slice(from, end).reduce((sum, size) => sum + size * MiB, 0)
    if (weights + enters + buffers * leaves >= kind.memoryMiB * MiB) return Infinity
    bottleneck = Math.max(
      bottleneck,
      kind.seconds.slice(from, end).reduce((sum, s) => sum + s, 0),
    )
    const next = stages[index + 1]
    if (next !== undefined) bottleneck = Math.max(bottleneck, leaves / bytesPerSecond(kind, types[next.type]!))
  }
  return bottleneck
}

export function rowStagesOf({ stages }: Placement): RowStage[] {
  return stages.map(({ nodes, holding }) => {
    if (holding.kind !== 'one') throw new RangeError(`a row has no stage of ${holding.kind}`)
    return { type: holding.class, from: nodes[0]!, end: nodes.at(-1)! + 1 }
  })
}

export function placementOfRow(stages: readonly RowStage[]): Placement {
  return {
    stages: stages.map(({ type, from, end }) => ({
      nodes: Array.from({ length: end - from }, (_, i) => from + i),
      holding: { kind: 'one', class: type },
    })),
  }
}

/** Asks the program `sched-pipeline` for its schedule. */
export async function scheduleOf(program: string, row: Row, limitMs: number): Promise<Scheduled> {
  const folder = await mkdtemp(join(tmpdir(), 'tessera-bench-'))
  try {
    const { layerMiB, inputs, outputs, types } = row
    // JSON is YAML.
    const models = {
      row: { layers: layerMiB.length, mem_MB: layerMiB, parameters_in: inputs, parameters_out: outputs },
    }
    const kinds = types.map(({ name, memoryMiB, mbps, seconds }) => {
      const profile = { batch_size: 1, dtype: 'torch.float32', time_s: seconds }
      return [name, { mem_MB: memoryMiB, bw_Mbps: mbps, model_profiles: { row: [profile] } }] as const
    })
    const hosts = types.map(
      ({ name, hosts }) => [name, Array.from({ length: hosts }, (_, i) => `${name}-${i}`)] as const,
    )
    await writeFile(join(folder, 'models.yml'), JSON.stringify(models))
    await writeFile(join(folder, 'types.yml'), JSON.stringify(Object.fromEntries(kinds)))
    await writeFile(join(folder, 'hosts.yml'), JSON.stringify(Object.fromEntries(hosts)))
    const args = ['-b', '1', '-m', 'row', '-M', 'models.yml', '-T', 'types.yml', '-D', 'hosts.yml']
    const { stdout, stderr, cpuMs, exitCode } = await runPeer(program, args, { cwd: folder, limitMs })
    if (exitCode === undefined) return { stages: undefined, cpuMs, isLate: true }
    if (exitCode !== 0) throw new Error(`sched-pipeline ended with ${exitCode}: ${stderr.slice(0, 500)}`)
    return { stages: stagesIn(stdout, types), cpuMs, isLate: false }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Of `- host: [1, 6]`, a line a stage, layers from 1 and both ends counted. */
function stagesIn(schedule: string, types: readonly DeviceType[]): RowStage[] | undefined {
  const lines = (parse(schedule) ?? []) as Record<string, [number, number]>[]
  const stages = lines.flatMap((line) =>
    Object.entries(line).map(([host, [first, last]]) => {
      return { type: types.findIndex(({ name }) => host.startsWith(`${name}-`)), from: first - 1, end: last }
    }),
  )
  return stages.length === 0 ? undefined : stages
}

function bytesPerSecond(a: DeviceType, b: DeviceType): number {
  return (Math.min(a.mbps, b.mbps) * MiB) / 8
}
