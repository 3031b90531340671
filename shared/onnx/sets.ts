/** Which parts of a graph to try: any set of nodes closed under predecessors may be parted from the rest. */

import { seededRandom, unitFrom } from '../random.js'
import { crossing } from './cuts.js'
import { extract, portsOf, type Segment } from './extract.js'
import type { Prepared } from './prepare.js'

/** A set of nodes and the rest, as two segments. */
export function inTwo(prepared: Prepared, before: ReadonlySet<number>): Segment[] {
  const after = new Set([...prepared.nodes.keys()].filter((index) => !before.has(index)))
  const border = portsOf(prepared, crossing(prepared, before))
  const of = (members: ReadonlySet<number>, isLast: boolean): Segment => {
    const part = extract(prepared, members, isLast)
    return {
      from: Math.min(...members),
      to: Math.max(...members) + 1,
      model: part.model,
      runInputs: part.inputs,
      runOutputs: part.outputs,
      receives: isLast ? border : prepared.inputs,
      sends: isLast ? prepared.outputs : border,
      weightBytes: part.weightBytes,
    }
  }
  return [of(before, false), of(after, true)]
}

/** Draws of a set that may be illegal before its place stays empty. */
const drawsPerSet = 20

/** Random legal sets closed under predecessors: beginnings of random topological orders. */
export function randomSets(prepared: Prepared, count: number, seed: string | number): Set<number>[] {
  const size = prepared.nodes.length
  if (size < 2) return []
  const random = seededRandom(`cuts/${seed}`)
  const pick = (below: number): number => Math.floor(unitFrom(random) * below)
  const isLegal = (set: Set<number>): boolean => crossing(prepared, set).every((name) => prepared.ports.has(name))
  const sets: Set<number>[] = []
  for (let n = 0; n < count; n++) {
    for (let draw = 0; draw < drawsPerSet; draw++) {
      const set = randomBeginning(prepared, 1 + pick(size - 1), pick)
      if (!isLegal(set)) continue
      sets.push(set)
      break
    }
  }
  return sets
}

function randomBeginning({ flow }: Prepared, length: number, pick: (below: number) => number): Set<number> {
  const producer = new Map(flow.steps.flatMap((step, index) => step.writes.map((name) => [name, index] as const)))
  const sources = flow.steps.map(
    (step) => new Set(step.reads.map((name) => producer.get(name)).filter((at) => at !== undefined)),
  )
  const followers = flow.steps.map((): number[] => [])
  for (const [index, from] of sources.entries()) for (const source of from) followers[source]?.push(index)
  const waitingFor = sources.map((from) => from.size)
  const ready = [...waitingFor.keys()].filter((index) => waitingFor[index] === 0)
  const taken = new Set<number>()
  while (taken.size < length) {
    const [index] = ready.splice(pick(ready.length), 1) as [number]
    taken.add(index)
    for (const follower of followers[index] ?? []) {
      const left = (waitingFor[follower] as number) - 1
      waitingFor[follower] = left
      if (left === 0) ready.push(follower)
    }
  }
  return taken
}

/** `count` of the items at even distances, first and last included. */
export function spread<T>(items: readonly T[], count: number): T[] {
  if (count >= items.length) return [...items]
  if (count <= 1) return items.slice(items.length >> 1, (items.length >> 1) + count)
  return Array.from({ length: count }, (_, index) => items[Math.round((index * (items.length - 1)) / (count - 1))] as T)
}
