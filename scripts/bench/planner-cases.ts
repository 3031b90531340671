/** Models and fleets to plan for, made from a seed: what they cost is of the size of real ones. */

import type { DeviceClass, Link, Problem, Value, WorkNode } from '#broker/planner/problem.js'
import { seededRandom, unitFrom } from '#shared/random.js'

export interface Case {
  readonly nodes: number
  /** Devices of each class. */
  readonly classes: readonly number[]
}

const MiB = 1024 * 1024
/** A frame's fixed cost and rate at one end of a hop, and the slowest and fastest network of an edge fleet. */
const endUs = 25
const endUsPerByte = 0.0009
const [slowestMbps, fastestMbps] = [100, 1000]

/** `count` classes of one device each. */
export function distinct(count: number): number[] {
  return Array<number>(count).fill(1)
}

/** A chain of layers as in a vision transformer: activations of 0.3 to 3 MB, weights of 2 to 10 MB. */
export function chainCase(seed: string, { nodes, classes }: Case): Problem {
  const dice = between(seed)
  const values = Array.from({ length: nodes + 1 }, (_, at): Value => {
    return valueOf(dice, at, at === 0 ? undefined : at - 1, at === nodes ? [] : [at])
  })
  return posed(dice, 'chain', nodes, values, classes)
}

/** Nodes of one block of `branchingCase`: three branches of two, and what joins them. */
export const blockNodes = 7
const branches = 3

/** Blocks that branch and join again, as in an inception network; what is made goes straight to who reads it. */
export function branchingCase(seed: string, { nodes, classes }: Case): Problem {
  const dice = between(seed)
  const blocks = Math.floor(nodes / blockNodes)
  const values: Value[] = []
  for (let block = 0; block < blocks; block++) {
    const first = block * blockNodes
    const heads = Array.from({ length: branches }, (_, branch) => first + 2 * branch)
    values.push(valueOf(dice, block, block === 0 ? undefined : first - 1, heads))
    for (const head of heads) {
      values.push(valueOf(dice, 1, head, [head + 1]), valueOf(dice, 1, head + 1, [first + blockNodes - 1]))
    }
  }
  values.push(valueOf(dice, 0, blocks * blockNodes - 1, []))
  return posed(dice, 'dag', blocks * blockNodes, values, classes)
}

type Between = (low: number, high: number) => number

function between(seed: string): Between {
  const random = seededRandom(seed)
  return (low, high) => low + (high - low) * unitFrom(random)
}

function valueOf(dice: Between, at: number, from: number | undefined, to: number[]): Value {
  const bytes = Math.round([600, 300, 1500, 300][at % 4]! * 1024 * dice(0.8, 1.2))
  return { name: `value of ${from ?? 'the client'}`, bytes, from, to, isOutput: to.length === 0 }
}

/**
 * Layers of unequal work on devices that are up to 4 times as fast as each other, each a little better at some layers than
 * at others. A third of the fleet could hold the model, more or less, so that memory bites now and then.
 */
function posed(
  dice: Between,
  shape: Problem['shape'],
  count: number,
  values: Value[],
  counts: readonly number[],
): Problem {
  const work = Array.from({ length: count }, (_, node) => [4600, 800, 3500, 3000][node % 4]! * dice(0.7, 1.3))
  const nodes = work.map((_, node): WorkNode => {
    return {
      name: `layer ${node}`,
      weightBytes: Math.round(dice(2, 10) * MiB),
      scratchBytes: Math.round(dice(1, 4) * MiB),
    }
  })
  const weights = nodes.reduce((sum, { weightBytes }) => sum + weightBytes, 0)
  const devices = counts.reduce((sum, devices) => sum + devices, 0)
  const rates = counts.map(() => dice(slowestMbps, fastestMbps))
  const classes = counts.map((count, index): DeviceClass => {
    const slowness = dice(1, 4)
    return {
      name: `device ${index}`,
      count,
      nodeUs: work.map((us) => us * slowness * dice(0.9, 1.1)),
      stageUs: 100,
      open: { messageUs: endUs, byteUs: endUsPerByte },
      seal: { messageUs: endUs, byteUs: endUsPerByte },
      memoryBytes: (weights / devices) * dice(1.2, 6) + 48 * MiB,
      sessionBytes: 16 * MiB,
    }
  })
  const link = (mbps: number): Link => ({ messageUs: 50, byteUs: 8 / mbps, latencyUs: 400 })
  return {
    nodes,
    values,
    classes,
    links: rates.map((a) => rates.map((b) => link(Math.min(a, b)))),
    fromClient: rates.map(link),
    toClient: rates.map(link),
    regions: [],
    shape,
    maxReplicas: 1,
    maxParts: 1,
  }
}
