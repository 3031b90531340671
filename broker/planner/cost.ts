/** What a placement costs: the definition that the search, its bounds and its oracles are held to. */

import type { Cost, Crossing, DeviceClass, Holding, Link, Placement, Problem, Region, Value } from './problem.js'
import { sharesOf } from './shares.js'

/** One member of a stage: the device, or one of the replicas for all of them, or a part. */
interface Member {
  readonly class: number
  /** Fraction of the region's channels; 1 for a whole stage. */
  readonly share: number
}

interface Held {
  readonly nodes: ReadonlySet<number>
  readonly members: readonly Member[]
  /** Devices that take requests in turn. */
  readonly turns: number
  readonly region: Region | undefined
}

/** What one member sends to another for one request. A stage of `undefined` is the client. */
interface Message {
  readonly from: number | undefined
  readonly sender: number
  readonly to: number | undefined
  readonly receiver: number
  readonly bytes: number
  /** What of `bytes` the sender has to seal for this message: all, unless an earlier one has the same value. */
  readonly sealBytes: number
}

/**
 * The cost of `placement`, which must be one of the space. Costs of `Infinity` where a device may not run a node or a link
 * may not be used; a memory share above 1, or `Infinity` where a region cannot be shared out, says that it does not fit.
 */
export function costOf(problem: Problem, placement: Placement): Cost {
  const held = placement.stages.map(({ nodes, holding }) => heldBy(problem, new Set(nodes), holding))
  const messages = messagesOf(problem, held)
  let periodUs = 0
  let memoryShare = 0
  /** When each member of each stage has its results sealed, for one request alone. */
  const doneUs: number[][] = []
  held.forEach((stage, index) => {
    doneUs[index] = stage.members.map((member, which) => {
      const comes = messages.filter(({ to, receiver }) => to === index && receiver === which)
      const goes = messages.filter(({ from, sender }) => from === index && sender === which)
      const kind = problem.classes[member.class]!
      const busyUs = computeUs(stage, member, kind) + openUs(kind.open, comes) + sealUs(kind.seal, goes)
      periodUs = Math.max(periodUs, busyUs / stage.turns)
      memoryShare = Math.max(memoryShare, memoryOf(problem, stage, member, comes, goes) / kind.memoryBytes)
      return startUs(comes) + busyUs
    })
  })
  for (const message of messages) {
    const turns = turnsOf(message.from) * turnsOf(message.to)
    periodUs = Math.max(periodUs, busyLinkUs(linkOf(message), message.bytes) / turns)
  }
  return { periodUs, latencyUs: startUs(messages.filter(({ to }) => to === undefined)), memoryShare }

  function turnsOf(stage: number | undefined): number {
    return stage === undefined ? 1 : held[stage]!.turns
  }

  function linkOf({ from, sender, to, receiver }: Message): Link | undefined {
    if (from === undefined) return problem.fromClient[held[to!]!.members[receiver]!.class]
    const source = held[from]!.members[sender]!.class
    return to === undefined ? problem.toClient[source] : problem.links[source]?.[held[to]!.members[receiver]!.class]
  }

  /** When the last of these messages has come. */
  function startUs(comes: readonly Message[]): number {
    let start = 0
    for (const message of comes) {
      const link = linkOf(message)
      const sentUs = message.from === undefined ? 0 : doneUs[message.from]![message.sender]!
      start = Math.max(start, sentUs + busyLinkUs(link, message.bytes) + (link?.latencyUs ?? Infinity))
    }
    return start
  }
}

function heldBy(problem: Problem, nodes: ReadonlySet<number>, holding: Holding): Held {
  if (holding.kind !== 'parts') {
    const turns = holding.kind === 'replicas' ? holding.count : 1
    return { nodes, members: [{ class: holding.class, share: 1 }], turns, region: undefined }
  }
  const region = problem.regions[holding.region]!
  const rooms = holding.classes.map((index) => roomFor(problem, region, problem.classes[index]!))
  const counts = sharesOf(problem, holding.region, holding.classes, rooms)
  const members = holding.classes.map((index, part) => ({
    class: index,
    share: (counts?.[part] ?? Infinity) / region.channels,
  }))
  return { nodes, members, turns: 1, region }
}

/** The fraction of a region that a device has memory for, with what comes and goes; more than 1 where it has plenty. */
export function roomFor(problem: Problem, region: Region, kind: DeviceClass): number {
  const divided = new Set(region.divided)
  const nodes = new Set(region.nodes)
  let fixed = kind.sessionBytes
  let shared = 0
  let scratch = 0
  for (const node of region.nodes) {
    const { weightBytes, scratchBytes } = problem.nodes[node]!
    if (divided.has(node)) shared += weightBytes
    else fixed += weightBytes
    // Taken as if it were not shared out: it is, at most.
    scratch = Math.max(scratch, scratchBytes)
  }
  for (const [index, value] of problem.values.entries()) {
    if (value.to.some((node) => nodes.has(node)) && !isWithin(value, nodes)) {
      if (region.dividedInputs.includes(index)) shared += 2 * value.bytes
      else fixed += 2 * value.bytes
    }
    if (isMadeIn(value, nodes) && leaves(value, nodes)) {
      if (divided.has(value.from!)) shared += 2 * value.bytes
      else fixed += 2 * value.bytes
    }
  }
  return shared === 0 ? Infinity : (kind.memoryBytes - fixed - scratch) / shared
}

function computeUs({ nodes, region }: Held, { share }: Member, { nodeUs, stageUs }: DeviceClass): number {
  const divided = region === undefined ? undefined : new Set(region.divided)
  let sum = stageUs
  for (const node of nodes) sum += nodeUs[node]! * (divided?.has(node) === true ? share : 1)
  return sum
}

