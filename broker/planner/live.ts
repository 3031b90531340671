/**
 * Puts the planner's question for the fleet that is here, by what was measured of it, and reads the answer. A stage is a run
 * of the canonical order between two legal cuts. Devices that are alike within the noise of measuring are one class.
 */

import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import type { NodeWork, ValueWork } from '#shared/onnx/work.js'
import { linkBetween, nodeUsOn, priced, usualLinkUs, type DeviceProfile, type Profiles } from './profile.js'
import type { Crossing, DeviceClass, Holding, Link, PlacedStage, Placement, Problem, Value } from './problem.js'
import { seat, type Held } from './seating.js'

/** A prepared model: what the hub found when it ran it. */
export interface LiveModel {
  /** SHA-256 of the prepared graph, in hex. */
  readonly hash: string
  readonly nodes: readonly NodeWork[]
  readonly values: readonly ValueWork[]
  /** On the hub, in microseconds. */
  readonly nodeUs: readonly number[]
  /** Places where it may be cut, ascending. */
  readonly cuts: readonly { readonly at: number }[]
}

export interface LiveProblem {
  readonly problem: Problem
  /** The nodes `[from, to)` of the model in each node of the problem. */
  readonly blocks: readonly { readonly from: number; readonly to: number }[]
  /** The devices of each class. */
  readonly classes: readonly (readonly DeviceId[])[]
}

/** A stage of the answer: the nodes `[from, to)` of the model, on a device, or on several that take requests in turn. */
export interface LiveStage {
  readonly from: number
  readonly to: number
  readonly devices: readonly DeviceId[]
}

/** Times that differ by no more are taken to be the same; so are links by twice as much. */
export const alikeWithin = 0.05

/**
 * The problem for `devices`, those that were measured; `maxReplicas` of them may take the requests of one stage in turn.
 * Throws `Refusal('cannot-plan')` where none was.
 */
export function poseLive(
  model: LiveModel,
  devices: readonly DeviceId[],
  known: Profiles,
  maxReplicas = 1,
): LiveProblem {
  const borders = [0, ...model.cuts.map(({ at }) => at), model.nodes.length]
  const blocks = borders.slice(1).map((to, index) => ({ from: borders[index]!, to }))
  const measured = devices.flatMap((device) => {
    const profile = known.devices.find((other) => other.device === device)
    const timed = { hash: model.hash, nodes: model.nodes.map(({ opType }, i) => ({ opType, hubUs: model.nodeUs[i]! })) }
    const nodeUs = nodeUsOn(known, device, timed)
    return profile === undefined || nodeUs === undefined ? [] : [{ device, profile, nodeUs }]
  })
  if (measured.length === 0) {
    throw new Refusal(
      'cannot-plan',
      `none of the ${devices.length} devices that are here was measured yet: wait for it`,
    )
  }
  const groups = alike(measured, known)
  const classes = groups.map((group) => group.map(({ device }) => device))
  const linkOf = (from: Measured | undefined, to: Measured | undefined): Link =>
    priced(linkBetween(known, from?.device, to?.device), (from ?? to)!.profile.seal, (to ?? from)!.profile.open)
  const problem: Problem = {
    nodes: blocks.map(({ from, to }) => blockOf(model.nodes.slice(from, to))),
    values: valuesBetween(model.values, blocks),
    classes: groups.map((group) => classOf(group, blocks)),
    links: groups.map((from, a) => groups.map((to, b) => linkOf(from[0], a === b ? (from[1] ?? from[0]!) : to[0]!))),
    fromClient: groups.map(([first]) => linkOf(undefined, first)),
    toClient: groups.map(([first]) => linkOf(first, undefined)),
    regions: [],
    shape: 'chain',
    maxReplicas,
    maxParts: 1,
  }
  return { problem, blocks, classes }
}

/** The stages of a placement in the model's nodes; each class's devices are seated so that what they hold stays. */
export function stagesOf(
  { blocks, classes }: LiveProblem,
  { stages }: Placement,
  nameOf: (from: number, to: number) => string,
  bytesOf: (from: number, to: number) => number,
  held: Held,
): LiveStage[] {
  const found = stages.map(({ nodes, holding }) => {
    // The space has no parts.
    const { class: index, count } = holding.kind === 'replicas' ? holding : { class: classOfOne(holding), count: 1 }
    return { from: blocks[nodes[0]!]!.from, to: blocks[nodes.at(-1)!]!.to, class: index, count }
  })
  const places = found.flatMap(({ from, to, class: index, count }) =>
    Array.from({ length: count }, () => ({ class: index, segment: nameOf(from, to), bytes: bytesOf(from, to) })),
  )
  const seats = seat(places, classes, held) as DeviceId[]
  let next = 0
  return found.map(({ from, to, count }) => ({ from, to, devices: seats.slice(next, (next += count)).sort() }))
}

function classOfOne(holding: Holding): number {
  if (holding.kind !== 'one') throw new RangeError(`a stage held by ${holding.kind}`)
  return holding.class
}

/**
 * The placement that has these stages, under another problem of the same model; `undefined` where a device is not in it.
 * Replicas that are no longer alike count as the slowest of them: requests go to them in turn.
 */
