/** Whether a planning problem makes sense at all: what does not is refused in a sentence before anything is searched. */

import { Refusal } from '#shared/errors.js'
import type { DeviceClass, Link, Problem, Region } from './problem.js'

/** Nodes, values, regions and device classes that a problem may have at most; they bound the planner's memory. */
export const problemLimits = {
  nodes: 20_000,
  values: 100_000,
  regions: 20_000,
  classes: 1000,
  devices: 10_000,
} as const

/** Throws `Refusal('cannot-plan')`, naming what is wrong with the numbers, the order or the indices of `problem`. */
export function checkProblem(problem: Problem): void {
  checkCounts(problem)
  problem.nodes.forEach(({ name, weightBytes, scratchBytes }) => {
    amount(weightBytes, `the weights of node ${name}`)
    amount(scratchBytes, `the scratch memory of node ${name}`)
  })
  checkValues(problem)
  problem.classes.forEach((kind) => checkClass(problem, kind))
  checkLinks(problem)
  problem.regions.forEach((region, index) => checkRegion(problem, region, `region ${index}`))
  if (problem.sealedOnce === true && (problem.shape === 'chain' || problem.maxParts > 1)) {
    refuse("values can be sealed once for all only in shape 'dag' and where nothing is parted; set maxParts to 1")
  }
}

function checkCounts({ nodes, values, classes, regions, maxReplicas, maxParts }: Problem): void {
  if (nodes.length === 0) refuse('the model has no node; give one that computes something')
  if (classes.length === 0) refuse('the fleet has 0 devices; add at least one')
  const devices = classes.reduce((sum, { count }) => sum + count, 0)
  const counted = { nodes, values, classes, regions }
  for (const what of ['nodes', 'values', 'classes', 'regions'] as const) {
    const limit = problemLimits[what]
    if (counted[what].length > limit)
      refuse(`${counted[what].length} ${what} are more than the ${limit} that are planned`)
  }
  if (devices > problemLimits.devices)
    refuse(`${devices} devices are more than the ${problemLimits.devices} that are planned`)
  whole(maxReplicas, 'the limit of replicas')
  whole(maxParts, 'the limit of parts')
}

function checkValues({ nodes, values }: Problem): void {
  for (const { name, bytes, from, to } of values) {
    amount(bytes, `the size of value ${name}`)
    if (from !== undefined) index(from, nodes.length, `the node that makes value ${name}`)
    to.forEach((node, at) => {
      index(node, nodes.length, `a node that reads value ${name}`)
      if (at > 0 && node <= to[at - 1]!) refuse(`the readers of value ${name} do not ascend; name each once, in order`)
    })
  }
  const cycle = cycleIn({ nodes, values } as Problem)
  if (cycle !== undefined) refuse(`nodes ${cycle.join(', ')} form a cycle; a model that is planned has none`)
  for (const { name, from, to } of values) {
    if (from === undefined || to.length === 0 || to[0]! > from) continue
    const [maker, reader] = [nodes[from]!.name, nodes[to[0]!]!.name]
    refuse(`value ${name} goes from node ${maker} back to node ${reader}; put the nodes in a topological order`)
  }
}

/** Names of a few nodes that wait for each other, if there are any. */
function cycleIn({ nodes, values }: Problem): string[] | undefined {
  const waits = nodes.map(() => 0)
  const readers: number[][] = nodes.map(() => [])
  for (const { from, to } of values) {
    if (from === undefined) continue
    for (const node of to) {
      waits[node]!++
      readers[from]!.push(node)
    }
  }
  const ready = waits.flatMap((count, node) => (count === 0 ? [node] : []))
  for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
    for (const node of readers[next]!) if (--waits[node]! === 0) ready.push(node)
  }
  const stuck = waits.flatMap((count, node) => (count > 0 ? [nodes[node]!.name] : []))
  return stuck.length === 0 ? undefined : stuck.slice(0, 4)
}

