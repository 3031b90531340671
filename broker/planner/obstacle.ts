/** Why there is no placement: the sentence for people, with the remedy. */

import type { Effort } from './effort.js'
import type { DeviceClass, Link, Problem } from './problem.js'
import type { Solution } from './searched.js'
import { fits, leastMemory } from './uniform.js'

/** Memory times this is never too little: the share of it that is used still says how much is asked for. */
const plenty = 2 ** 24

export function obstacleTo(problem: Problem, { lowerBound, remark }: Solution, effort: Effort): string {
  // What is asked here is whether something fits, not how well.
  const quick: Effort = { ...effort, beamWidths: [32], operations: Math.min(effort.operations, 2e8) }
  const alone = unrunnable(problem) ?? tooBigAlone(problem) ?? tornApart(problem)
  if (alone !== undefined) return alone
  if (!fits(problem, quick) && fits({ ...problem, ...permitted(problem) }, quick)) {
    return 'the devices that could hold the nodes may not send to each other; permit or add a link between them'
  }
  const big = tooBig(problem, quick)
  if (big !== undefined) return big
  if (lowerBound < Infinity) return `no plan was found: ${remark}; give the planner more time or a smaller fleet`
  return 'the pins leave no row of devices that can hold the nodes in their order; free a pin or add a device'
}

/** A node that nobody may run. */
function unrunnable({ nodes, classes }: Problem): string | undefined {
  const node = nodes.findIndex((_, index) => classes.every(({ nodeUs }) => nodeUs[index] === Infinity))
  if (node === -1) return undefined
  return `no device may run node ${nodes[node]!.name}; permit it on one, or add a device that has its operator and its trust`
}

/** A node that is too big for everybody who may run it. */
function tooBigAlone({ nodes, classes, regions, maxParts }: Problem): string | undefined {
  const parted = new Set(maxParts > 1 ? regions.flatMap(({ divided }) => divided) : [])
  for (const [node, { name, weightBytes, scratchBytes }] of nodes.entries()) {
    if (parted.has(node)) continue
    const may = classes.filter(({ nodeUs }) => nodeUs[node] !== Infinity)
    const short = (kind: DeviceClass): number => kind.sessionBytes + weightBytes + scratchBytes - kind.memoryBytes
    const least = may.reduce((best, kind) => (short(kind) < short(best) ? kind : best))
    if (short(least) <= 0) continue
    const who =
      may.length === classes.length
        ? `every device: ${least.name}, the largest,`
        : `the devices it may run on: ${least.name}`
    return `node ${name} is too big for ${who} lacks ${bytes(short(least))}; give that device more memory, or let a larger one run it`
  }
  return undefined
}

/** A device that has to hold two nodes, and may not hold one between them. */
function tornApart({ nodes, values, classes }: Problem): string | undefined {
  const readers = nodes.map((): number[] => [])
  for (const { from, to } of values) if (from !== undefined) readers[from]!.push(...to)
  for (const kind of classes) {
    if (kind.count > 1) continue
    const only = nodes.map((_, node) =>
      classes.every((other) => (other.nodeUs[node] !== Infinity) === (other === kind)),
    )
    // The pinned node that each node comes after, and whether a node that may not be there lies between.
    const after = nodes.map((_, node): { pinned: number; barred: number | undefined } | undefined => {
      return only[node]! ? { pinned: node, barred: undefined } : undefined
    })
    for (const [node, next] of readers.entries()) {
      const here = after[node]
      if (here === undefined) continue
      for (const reader of next) {
        if (only[reader]! && here.barred !== undefined) {
          const [first, between, last] = [nodes[here.pinned]!.name, nodes[here.barred]!.name, nodes[reader]!.name]
          return `the pins cannot hold: ${first} and ${last} may run on ${kind.name} only, ${between} between them may not; free one of the three`
        }
        const barred = here.barred ?? (kind.nodeUs[reader] === Infinity ? reader : undefined)
        if (!only[reader]! && (after[reader] === undefined || barred !== undefined))
          after[reader] = { pinned: here.pinned, barred }
      }
    }
  }
  return undefined
}

/** The model as a whole, where it would do if only there were memory. */
function tooBig(problem: Problem, effort: Effort): string | undefined {
  const { nodes, classes } = problem
  const roomy = classes.map((kind) => ({ ...kind, memoryBytes: kind.memoryBytes * plenty }))
  if (fits(problem, effort) || !fits({ ...problem, classes: roomy }, effort)) return undefined
  const weights = nodes.reduce((sum, { weightBytes }) => sum + weightBytes, 0)
  const memory = classes.reduce((sum, { count, memoryBytes }) => sum + count * memoryBytes, 0)
  const { lowerBound } = leastMemory({ ...problem, classes: roomy }, effort)
  const times = lowerBound * plenty
  const [addition, like] = smallestAddition(problem, effort)
  const tightest = classes.reduce((least, kind) => (kind.memoryBytes < least.memoryBytes ? kind : least))
  const over =
    weights > memory
      ? `${bytes(weights - memory)} too big for the fleet: its weights are ${bytes(weights)}, all memory is ${bytes(memory)}`
      : `too big for the fleet: however it is divided, some device needs ${percent(times - 1)} more memory than it has` +
        ` (${tightest.name}: ${bytes(Math.ceil((times - 1) * tightest.memoryBytes))})`
  return `the model is ${over}; one more device like ${like.name} would do with ${bytes(addition)} of memory`
}

/** The least memory of one more device with which all fits, to one part in a thousand, and the device that it is like. */
function smallestAddition(problem: Problem, effort: Effort): [number, DeviceClass] {
  const { classes, nodes, values } = problem
  const like = classes.reduce((best, kind) => (runnable(kind) > runnable(best) ? kind : best))
  const all = [
    ...nodes.map(({ weightBytes, scratchBytes }) => weightBytes + scratchBytes),
    ...values.map(({ bytes }) => 4 * bytes),
  ]
  let low = 0
  let high = like.sessionBytes + all.reduce((sum, amount) => sum + amount, 0)
  while (high - low > Math.max(high / 1000, 1)) {
    const middle = Math.ceil((low + high) / 2)
    if (
      fits(withOne(problem, { ...like, name: 'added', count: 1, memoryBytes: middle }, classes.indexOf(like)), effort)
    )
      high = middle
    else low = middle
  }
  return [Math.ceil(high), like]
}

function runnable({ nodeUs, memoryBytes }: DeviceClass): number {
  return nodeUs.reduce((count, us) => count + (us === Infinity ? 0 : 1), 0) + memoryBytes * 1e-18
}

/** The problem with one more class, whose links are those of class `like`. */
function withOne(problem: Problem, kind: DeviceClass, like: number): Problem {
  const links = problem.links.map((row) => [...row, row[like]])
  return {
    ...problem,
    classes: [...problem.classes, kind],
    links: [...links, [...problem.links[like]!, problem.links[like]![like]]],
    fromClient: [...problem.fromClient, problem.fromClient[like]],
    toClient: [...problem.toClient, problem.toClient[like]],
  }
}

/** Every link there. */
function permitted({ links, fromClient, toClient }: Problem) {
  const free: Link = { messageUs: 0, byteUs: 0, latencyUs: 0 }
  return {
    links: links.map((row) => row.map(() => free)),
    fromClient: fromClient.map(() => free),
    toClient: toClient.map(() => free),
  }
}

function bytes(amount: number): string {
  return `${Math.ceil(amount)} bytes`
}

function percent(fraction: number): string {
  return `${(fraction * 100).toPrecision(3)} %`
}
