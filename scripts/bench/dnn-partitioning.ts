/**
 * Instances of msr-fiddle/dnn-partitioning as planning problems. Its devices are k equal accelerators, which pay for what
 * they take and send, and CPUs, which do not; a node's result costs its sender once however many take it; links are never
 * busy. Times are in the instance's own unit.
 */

import { z } from 'zod'
import type { DeviceClass, Placement, Problem, Value } from '#broker/planner/problem.js'
import { Refusal } from '#shared/errors.js'

const number = z.number().nonnegative()
const flag = z.union([z.boolean(), z.literal(0), z.literal(1)])

const instanceFile = z.object({
  maxSizePerFPGA: number,
  maxFPGAs: z.int().nonnegative().max(64),
  maxCPUs: z.int().nonnegative().max(64),
  nodes: z
    .array(
      z.object({
        id: z.int(),
        supportedOnFpga: flag,
        cpuLatency: number,
        fpgaLatency: number,
        isBackwardNode: flag,
        colorClass: z.int().optional(),
        size: number,
      }),
    )
    .min(1)
    .max(20_000),
  edges: z.array(z.object({ sourceId: z.int(), destId: z.int(), cost: number })).max(200_000),
})
export type Instance = z.infer<typeof instanceFile>

export interface PosedInstance {
  readonly problem: Problem
  /** The instance's nodes that each node of the problem stands for, by id. */
  readonly members: readonly (readonly number[])[]
  /** The accelerators' class, and the CPUs' where there are any. */
  readonly accelerator: number | undefined
  readonly cpu: number | undefined
}

/** Sizes of messages stand for their cost; they are small enough not to count as memory. */
const bytesPerCost = 1e-6

