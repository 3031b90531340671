/** Bounds that hold for every placement of a problem, whatever is searched: from sums and the heaviest node only. */

import type { Problem } from './problem.js'
import { ratesOf, timeWork } from './work.js'

/** Devices share the work at best without loss, and the heaviest node is somewhere whole: or by turns, or by channels. */
export function periodFloor(problem: Problem): number {
  const { nodes, classes, maxReplicas, maxParts, regions } = problem
  const work = timeWork(problem)
  const rates = ratesOf(
    work,
    classes.map(({ nodeUs }) => nodeUs),
  )
  const speed = classes.reduce((sum, { count }, kind) => sum + count * rates[kind]!, 0)
  const all = work.reduce((sum, units) => sum + units, 0)
  let floor = speed === 0 ? 0 : all / speed
  const parted = new Set(maxParts > 1 ? regions.flatMap(({ divided }) => divided) : [])
  for (let node = 0; node < nodes.length; node++) {
    if (parted.has(node)) continue
    let least = Infinity
    for (const { nodeUs, stageUs, count } of classes) {
      least = Math.min(least, (nodeUs[node]! + stageUs) / Math.min(count, maxReplicas))
    }
    floor = Math.max(floor, least)
  }
  // Sums of so many terms round a little.
  return floor * (1 - 1e-12)
}

/** By node: no placement spends less on it for one request; in parts, what the fastest devices need together. */
export function leastTimes({ nodes, classes, regions, maxParts }: Problem): Float64Array {
  const parted = new Set(maxParts > 1 ? regions.flatMap(({ divided }) => divided) : [])
  return Float64Array.from(nodes, (_, node) => {
    const alone = classes.reduce((best, { nodeUs }) => Math.min(best, nodeUs[node]!), Infinity)
    if (!parted.has(node)) return alone
    const speeds = classes.flatMap(({ nodeUs, count }) => {
      return Array.from({ length: Math.min(count, maxParts) }, () => 1 / nodeUs[node]!)
    })
    speeds.sort((a, b) => b - a)
    return 1 / speeds.slice(0, maxParts).reduce((sum, speed) => sum + speed, 0)
  })
}

/** A request passes every node on its way that takes longest, each on the devices that are fastest for it. */
export function latencyFloor(problem: Problem): number {
  const { nodes, values } = problem
  const least = leastTimes(problem)
  const read = nodes.map((): number[] => [])
  values.forEach(({ to }, value) => to.forEach((node) => read[node]!.push(value)))
  const done = new Float64Array(nodes.length)
  let latency = 0
  for (let node = 0; node < nodes.length; node++) {
    let start = 0
    for (const value of read[node]!) start = Math.max(start, done[values[value]!.from ?? -1] ?? 0)
    done[node] = start + least[node]!
  }
  for (const { from, isOutput } of values) if (isOutput && from !== undefined) latency = Math.max(latency, done[from]!)
  return latency * (1 - 1e-12)
}

/** Weights are spread over the fleet's memory at best without loss, and the largest is somewhere. */
export function memoryFloor({ nodes, classes, maxParts, regions }: Problem): number {
  let memory = 0
  for (const { count, memoryBytes } of classes) memory += count * memoryBytes
  const weights = nodes.reduce((sum, { weightBytes }) => sum + weightBytes, 0)
  let floor = memory === Infinity ? 0 : weights / memory
  const parted = new Set(maxParts > 1 ? regions.flatMap(({ divided }) => divided) : [])
  nodes.forEach(({ weightBytes, scratchBytes }, node) => {
    if (parted.has(node)) return
    let least = Infinity
    for (const { memoryBytes, sessionBytes, nodeUs } of classes) {
      if (nodeUs[node] === Infinity) continue
      least = Math.min(least, (sessionBytes + weightBytes + scratchBytes) / memoryBytes)
    }
    floor = Math.max(floor, least)
  })
  return floor * (1 - 1e-12)
}