function checkClass({ nodes }: Problem, kind: DeviceClass): void {
  const { name, count, nodeUs, stageUs, open, seal, memoryBytes, sessionBytes } = kind
  whole(count, `the number of devices like ${name}`)
  if (nodeUs.length !== nodes.length)
    refuse(`device ${name} has times for ${nodeUs.length} of ${nodes.length} nodes; give all`)
  nodeUs.forEach((us, node) => {
    if (!(us >= 0))
      refuse(`the time of node ${nodes[node]!.name} on device ${name} is ${us}; give 0 or more microseconds`)
  })
  amount(stageUs, `the time of a stage on device ${name}`)
  for (const [what, crossing] of [
    ['opening', open],
    ['sealing', seal],
  ] as const) {
    amount(crossing.messageUs, `the time of ${what} a message on device ${name}`)
    amount(crossing.byteUs, `the time of ${what} a byte on device ${name}`)
  }
  if (!(memoryBytes > 0)) refuse(`device ${name} has ${memoryBytes} bytes of memory; give more than 0`)
  amount(sessionBytes, `the memory of a session on device ${name}`)
}

function checkLinks({ classes, links, fromClient, toClient }: Problem): void {
  const sizes = [links.length, fromClient.length, toClient.length, ...links.map((row) => row.length)]
  if (sizes.some((size) => size !== classes.length))
    refuse('the links do not match the devices; give one for every pair')
  links.forEach((row, from) =>
    row.forEach((link, to) => checkLink(link, `from device ${classes[from]!.name} to device ${classes[to]!.name}`)),
  )
  fromClient.forEach((link, to) => checkLink(link, `from the client to device ${classes[to]!.name}`))
  toClient.forEach((link, from) => checkLink(link, `from device ${classes[from]!.name} to the client`))
}

function checkLink(link: Link | undefined, what: string): void {
  if (link === undefined) return
  amount(link.messageUs, `the time of a message on the link ${what}`)
  amount(link.byteUs, `the time of a byte (1 / rate) on the link ${what}`)
  amount(link.latencyUs, `the latency of the link ${what}`)
}

function checkRegion(
  problem: Problem,
  { nodes, channels, granule, divided, dividedInputs }: Region,
  what: string,
): void {
  if (nodes.length === 0) refuse(`${what} has no nodes; leave it out`)
  nodes.forEach((node, at) => {
    index(node, problem.nodes.length, `a node of ${what}`)
    if (at > 0 && node <= nodes[at - 1]!) refuse(`the nodes of ${what} do not ascend; name each once, in order`)
  })
  whole(channels, `the channels of ${what}`)
  whole(granule, `the granule of ${what}`)
  const held = new Set(nodes)
  if (divided.some((node) => !held.has(node))) refuse(`${what} divides a node that is not in it; name its own nodes`)
  for (const value of dividedInputs) index(value, problem.values.length, `a divided input of ${what}`)
  // Whatever a region's node reaches through others must not come back into it.
  const beyond = new Set<number>()
  const later = problem.nodes.map((): number[] => [])
  for (const { from, to } of problem.values) if (from !== undefined) later[from]!.push(...to)
  for (const [node, readers] of later.entries()) {
    if (!held.has(node) && !beyond.has(node)) continue
    for (const reader of readers) {
      if (!held.has(reader)) beyond.add(reader)
      else if (beyond.has(node)) {
        refuse(
          `${what} is left at node ${problem.nodes[node]!.name} and entered again; a region has all between its nodes`,
        )
      }
    }
  }
}

function whole(value: number, what: string): void {
  if (!Number.isInteger(value) || value < 1) refuse(`${what} is ${value}; give a whole number from 1`)
}

function amount(value: number, what: string): void {
  if (!(value >= 0 && value < Infinity)) refuse(`${what} is ${value}; give a finite number that is not negative`)
}

function index(value: number, length: number, what: string): void {
  if (!Number.isInteger(value) || value < 0 || value >= length)
    refuse(`${what} is number ${value}, of ${length}; name one that is there`)
}

function refuse(sentence: string): never {
  throw new Refusal('cannot-plan', sentence)
}
