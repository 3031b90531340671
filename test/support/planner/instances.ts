/**
 * Small planning problems from a seed, with everything that a problem may have: odd graphs, devices that are alike, memory
 * that bites, nodes that are pinned, links that are missing, regions. Some have no placement at all.
 */

import type { DeviceClass, Link, Problem, Region, Value, WorkNode } from '#broker/planner/problem.js'
import { Dice } from './dice.js'

export interface Limits {
  readonly nodes: number
  readonly devices: number
}

/** Few enough that all placements can be looked at. */
const smallest: Limits = { nodes: 6, devices: 4 }

/** All numbers are whole or eighths, so that sums are exact in any order. */
export function instanceOf(seed: string | number, { nodes: mostNodes, devices: mostDevices } = smallest): Problem {
  const dice = new Dice(seed)
  const isChain = dice.chance(0.4)
  const most = isChain ? mostNodes + 1 : mostNodes
  const count = dice.chance(0.05) ? 1 : Math.max(dice.whole(2, most), dice.whole(2, most))
  const nodes = Array.from({ length: count }, (_, node): WorkNode => nodeOf(dice, node))
  const values = isChain ? chainValues(dice, count) : graphValues(dice, count)
  const regions = dice.chance(0.6) ? Array.from({ length: dice.whole(1, 3) }, () => regionOf(dice, count, values)) : []
  // Twins: many alike, with slow links between them, so that it matters which replicas meet.
  const areTwins = dice.chance(0.2)
  const devices = Math.max(dice.whole(1, mostDevices), dice.whole(1, mostDevices))
  const counts = areTwins ? [mostDevices] : countsOf(dice, devices)
  const limits = memoryOf(dice, nodes, counts.length)
  const pins = pinsOf(dice, count, counts.length)
  const classes = counts.map((devices, index): DeviceClass => {
    const slowness = areTwins ? 8 : dice.pick([1, 1, 2, 3, 5])
    return {
      ...classOf(dice, index, devices, limits[index]!),
      nodeUs: nodes.map((_, node) => (pins(node, index) ? timeOf(dice, node, seed) * slowness : Infinity)),
    }
  })
  const missing = dice.chance(0.2) ? 0.25 : 0
  const link = (): Link | undefined => (dice.chance(missing) ? undefined : linkOf(dice))
  const slowLink: Link = { messageUs: 100 * dice.whole(1, 6), byteUs: 2, latencyUs: 30 }
  const shape = dice.pick(['chain', 'dag'] as const)
  const maxParts = regions.length > 0 ? dice.pick([1, 2, 3, 3]) : 1
  return {
    nodes,
    values,
    classes,
    links: classes.map(() => classes.map(areTwins ? () => slowLink : link)),
    fromClient: classes.map(link),
    toClient: classes.map(link),
    regions,
    shape,
    maxReplicas: areTwins ? 3 : dice.pick([1, 1, 2, 3]),
    maxParts,
    ...(shape === 'dag' && maxParts === 1 && dice.chance(0.3) ? { sealedOnce: true } : {}),
  }
}

/** A plain chain on devices that all differ, nothing replicated or parted: what the literature plans. */
export function chainOf(seed: string | number, { nodes: count, devices }: Limits): Problem {
  const dice = new Dice(seed)
  const nodes = Array.from({ length: count }, (_, node): WorkNode => nodeOf(dice, node))
  const pins = pinsOf(dice, count, devices)
  const limits = memoryOf(dice, nodes, devices)
  const missing = dice.chance(0.3) ? 0.2 : 0
  const link = (): Link | undefined => (dice.chance(missing) ? undefined : linkOf(dice))
  const kinds = Array.from({ length: devices }, (_, index) => index)
  return {
    nodes,
    values: chainValues(dice, count),
    classes: kinds.map((index): DeviceClass => {
      const kind = classOf(dice, index, 1, limits[index]!)
      const nodeUs = nodes.map((_, node) => (pins(node, index) ? dice.whole(0, 99) : Infinity))
      return { ...kind, nodeUs }
    }),
    links: kinds.map(() => kinds.map(link)),
    fromClient: kinds.map(link),
    toClient: kinds.map(link),
    regions: [],
    shape: 'chain',
    maxReplicas: 1,
    maxParts: 1,
  }
}

/** A class without the times of its nodes. */
function classOf(dice: Dice, index: number, count: number, memoryBytes: number): Omit<DeviceClass, 'nodeUs'> {
  return {
    name: `c${index}`,
    count,
    stageUs: dice.pick([0, 0, 3, 20]),
    open: { messageUs: dice.whole(0, 5), byteUs: dice.whole(0, 2) / 8 },
    seal: { messageUs: dice.whole(0, 5), byteUs: dice.whole(0, 2) / 8 },
    memoryBytes,
    sessionBytes: dice.pick([0, 10]),
  }
}

function nodeOf(dice: Dice, node: number): WorkNode {
  return { name: `n${node}`, weightBytes: dice.pick([0, 0, 8, 50, 200]), scratchBytes: dice.pick([0, 10, 80]) }
}

/** The same node is as much work on every device, give or take; one in seven is none. */
function timeOf(dice: Dice, node: number, seed: string | number): number {
  const work = new Dice(`${seed} time ${node}`)
  return work.chance(0.15) ? 0 : work.pick([4, 10, 40, 100]) + dice.whole(0, 3)
}

