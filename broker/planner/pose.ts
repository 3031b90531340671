/** Puts the planner's question: a model's work and a fleet as a `Problem`, and its answer back into names of devices. */

import { Refusal } from '#shared/errors.js'
import { nearest } from '#shared/nearest.js'
import { classesOf } from './classes.js'
import { nodeTimeUs, pinned, plannedLink, type Fleet, type FleetDevice, type Pin, type Restriction } from './fleet.js'
import { fusedGroups } from './fused.js'
import type { ModelWork } from './model-work.js'
import { matches, nearestNode } from './node-pattern.js'
import type { Crossing, DeviceClass, Placement, Problem, Region, Value, WorkNode } from './problem.js'

/** Widths that an activation may have on its way; narrower than the model's floats costs accuracy. */
export const activationBits = [8, 16, 32] as const
export type ActivationBits = (typeof activationBits)[number]

export interface PoseOptions {
  readonly shape: Problem['shape']
  /** 1: no replication. */
  readonly maxReplicas: number
  /** 1: nothing is parted. */
  readonly maxParts: number
  /** Besides those of the fleet file. */
  readonly pins?: readonly Pin[]
  readonly bits?: ActivationBits
}

export interface Posed {
  readonly problem: Problem
  /** The devices of each class, by index in the fleet. */
  readonly classes: readonly (readonly number[])[]
  /** The model's nodes in each node of the problem. */
  readonly groups: readonly (readonly number[])[]
  /** The model's value of each value of the problem. */
  readonly values: readonly number[]
  /** The model's region of each region of the problem. */
  readonly regions: readonly number[]
}

/** CPU time to make a 32-bit float narrower, or wide again: measured at 0.3 to 0.5 ns a byte of floats. */
const narrowByteUs = 0.0005

/** Throws `Refusal('cannot-plan')` for a pin of an unknown node or device, and where no device may have a node. */
export function pose(work: ModelWork, fleet: Fleet, options: PoseOptions): Posed {
  const { shape, maxReplicas, maxParts, pins = [], bits = 32 } = options
  checkPins(pins, work, fleet)
  const restrictions = [...fleet.restrictions, ...pins.map(pinned)]
  const allowed = work.nodes.map(({ name }) => allowedFor(name, fleet, restrictions))
  const classes = classesOf(fleet, (a, b) => allowed.every((devices) => devices.has(a) === devices.has(b)))
  const groups = fusedGroups(work)
  const groupOf = new Map(groups.flatMap((nodes, group) => nodes.map((node) => [node, group] as const)))
  const { relay } = fleet.overhead
  const first = (index: number): number => classes[index]![0]!
  const kept = work.values.flatMap((value, index) => {
    const to = [...new Set(value.to.map((node) => groupOf.get(node)!))].sort((a, b) => a - b)
    const from = value.from === undefined ? undefined : groupOf.get(value.from)!
    const outside = to.filter((group) => group !== from)
    return outside.length > 0 || value.isOutput || from === undefined ? [{ index, value, from, to: outside }] : []
  })
  const regions =
    maxParts > 1
      ? regionsOf(
          work,
          groups,
          groupOf,
          kept.map(({ index }) => index),
        )
      : []
  const problem: Problem = {
    nodes: groups.map((nodes) => workNode(work, nodes)),
    values: kept.map(({ value, from, to }): Value => {
      const isNarrow = value.dtype === 'float32' && value.from !== undefined && !value.isOutput
      return {
        name: value.name,
        bytes: isNarrow ? (value.bytes * bits) / 32 : value.bytes,
        from,
        to,
        isOutput: value.isOutput,
      }
    }),
    classes: classes.map((members) => classOf(work, groups, allowed, fleet, members, bits)),
    links: classes.map((_, from) =>
      classes.map((members, to) => {
        // Two of a class are linked like any two of it.
        const other = from === to ? (members[1] ?? first(to)) : first(to)
        return plannedLink(fleet.links[first(from)]![other], relay)
      }),
    ),
    fromClient: classes.map((_, index) => plannedLink(fleet.fromClient[first(index)], relay)),
    toClient: classes.map((_, index) => plannedLink(fleet.toClient[first(index)], relay)),
    regions: regions.map(({ region }) => region),
    shape,
    maxReplicas,
    maxParts,
  }
  return {
    problem,
    classes,
    groups,
    values: kept.map(({ index }) => index),
    regions: regions.map(({ index }) => index),
  }
}

/** For each stage of a placement its devices, by index in the fleet: one, the replicas, or one for each part. */
export function devicesOf({ classes }: Posed, { stages }: Placement): number[][] {
  const taken = classes.map(() => 0)
  const take = (index: number): number => classes[index]![taken[index]!++]!
  return stages.map(({ holding }) => {
    switch (holding.kind) {
      case 'one':
        return [take(holding.class)]
      case 'replicas':
        return Array.from({ length: holding.count }, () => take(holding.class))
      case 'parts':
        return holding.classes.map(take)
    }
  })
}

