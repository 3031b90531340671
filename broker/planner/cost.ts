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
export interface Message {
  readonly from: number | undefined
  readonly sender: number
  readonly to: number | undefined
  readonly receiver: number
  readonly bytes: number
  /** What of `bytes` the sender has to seal for this message: all, unless an earlier one has the same value. */
  readonly sealBytes: number
  /** The values in it, with the fraction of each. */
  readonly values: readonly { readonly value: number; readonly part: number }[]
}

/** What one device, or one of several replicas, does for one request. Times in microseconds. */
export interface MemberLoad {
  readonly stage: number
  /** Of a stage in parts, which part; else 0. */
  readonly part: number
  readonly class: number
  /** Fraction of the region's channels; 1 for a whole stage. */
  readonly share: number
  /** Devices that take requests in turn. */
  readonly turns: number
  readonly computeUs: number
  readonly openUs: number
  readonly sealUs: number
  readonly memoryBytes: number
  /** For one request alone: when all it needs has come, and when its results are sealed. */
  readonly startUs: number
  readonly doneUs: number
}

/** What one link does for one request. */
export interface MessageLoad extends Message {
  readonly link: Link | undefined
  readonly busyUs: number
  /** Among so many pairs of devices requests go in turn. */
  readonly turns: number
  /** For one request alone: when it has come. */
  readonly comeUs: number
}

export interface Load {
  readonly cost: Cost
  readonly members: readonly MemberLoad[]
  readonly messages: readonly MessageLoad[]
}

/**
 * The cost of `placement`, which must be one of the space. Period and latency are `Infinity` where a device may not run a
 * node or a link may not be used; a memory share above 1 says that it does not fit. All three are `Infinity` where a region
 * cannot be shared out.
 */
export function costOf(problem: Problem, placement: Placement): Cost {
  return loadOf(problem, placement).cost
}

/** The same, with what each device and each link has to do with it; with no loads where a region cannot be shared out. */
export function loadOf(problem: Problem, placement: Placement): Load {
  const held: Held[] = []
  for (const { nodes, holding } of placement.stages) {
    const stage = heldBy(problem, new Set(nodes), holding)
    if (stage === undefined) {
      return { cost: { periodUs: Infinity, latencyUs: Infinity, memoryShare: Infinity }, members: [], messages: [] }
    }
    held.push(stage)
  }
  const messages = messagesOf(problem, held)
  const members: MemberLoad[] = []
  const loads: MessageLoad[] = []
  let periodUs = 0
  let memoryShare = 0
  /** When each member of each stage has its results sealed, for one request alone. */
  const doneUs: number[][] = []
  held.forEach((stage, index) => {
    doneUs[index] = stage.members.map((member, which) => {
      const comes = messages.filter(({ to, receiver }) => to === index && receiver === which)
      const goes = messages.filter(({ from, sender }) => from === index && sender === which)
      const kind = problem.classes[member.class]!
      const load = {
        stage: index,
        part: which,
        class: member.class,
        share: member.share,
        turns: stage.turns,
        computeUs: computeUs(stage, member, kind),
        openUs: openUs(kind.open, comes),
        sealUs: sealUs(kind.seal, goes),
        memoryBytes: memoryOf(problem, stage, member, comes, goes),
        startUs: allCome(comes),
      }
      const busyUs = load.computeUs + load.openUs + load.sealUs
      periodUs = Math.max(periodUs, busyUs / stage.turns)
      memoryShare = Math.max(memoryShare, load.memoryBytes / kind.memoryBytes)
      members.push({ ...load, doneUs: load.startUs + busyUs })
      return load.startUs + busyUs
    })
  })
  const resultUs = allCome(messages.filter(({ to }) => to === undefined))
  for (const { busyUs, turns } of loads) periodUs = Math.max(periodUs, busyUs / turns)
  // A branch that leads to no output delays nothing, but a request that ends there ends nowhere.
  const latencyUs = periodUs === Infinity ? Infinity : resultUs
  return { cost: { periodUs, latencyUs, memoryShare }, members, messages: loads }

  /** When the last of these messages has come. */
  function allCome(comes: readonly Message[]): number {
    let start = 0
    for (const message of comes) {
      const { from, sender, to, bytes } = message
      const link = linkOf(message)
      const busyUs = busyLinkUs(link, bytes)
      const sentUs = from === undefined ? 0 : doneUs[from]![sender]!
      const comeUs = sentUs + busyUs + (link?.latencyUs ?? Infinity)
      loads.push({ ...message, link, busyUs, turns: turnsBetween(turnsOf(from), turnsOf(to)), comeUs })
      start = Math.max(start, comeUs)
    }
    return start
  }

  function turnsOf(stage: number | undefined): number {
    return stage === undefined ? 1 : held[stage]!.turns
  }

  function linkOf({ from, sender, to, receiver }: Message): Link | undefined {
    if (from === undefined) return problem.fromClient[held[to!]!.members[receiver]!.class]
    const source = held[from]!.members[sender]!.class
    return to === undefined ? problem.toClient[source] : problem.links[source]?.[held[to]!.members[receiver]!.class]
  }
}

/**
 * Every so many requests one link between replicas that take requests in turn has a message, where `from` replicas send and
 * `to` receive: request `r` goes from number `r mod from` to number `r mod to`. Not the product: of two and two replicas
 * only two pairs ever meet.
 */
export function turnsBetween(from: number, to: number): number {
  let [divisor, rest] = [from, to]
  while (rest > 0) [divisor, rest] = [rest, divisor % rest]
  return (from / divisor) * to
}

/** `undefined` where a region cannot be shared out. */
function heldBy(problem: Problem, nodes: ReadonlySet<number>, holding: Holding): Held | undefined {
  if (holding.kind !== 'parts') {
    const turns = holding.kind === 'replicas' ? holding.count : 1
    return { nodes, members: [{ class: holding.class, share: 1 }], turns, region: undefined }
  }
  const region = problem.regions[holding.region]!
  const rooms = holding.classes.map((index) => roomFor(problem, region, problem.classes[index]!))
  const counts = sharesOf(problem, holding.region, holding.classes, rooms)
  if (counts === undefined) return undefined
  const members = holding.classes.map((index, part) => ({ class: index, share: counts[part]! / region.channels }))
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
    if (value.to.some((node) => nodes.has(node)) && !isMadeIn(value, nodes)) {
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
        const sent: { value: number; part: number }[] = []
        for (const value of values) {
          const part =
            (from === undefined ? 1 : shareSent(problem, held[from]!, sender, value)) *
            (to === undefined ? 1 : shareNeeded(problem, held, to, receiver, value))
          bytes += part * problem.values[value]!.bytes
          if (problem.sealedOnce !== true || !sealed.has(`${from} ${value}`))
            sealBytes += part * problem.values[value]!.bytes
          sealed.add(`${from} ${value}`)
          isSent ||= part > 0
          if (part > 0) sent.push({ value, part })
        }
        if (isSent) found.push({ from, sender, to, receiver, bytes, sealBytes, values: sent })
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

function leaves({ to, isOutput }: Value, nodes: ReadonlySet<number>): boolean {
  return isOutput || to.some((node) => !nodes.has(node))
}