/** Throws `Refusal('bad-config')` where the text is no instance, or one of training, which is no problem of ours. */
export function readInstance(text: string): Instance {
  const { data, error } = instanceFile.safeParse(jsonIn(text))
  if (data === undefined) {
    const { path, message } = error.issues[0]!
    throw new Refusal('bad-config', `no instance of dnn-partitioning: ${path.join('.') || 'the file'}: ${message}`)
  }
  const ids = new Set(data.nodes.map(({ id }) => id))
  if (ids.size < data.nodes.length) throw new Refusal('bad-config', 'two nodes of the instance have the same id')
  const stray = data.edges.find(({ sourceId, destId }) => !ids.has(sourceId) || !ids.has(destId))
  if (stray !== undefined) {
    throw new Refusal(
      'bad-config',
      `an edge goes from node ${stray.sourceId} to ${stray.destId}, which are not both there`,
    )
  }
  if (data.nodes.some(({ isBackwardNode }) => Boolean(isBackwardNode))) {
    throw new Refusal('bad-config', 'the instance is one of training, with backward nodes: take one of inference')
  }
  return data
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export function poseInstance(instance: Instance): PosedInstance {
  const groups = topological(instance, withoutTrivialSources(instance, colocated(instance)))
  const groupOf = new Map(groups.flatMap((ids, group) => ids.map((id) => [id, group] as const)))
  const byId = new Map(instance.nodes.map((node) => [node.id, node]))
  const total = (ids: readonly number[], of: (node: Instance['nodes'][number]) => number): number =>
    ids.reduce((sum, id) => sum + of(byId.get(id)!), 0)
  const kind = (name: string, count: number, byteUs: number, memoryBytes: number, nodeUs: number[]): DeviceClass => ({
    name,
    count,
    nodeUs,
    stageUs: 0,
    open: { messageUs: 0, byteUs },
    seal: { messageUs: 0, byteUs },
    memoryBytes,
    sessionBytes: 0,
  })
  const acceleratorUs = groups.map((ids) =>
    ids.every((id) => Boolean(byId.get(id)!.supportedOnFpga)) ? total(ids, (node) => node.fpgaLatency) : Infinity,
  )
  const cpuUs = groups.map((ids) => total(ids, (node) => node.cpuLatency))
  const classes = [
    ...(instance.maxFPGAs > 0
      ? [kind('accelerator', instance.maxFPGAs, 1 / bytesPerCost, instance.maxSizePerFPGA, acceleratorUs)]
      : []),
    ...(instance.maxCPUs > 0 ? [kind('cpu', instance.maxCPUs, 0, Number.MAX_SAFE_INTEGER, cpuUs)] : []),
  ]
  const free = { messageUs: 0, byteUs: 0, latencyUs: 0 }
  const problem: Problem = {
    nodes: groups.map((ids) => ({
      name: ids.join('+'),
      weightBytes: total(ids, (node) => node.size),
      scratchBytes: 0,
    })),
    values: valuesOf(instance, groupOf),
    classes,
    links: classes.map(() => classes.map(() => free)),
    fromClient: classes.map(() => free),
    toClient: classes.map(() => free),
    regions: [],
    shape: 'dag',
    maxReplicas: 1,
    maxParts: 1,
    sealedOnce: true,
  }
  const accelerator = instance.maxFPGAs > 0 ? 0 : undefined
  return { problem, members: groups, accelerator, cpu: instance.maxCPUs > 0 ? classes.length - 1 : undefined }
}

/** A placement as the split file that the peer's own program judges. */
export function splitOf({ members, cpu }: PosedInstance, { stages }: Placement): string {
  const machines = (isCpu: boolean): { nodes: number[] }[] =>
    stages
      .filter(({ holding }) => holding.kind === 'one' && (holding.class === cpu) === isCpu)
      .map(({ nodes }) => ({ nodes: nodes.flatMap((node) => [...members[node]!]) }))
  return JSON.stringify({ cpus: machines(true), fpgas: machines(false) })
}

/** One value for each node of the instance whose result leaves its group. */
function valuesOf({ nodes, edges }: Instance, groupOf: ReadonlyMap<number, number>): Value[] {
  const found: Value[] = []
  const leaving = new Map<number, typeof edges>()
  for (const edge of edges) leaving.set(edge.sourceId, [...(leaving.get(edge.sourceId) ?? []), edge])
  for (const { id } of nodes) {
    const from = groupOf.get(id)!
    const own = leaving.get(id) ?? []
    const to = [...new Set(own.map(({ destId }) => groupOf.get(destId)!))]
      .filter((group) => group !== from)
      .sort((a, b) => a - b)
    if (to.length > 0) found.push({ name: `of ${id}`, bytes: own[0]!.cost * bytesPerCost, from, to, isOutput: false })
  }
  return found
}

/** Nodes of one colour are on one device; so are groups that wait for each other. */
function colocated({ nodes, edges }: Instance): number[][] {
  const leader = new Map(nodes.map(({ id }) => [id, id]))
  const lead = (id: number): number => {
    let at = id
    while (leader.get(at) !== at) at = leader.get(at)!
    return at
  }
  const first = new Map<number, number>()
  for (const { id, colorClass } of nodes) {
    if (colorClass === undefined) continue
    const other = first.get(colorClass)
    if (other === undefined) first.set(colorClass, id)
    else leader.set(lead(id), lead(other))
  }
  for (;;) {
    const cycle = cycleOf(
      new Set(nodes.map(({ id }) => lead(id))),
      edges.map(({ sourceId, destId }) => [lead(sourceId), lead(destId)] as const),
    )
    if (cycle === undefined) break
    for (const id of cycle) leader.set(lead(id), lead(cycle[0]!))
  }
  const groups = new Map<number, number[]>()
  for (const { id } of nodes) groups.set(lead(id), [...(groups.get(lead(id)) ?? []), id])
  return [...groups.values()]
}

/** Groups on one cycle, if there is any. */
function cycleOf(groups: ReadonlySet<number>, edges: readonly (readonly [number, number])[]): number[] | undefined {
  const next = new Map<number, number[]>()
  for (const [from, to] of edges) if (from !== to) next.set(from, [...(next.get(from) ?? []), to])
  const done = new Set<number>()
  for (const start of groups) {
    // Depth first, without recursion: the path to where we are, and what of each group on it was not yet tried.
    const path = [{ group: start, left: [...(next.get(start) ?? [])] }]
    const on = new Set([start])
    while (path.length > 0) {
      const at = path.at(-1)!
      const to = at.left.pop()
      if (to === undefined) {
        done.add(at.group)
        on.delete(at.group)
        path.pop()
      } else if (on.has(to)) {
        return path.slice(path.findIndex(({ group }) => group === to)).map(({ group }) => group)
      } else if (!done.has(to)) {
        on.add(to)
        path.push({ group: to, left: [...(next.get(to) ?? [])] })
      }
    }
  }
  return undefined
}

/** A group without work and predecessors joins its only reader, as in the peer: apart, it could only cost more. */
function withoutTrivialSources({ nodes, edges }: Instance, groups: number[][]): number[][] {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  let left = groups
  for (;;) {
    const groupOf = new Map(left.flatMap((ids, group) => ids.map((id) => [id, group] as const)))
    const [readers, makers] = [left.map(() => new Set<number>()), left.map(() => new Set<number>())]
    for (const { sourceId, destId } of edges) {
      const [from, to] = [groupOf.get(sourceId)!, groupOf.get(destId)!]
      if (from === to) continue
      readers[from]!.add(to)
      makers[to]!.add(from)
    }
    const trivial = left.findIndex((ids, group) => {
      const work = ids.reduce((sum, id) => sum + byId.get(id)!.cpuLatency + byId.get(id)!.fpgaLatency, 0)
      return work < 1e-6 && makers[group]!.size === 0 && readers[group]!.size === 1
    })
    if (trivial === -1) return left
    const [reader] = readers[trivial]!
    const joined = [...left[reader!]!, ...left[trivial]!]
    left = left.map((ids, group) => (group === reader ? joined : ids)).filter((_, group) => group !== trivial)
  }
}

/** Groups in a topological order. */
function topological({ edges }: Instance, groups: readonly (readonly number[])[]): number[][] {
  const groupOf = new Map(groups.flatMap((ids, group) => ids.map((id) => [id, group] as const)))
  const waits = groups.map(() => new Set<number>())
  for (const { sourceId, destId } of edges) {
    const [from, to] = [groupOf.get(sourceId)!, groupOf.get(destId)!]
    if (from !== to) waits[to]!.add(from)
  }
  const order: number[] = []
  const placed = new Set<number>()
  while (order.length < groups.length) {
    const next = groups.findIndex(
      (_, group) => !placed.has(group) && [...waits[group]!].every((other) => placed.has(other)),
    )
    if (next === -1) throw new RangeError('the instance has a cycle')
    placed.add(next)
    order.push(next)
  }
  return order.map((group) => [...groups[group]!])
}