function checkPins(pins: readonly Pin[], { nodes }: ModelWork, { devices }: Fleet): void {
  const names = [...new Set(devices.flatMap(({ name, group }) => [name, group]))]
  for (const { nodes: pattern, device } of pins) {
    if (!nodes.some(({ name }) => matches(pattern, name))) {
      const meant = nearestNode(
        pattern,
        nodes.map(({ name }) => name),
      )
      const hint = meant === undefined ? "a plan written with '--out' names all of them" : `did you mean '${meant}'?`
      throw new Refusal('cannot-plan', `the pin '${pattern}=${device}' names no node of the prepared model: ${hint}`)
    }
    if (!names.includes(device)) {
      const meant = nearest(device, names)
      const hint = meant === undefined ? `the fleet has ${names.slice(0, 8).join(', ')}` : `did you mean '${meant}'?`
      throw new Refusal('cannot-plan', `the pin '${pattern}=${device}' names no device of the fleet: ${hint}`)
    }
  }
}

/** The devices that may have a node, by index. */
function allowedFor(node: string, { devices }: Fleet, restrictions: readonly Restriction[]): Set<number> {
  const asked = restrictions.filter(({ nodes }) => matches(nodes, node))
  const fits = (device: FleetDevice): boolean => asked.every(({ allows }) => allows(device))
  const found = new Set(devices.flatMap((device, index) => (fits(device) ? [index] : [])))
  if (found.size > 0) return found
  throw new Refusal(
    'cannot-plan',
    `no device may have the node '${node}', which must be ${asked.map(({ says }) => says).join(' and ')}: change the pins or demands, or add such a device`,
  )
}

function workNode({ nodes }: ModelWork, members: readonly number[]): WorkNode {
  const sum = (of: (node: (typeof nodes)[number]) => number): number =>
    members.reduce((total, index) => total + of(nodes[index]!), 0)
  const { name } = nodes[members[0]!]!
  return {
    name: members.length === 1 ? name : `${name} and ${members.length - 1} more`,
    weightBytes: sum(({ weightBytes }) => weightBytes),
    scratchBytes: Math.max(...members.map((index) => nodes[index]!.scratchBytes)),
  }
}

function classOf(
  { nodes }: ModelWork,
  groups: readonly (readonly number[])[],
  allowed: readonly ReadonlySet<number>[],
  { devices, overhead }: Fleet,
  members: readonly number[],
  bits: ActivationBits,
): DeviceClass {
  const index = members[0]!
  const device = devices[index]!
  const timeOf = (node: number): number =>
    allowed[node]!.has(index) ? nodeTimeUs(device, nodes[node]!.name, nodes[node]!.us) : Infinity
  // A byte on the way stands for 32 / bits bytes of floats, each of which is made narrow here and wide again there.
  const narrowUs = bits === 32 ? 0 : (narrowByteUs * 32) / bits
  const cpu = ({ messageUs, byteUs }: Crossing): Crossing => ({
    messageUs: messageUs / device.speed,
    byteUs: (byteUs + narrowUs) / device.speed,
  })
  return {
    name: members.length === 1 ? device.name : [...new Set(members.map((one) => devices[one]!.group))].join(' or '),
    count: members.length,
    nodeUs: groups.map((group) => group.reduce((sum, node) => sum + timeOf(node), 0)),
    stageUs: overhead.stageUs / device.speed,
    open: cpu(overhead.open),
    seal: cpu(overhead.seal),
    memoryBytes: device.memoryBytes,
    sessionBytes: overhead.sessionBytes,
  }
}

/** The model's regions, over the problem's nodes; those that share a group with something outside are no longer regions. */
function regionsOf(
  work: ModelWork,
  groups: readonly (readonly number[])[],
  groupOf: ReadonlyMap<number, number>,
  kept: readonly number[],
): { index: number; region: Region }[] {
  const valueOf = new Map(kept.map((value, index) => [value, index]))
  return work.regions.flatMap((given, index) => {
    const { channels, granule } = given
    const members = new Set(given.nodes)
    if (!given.nodes.every((node) => groups[groupOf.get(node)!]!.every((other) => members.has(other)))) return []
    const grouped = (nodes: readonly number[]): number[] =>
      [...new Set(nodes.map((node) => groupOf.get(node)!))].sort((a, b) => a - b)
    const whole = new Set(given.divided)
    const divided = grouped(given.divided).filter((group) => groups[group]!.every((node) => whole.has(node)))
    const dividedInputs = given.dividedInputs.flatMap((value) => valueOf.get(value) ?? [])
    return [{ index, region: { nodes: grouped(given.nodes), channels, granule, divided, dividedInputs } }]
  })
}
