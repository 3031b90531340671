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

/**
 * A chain of blocks as in a vision transformer: layers of unequal work, activations of 0.3 to 3 MB, weights of 2 to 10 MB.
 * Devices are up to 4 times as fast as each other, each a little better at some layers than at others; a third of the
 * fleet could hold the model, so that memory bites now and then.
 */
export function chainCase(seed: string, { nodes: count, classes: counts }: Case): Problem {
  const random = seededRandom(seed)
  const between = (low: number, high: number): number => low + (high - low) * unitFrom(random)
  const work = Array.from({ length: count }, (_, node) => [4600, 800, 3500, 3000][node % 4]! * between(0.7, 1.3))
  const nodes = work.map((_, node): WorkNode => {
    return {
      name: `layer ${node}`,
      weightBytes: Math.round(between(2, 10) * MiB),
      scratchBytes: Math.round(between(1, 4) * MiB),
    }
  })
  const weights = nodes.reduce((sum, { weightBytes }) => sum + weightBytes, 0)
  const devices = counts.reduce((sum, devices) => sum + devices, 0)
  const values = Array.from({ length: count + 1 }, (_, at): Value => ({
    name: `value ${at}`,
    bytes: Math.round([600, 300, 1500, 300][at % 4]! * 1024 * between(0.8, 1.2)),
    from: at === 0 ? undefined : at - 1,
    to: at === count ? [] : [at],
    isOutput: at === count,
  }))
  const rates = counts.map(() => between(slowestMbps, fastestMbps))
  const classes = counts.map((count, index): DeviceClass => {
    const slowness = between(1, 4)
    return {
      name: `device ${index}`,
      count,
      nodeUs: work.map((us) => us * slowness * between(0.9, 1.1)),
      stageUs: 100,
      open: { messageUs: endUs, byteUs: endUsPerByte },
      seal: { messageUs: endUs, byteUs: endUsPerByte },
      memoryBytes: (weights / devices) * between(1.2, 6) + 48 * MiB,
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
    shape: 'chain',
    maxReplicas: 1,
    maxParts: 1,
  }
}