function linkOf(dice: Dice): Link {
  return {
    messageUs: dice.pick([0, 1, 10]),
    byteUs: dice.pick([0, 0.125, 0.5, 2]),
    latencyUs: dice.pick([0, 2, 30]),
  }
}

function bytesOf(dice: Dice): number {
  return dice.pick([0, 1, 4, 16, 16, 64, 300])
}

function chainValues(dice: Dice, nodes: number): Value[] {
  const links = Array.from({ length: nodes + 1 }, (_, at): Value => {
    const isLast = at === nodes
    return {
      name: `v${at}`,
      bytes: bytesOf(dice),
      from: at === 0 ? undefined : at - 1,
      to: isLast ? [] : [at],
      isOutput: isLast || dice.chance(0.05),
    }
  })
  return dice.chance(0.3) ? [...links, skipOf(dice, nodes)] : links
}

/** A value beside the chain: an input used late, an output made early, a shortcut, or one that nobody needs. */
function skipOf(dice: Dice, nodes: number): Value {
  const from = dice.chance(0.4) ? undefined : dice.whole(0, nodes - 1)
  const later = from === undefined ? 0 : from + 1
  const to = later < nodes && dice.chance(0.7) ? [dice.whole(later, nodes - 1)] : []
  return { name: 'skip', bytes: bytesOf(dice), from, to, isOutput: dice.chance(0.3) }
}

/** Each node reads what some others make, or inputs, or nothing: graphs that fall apart are among them. */
function graphValues(dice: Dice, nodes: number): Value[] {
  const inputs = dice.whole(1, 2)
  const density = dice.pick([0.2, 0.4, 0.7])
  const values: Value[] = []
  for (let input = 0; input < inputs; input++) {
    values.push({
      name: `x${input}`,
      bytes: bytesOf(dice),
      from: undefined,
      to: pickedFrom(dice, 0, nodes, 0.4),
      isOutput: dice.chance(0.1),
    })
  }
  for (let node = 0; node < nodes; node++) {
    const made = dice.chance(0.15) ? 2 : 1
    for (let which = 0; which < made; which++) {
      const to = pickedFrom(dice, node + 1, nodes, density)
      const isOutput = to.length === 0 ? dice.chance(0.9) : dice.chance(0.1)
      values.push({ name: `v${node}.${which}`, bytes: bytesOf(dice), from: node, to, isOutput })
    }
  }
  return values
}

/** Numbers in `[from, end)`, ascending, each taken so often. */
function pickedFrom(dice: Dice, from: number, end: number, share: number): number[] {
  return Array.from({ length: Math.max(0, end - from) }, (_, i) => from + i).filter(() => dice.chance(share))
}

/** Nodes in a row of the topological order: always convex. */
function regionOf(dice: Dice, nodes: number, values: readonly Value[]): Region {
  const from = dice.whole(0, nodes - 1)
  const end = Math.min(nodes, from + dice.whole(1, 3))
  const inside = Array.from({ length: end - from }, (_, i) => from + i)
  const rest = inside.slice(1).filter(() => dice.chance(0.8))
  const isIn = (node: number): boolean => node >= from && node < end
  return {
    nodes: inside,
    channels: dice.whole(2, 12),
    granule: dice.pick([1, 2, 2, 3]),
    divided: [from, ...rest],
    dividedInputs: values.flatMap((value, index) =>
      value.to.some(isIn) && !(value.from !== undefined && isIn(value.from)) && dice.chance(0.3) ? [index] : [],
    ),
  }
}

/** So many devices, in classes. */
function countsOf(dice: Dice, devices: number): number[] {
  const counts: number[] = []
  for (let left = devices; left > 0;) {
    const count = dice.chance(0.5) ? 1 : dice.whole(1, left)
    counts.push(count)
    left -= count
  }
  return counts
}

/** Plenty, or about what the whole model needs, shared out; never so that a fraction of a weight fits to the byte. */
function memoryOf(dice: Dice, nodes: readonly WorkNode[], classes: number): number[] {
  const isScarce = dice.chance(0.5)
  const weights = nodes.reduce((sum, { weightBytes }) => sum + weightBytes, 0)
  return Array.from({ length: classes }, () => {
    if (!isScarce) return 1e9
    return Math.floor(weights * dice.pick([0.4, 0.7, 1])) + dice.pick([150, 300, 800]) + 0.37
  })
}

/** Which node may run on which class: all, or all but some, or with one node held to one class. */
function pinsOf(dice: Dice, nodes: number, classes: number): (node: number, index: number) => boolean {
  const kind = dice.pick(['none', 'none', 'none', 'holes', 'pin'])
  const [pinned, to] = [dice.whole(0, nodes - 1), dice.whole(0, classes - 1)]
  const holes = new Set<string>()
  for (let node = 0; node < nodes; node++) {
    for (let index = 0; index < classes; index++) if (dice.chance(0.12)) holes.add(`${node} ${index}`)
  }
  if (kind === 'pin') return (node, index) => node !== pinned || index === to
  return (node, index) => kind === 'none' || !holes.has(`${node} ${index}`)
}