export function placementOf(
  { problem, blocks, classes }: LiveProblem,
  stages: readonly LiveStage[],
): Placement | undefined {
  const timeOf = (index: number): number => problem.classes[index]!.nodeUs.reduce((sum, us) => sum + us, 0)
  const placed = stages.map(({ from, to, devices }): PlacedStage | undefined => {
    const found = devices.map((device) => classes.findIndex((others) => others.includes(device)))
    if (found.length === 0 || found.includes(-1)) return undefined
    const index = found.reduce((slowest, other) => (timeOf(other) > timeOf(slowest) ? other : slowest))
    const nodes = [...blocks.keys()].filter((block) => blocks[block]!.from >= from && blocks[block]!.to <= to)
    const { length: count } = devices
    return { nodes, holding: count === 1 ? { kind: 'one', class: index } : { kind: 'replicas', class: index, count } }
  })
  const isWhole = (stage: PlacedStage | undefined): stage is PlacedStage => stage !== undefined
  return placed.every(isWhole) ? { stages: placed } : undefined
}

interface Measured {
  readonly device: DeviceId
  readonly profile: DeviceProfile
  readonly nodeUs: readonly number[]
}

function alike(devices: readonly Measured[], known: Profiles): Measured[][] {
  const timeOf = ({ nodeUs }: Measured): number => nodeUs.reduce((sum, us) => sum + us, 0)
  const isNear = (a: number, b: number, within: number): boolean => Math.abs(a - b) <= within * Math.max(a, b)
  const busyUs = (from: DeviceId, to: DeviceId): number => usualLinkUs(linkBetween(known, from, to))
  const isAlike = (a: Measured, b: Measured): boolean =>
    isNear(timeOf(a), timeOf(b), alikeWithin) &&
    a.nodeUs.every((us, node) => isNear(us, b.nodeUs[node]!, 4 * alikeWithin)) &&
    isNear(a.profile.memoryBytes, b.profile.memoryBytes, 2 * alikeWithin) &&
    devices.every(
      ({ device }) =>
        device === a.device ||
        device === b.device ||
        (isNear(busyUs(a.device, device), busyUs(b.device, device), 2 * alikeWithin) &&
          isNear(busyUs(device, a.device), busyUs(device, b.device), 2 * alikeWithin)),
    )
  const groups: Measured[][] = []
  for (const device of devices) {
    const home = groups.find((group) => group.every((other) => isAlike(other, device)))
    if (home === undefined) groups.push([device])
    else home.push(device)
  }
  return groups
}

/** The means of its devices, and the least of their memories. */
function classOf(group: readonly Measured[], blocks: LiveProblem['blocks']): DeviceClass {
  const mean = (of: (one: Measured) => number): number => group.reduce((sum, one) => sum + of(one), 0) / group.length
  const crossing = (of: (profile: DeviceProfile) => Crossing): Crossing => ({
    messageUs: mean(({ profile }) => of(profile).messageUs),
    byteUs: mean(({ profile }) => of(profile).byteUs),
  })
  return {
    name: group.map(({ profile }) => profile.name).join(', '),
    count: group.length,
    nodeUs: blocks.map(({ from, to }) => mean(({ nodeUs }) => nodeUs.slice(from, to).reduce((sum, us) => sum + us, 0))),
    stageUs: mean(({ profile }) => profile.stageUs),
    open: crossing(({ open }) => open),
    seal: crossing(({ seal }) => seal),
    memoryBytes: Math.min(...group.map(({ profile }) => profile.memoryBytes)),
    sessionBytes: Math.max(...group.map(({ profile }) => profile.sessionBytes)),
  }
}

function blockOf(nodes: readonly NodeWork[]): { name: string; weightBytes: number; scratchBytes: number } {
  const { name } = nodes[0]!
  return {
    name: nodes.length === 1 ? name : `${name} and ${nodes.length - 1} more`,
    weightBytes: nodes.reduce((sum, { weightBytes }) => sum + weightBytes, 0),
    scratchBytes: nodes.reduce((most, { scratchBytes }) => Math.max(most, scratchBytes), 0),
  }
}

/** What goes from block to block; and from each block to the next one nothing, which fixes their order. */
function valuesBetween(values: readonly ValueWork[], blocks: LiveProblem['blocks']): Value[] {
  const blockOfNode = blocks.flatMap(({ from, to }, block) => Array.from({ length: to - from }, () => block))
  const order = blocks.slice(1).map((_, index) => ({
    name: `order ${index}`,
    bytes: 0,
    from: index,
    to: [index + 1],
    isOutput: false,
  }))
  const crossing = values.flatMap(({ name, bytes, from, to, isOutput }) => {
    const maker = from === undefined ? undefined : blockOfNode[from]!
    const readers = [...new Set(to.map((node) => blockOfNode[node]!))].filter((block) => block !== maker)
    const isKept = isOutput || maker === undefined || readers.length > 0
    return isKept ? [{ name, bytes, from: maker, to: readers.sort((a, b) => a - b), isOutput }] : []
  })
  return [...crossing, ...order]
}