function openUs({ messageUs, byteUs }: Crossing, messages: readonly Message[]): number {
  return messages.reduce((sum, { bytes }) => sum + messageUs + byteUs * bytes, 0)
}

function sealUs({ messageUs, byteUs }: Crossing, messages: readonly Message[]): number {
  return messages.reduce((sum, { sealBytes }) => sum + messageUs + byteUs * sealBytes, 0)
}

export function busyLinkUs(link: Link | undefined, bytes: number): number {
  return link === undefined ? Infinity : link.messageUs + link.byteUs * bytes
}

/** Weights, session, the hungriest node, and two of each message that comes or goes: one in use, one on its way. */
function memoryOf(
  problem: Problem,
  { nodes, region }: Held,
  { class: index, share }: Member,
  comes: readonly Message[],
  goes: readonly Message[],
): number {
  const divided = region === undefined ? undefined : new Set(region.divided)
  let weights = 0
  let scratch = 0
  for (const node of nodes) {
    const { weightBytes, scratchBytes } = problem.nodes[node]!
    weights += weightBytes * (divided?.has(node) === true ? share : 1)
    scratch = Math.max(scratch, scratchBytes)
  }
  const crossing = [...comes, ...goes].reduce((sum, { bytes }) => sum + bytes, 0)
  return problem.classes[index]!.sessionBytes + weights + scratch + 2 * crossing
}

function messagesOf(problem: Problem, held: readonly Held[]): Message[] {
  const found: Message[] = []
  const sealed = new Set<string>()
  const between = (from: number | undefined, to: number | undefined, values: readonly number[]): void => {
    const senders = from === undefined ? 1 : held[from]!.members.length
    const receivers = to === undefined ? 1 : held[to]!.members.length
    for (let sender = 0; sender < senders; sender++) {
      for (let receiver = 0; receiver < receivers; receiver++) {
        let isSent = problem.shape === 'chain' && sender === 0 && receiver === 0
        let bytes = 0
        let sealBytes = 0
        for (const value of values) {
          const part =
            (from === undefined ? 1 : shareSent(problem, held[from]!, sender, value)) *
            (to === undefined ? 1 : shareNeeded(problem, held, to, receiver, value))
          bytes += part * problem.values[value]!.bytes
          if (problem.sealedOnce !== true || !sealed.has(`${from} ${value}`))
            sealBytes += part * problem.values[value]!.bytes
          sealed.add(`${from} ${value}`)
          isSent ||= part > 0
        }
        if (isSent) found.push({ from, sender, to, receiver, bytes, sealBytes })
      }
    }
  }
  if (problem.shape === 'chain') {
    for (let next = 0; next <= held.length; next++) {
      const from = next === 0 ? undefined : next - 1
      between(from, next === held.length ? undefined : next, aliveBefore(problem, held, next))
    }
    return found
  }
  const stageOf = new Map(held.flatMap(({ nodes }, index) => [...nodes].map((node) => [node, index] as const)))
  const edges = new Map<string, { from: number | undefined; to: number | undefined; values: number[] }>()
  for (const [index, { from, to, isOutput }] of problem.values.entries()) {
    const source = from === undefined ? undefined : stageOf.get(from)
    const readers: (number | undefined)[] = [...new Set(to.map((node) => stageOf.get(node)))]
    if (isOutput) readers.push(undefined)
    for (const reader of readers) {
      if (reader === source) continue
      const name = `${source} ${reader}`
      const edge = edges.get(name) ?? { from: source, to: reader, values: [] }
      edges.set(name, edge)
      edge.values.push(index)
    }
  }
  for (const { from, to, values } of edges.values()) between(from, to, values)
  return found
}

/** The values that are alive before stage `next` of a chain: made earlier (or given), and used from there on. */
function aliveBefore({ values }: Problem, held: readonly Held[], next: number): number[] {
  const alive: number[] = []
  const earlier = held.slice(0, next)
  for (const [index, value] of values.entries()) {
    const isMade = value.from === undefined || earlier.some(({ nodes }) => nodes.has(value.from!))
    const isNeeded = value.isOutput || value.to.some((node) => !earlier.some(({ nodes }) => nodes.has(node)))
    if (isMade && isNeeded) alive.push(index)
  }
  return alive
}

/** The fraction of a value that a member has to send: its channels of what was parted there; else the first has it whole. */
function shareSent({ values }: Problem, { nodes, members, region }: Held, member: number, value: number): number {
  const { from } = values[value]!
  if (region !== undefined && from !== undefined && nodes.has(from) && region.divided.includes(from)) {
    return members[member]!.share
  }
  return member === 0 ? 1 : 0
}

/** The fraction of a value that a member needs: to compute, or (the first) to pass it on along the chain. */
function shareNeeded(problem: Problem, held: readonly Held[], stage: number, member: number, value: number): number {
  const { nodes, members, region } = held[stage]!
  const { to, isOutput } = problem.values[value]!
  if (region === undefined) return 1
  const ridesOn =
    problem.shape === 'chain' &&
    (isOutput || to.some((node) => held.some((other, index) => index > stage && other.nodes.has(node))))
  if (ridesOn && member === 0) return 1
  if (!to.some((node) => nodes.has(node))) return 0
  return region.dividedInputs.includes(value) ? members[member]!.share : 1
}

function isMadeIn({ from }: Value, nodes: ReadonlySet<number>): boolean {
  return from !== undefined && nodes.has(from)
}

function isWithin(value: Value, nodes: ReadonlySet<number>): boolean {
  return isMadeIn(value, nodes) && !leaves(value, nodes)
}

function leaves({ to, isOutput }: Value, nodes: ReadonlySet<number>): boolean {
  return isOutput || to.some((node) => !nodes.has(node))
}
