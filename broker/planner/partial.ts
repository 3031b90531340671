/**
 * A placement that grows stage by stage, with bounds on what it will cost: all that is known so far, and for what still has to
 * go to stages that are not there yet, that it goes once. With all nodes placed the bounds are the cost (`cost.ts`).
 */

import { hasNode, nodesBetween, type Ideals } from './ideals.js'
import type { Piece } from './piece.js'
import type { Link, PlacedStage, Problem } from './problem.js'
import { leastTimes } from './bound.js'
import { busyLinkUs, turnsBetween } from './cost.js'
import type { TimeLeft } from './time-left.js'

interface Message {
  /** -1: the client. */
  readonly sender: number
  readonly receiver: number
  readonly delayUs: number
}

/** Members of all stages are numbered as they come; `base` is the first of a stage. */
interface Placed {
  readonly piece: Piece
  readonly base: number
  /** Values made here that go on to other stages. */
  readonly goes: readonly number[]
  /** Where its messages start; those to the client that it sends come after those that it gets. */
  readonly messages: number
}

export class Partial {
  readonly problem: Problem
  readonly ideals: Ideals
  /** Bounds, after `bound()`. */
  periodUs = 0
  latencyUs = 0
  memoryShare = 0
  readonly #stages: Placed[] = []
  readonly #messages: Message[] = []
  /** By number of stages: what members have done and sent so far. */
  readonly #busyUs: Float64Array[] = []
  readonly #crossed: Float64Array[] = []
  readonly #linkUs: number[] = [0]
  readonly #sealed: Uint8Array[] = []
  readonly #doneUs: Float64Array
  readonly #alive: (readonly number[] | undefined)[] = []
  readonly #leastUs: Float64Array
  readonly #tailUs: Float64Array
  readonly #restUs: Float64Array
  readonly #isChain: boolean
  readonly #left: TimeLeft | undefined

  constructor(problem: Problem, ideals: Ideals, left: TimeLeft | undefined) {
    this.#left = left
    this.problem = problem
    this.ideals = ideals
    this.#isChain = problem.shape === 'chain'
    const devices = problem.classes.reduce((sum, { count }) => sum + count, 0)
    const members = Math.min(devices, problem.nodes.length * Math.max(1, problem.maxParts))
    this.#doneUs = new Float64Array(members)
    this.#busyUs.push(new Float64Array(members))
    this.#crossed.push(new Float64Array(members))
    this.#sealed.push(new Uint8Array(problem.sealedOnce === true ? problem.values.length : 0))
    this.#leastUs = leastTimes(problem)
    this.#tailUs = tailsOf(problem, this.#leastUs)
    this.#restUs = new Float64Array(ideals.count)
    for (let ideal = 1; ideal < ideals.count; ideal++) {
      this.#restUs[ideal] = this.#restUs[ideals.parent[ideal]!]! + this.#leastUs[ideals.node[ideal]!]!
    }
    const all = this.#restUs[ideals.count - 1]!
    for (let ideal = 0; ideal < ideals.count; ideal++) this.#restUs[ideal] = all - this.#restUs[ideal]!
  }

  get stages(): readonly PlacedStage[] {
    return this.#stages.map(({ piece: { from, to, holding } }) => ({
      nodes: nodesBetween(this.ideals, from, to),
      holding,
    }))
  }

  get last(): Piece | undefined {
    return this.#stages.at(-1)?.piece
  }

  push(piece: Piece): void {
    const depth = this.#stages.length
    const before = this.#stages.at(-1)
    const base = before === undefined ? 0 : before.base + before.piece.classes.length
    this.#busyUs[depth + 1] ??= new Float64Array(this.#doneUs.length)
    this.#crossed[depth + 1] ??= new Float64Array(this.#doneUs.length)
    this.#sealed[depth + 1] ??= new Uint8Array(this.#sealed[0]!.length)
    this.#busyUs[depth + 1]!.set(this.#busyUs[depth]!)
    this.#crossed[depth + 1]!.set(this.#crossed[depth]!)
    this.#sealed[depth + 1]!.set(this.#sealed[depth]!)
    this.#linkUs[depth + 1] = this.#linkUs[depth]!
    piece.computeUs.forEach((us, member) => {
      this.#busyUs[depth + 1]![base + member] = us
      this.#crossed[depth + 1]![base + member] = 0
    })
    const { values } = this.problem
    const isLast = piece.to === this.ideals.count - 1
    const goes = this.#isChain
      ? []
      : this.#aliveAfter(piece.to).filter((value) => {
          const { from, to } = values[value]!
          return this.#isMadeIn(piece, from) && to.some((node) => !hasNode(this.ideals, piece.to, node))
        })
    this.#stages.push({ piece, base, goes, messages: this.#messages.length })
    if (this.#isChain) {
      this.#send(before, this.#stages[depth], this.#aliveAfter(piece.from))
      if (isLast) this.#send(this.#stages[depth], undefined, this.#aliveAfter(piece.to))
      return
    }
    const bySource = new Map<number, number[]>()
    for (const value of this.#aliveAfter(piece.from)) {
      const { from, to } = values[value]!
      if (!to.some((node) => this.#isMadeIn(piece, node))) continue
      const source = from === undefined ? -1 : this.#stages.findIndex(({ piece }) => this.#isMadeIn(piece, from))
      const carried = bySource.get(source)
      if (carried === undefined) bySource.set(source, [value])
      else carried.push(value)
    }
    for (const [source, carried] of bySource) this.#send(this.#stages[source], this.#stages[depth], carried)
    const outputs = this.#aliveAfter(piece.to).filter((value) => {
      return values[value]!.isOutput && this.#isMadeIn(piece, values[value]!.from)
    })
    if (outputs.length > 0) this.#send(this.#stages[depth], undefined, outputs)
  }

  pop(): void {
    this.#messages.length = this.#stages.pop()!.messages
  }

  /** Sets `periodUs`, `latencyUs` and `memoryShare`. */
  bound(): void {
    const depth = this.#stages.length
    const { classes, values } = this.problem
    const [busyUs, crossed, sealed] = [this.#busyUs[depth]!, this.#crossed[depth]!, this.#sealed[depth]!]
    const at = depth === 0 ? 0 : this.#stages[depth - 1]!.piece.to
    let period = this.#linkUs[depth]!
    let memory = 0
    let latency = 0
    for (let index = 0; index < depth; index++) {
      const { piece, base, goes, messages } = this.#stages[index]!
      const end = this.#stages[index + 1]?.messages ?? this.#messages.length
      let tail = -Infinity
      for (let member = 0; member < piece.classes.length; member++) {
        const { seal, memoryBytes } = classes[piece.classes[member]!]!
        let bytes = 0
        let sealBytes = 0
        let isSent = false
        if (this.#isChain) {
          if (index === depth - 1 && at !== this.ideals.count - 1) {
            isSent = member === 0
            for (const value of this.#aliveAfter(at)) {
              const share = this.#shareSent(piece, member, value)
              bytes += share * values[value]!.bytes
              isSent ||= share > 0
            }
            sealBytes = bytes
            tail = this.#tailAfter(piece, at)
          }
        } else {
          for (const value of goes) {
            const { to, bytes: size } = values[value]!
            let isRead = false
            let rest = -Infinity
            for (const node of to) {
              if (hasNode(this.ideals, at, node)) continue
              isRead = true
              rest = Math.max(rest, this.#tailUs[node]!)
            }
            const share = isRead ? this.#shareSent(piece, member, value) : 0
            if (share === 0) continue
            tail = Math.max(tail, rest)
            bytes += share * size
            if (sealed.length === 0 || sealed[value] === 0) sealBytes += share * size
            isSent = true
          }
        }
        const busy = busyUs[base + member]! + (isSent ? seal.messageUs + seal.byteUs * sealBytes : 0)
        let start = 0
        for (let next = messages; next < end; next++) {
          const { sender, receiver, delayUs } = this.#messages[next]!
          if (receiver === base + member) start = Math.max(start, delayUs + (sender === -1 ? 0 : this.#doneUs[sender]!))
        }
        this.#doneUs[base + member] = start + busy
        period = Math.max(period, busy / piece.turns)
        memory = Math.max(memory, (piece.fixedBytes[member]! + 2 * (crossed[base + member]! + bytes)) / memoryBytes)
        if (isSent) latency = Math.max(latency, start + busy + tail)
      }
    }
    for (const { sender, receiver, delayUs } of this.#messages) {
      if (receiver === -1) latency = Math.max(latency, this.#doneUs[sender]! + delayUs)
    }
    this.periodUs = period
    this.latencyUs = latency
    this.memoryShare = memory
  }

  /** What decides, together with the last piece, the devices taken and the nodes held, what may still come: less is better. */
  standing(into: number[]): void {
    const depth = this.#stages.length
    const { piece, base, messages } = this.#stages[depth - 1]!
    into.length = 0
    into.push(this.periodUs, this.memoryShare)
    for (let member = base; member < base + piece.classes.length; member++) {
      let start = 0
      for (let next = messages; next < this.#messages.length; next++) {
        const { sender, receiver, delayUs } = this.#messages[next]!
        if (receiver === member) start = Math.max(start, delayUs + (sender === -1 ? 0 : this.#doneUs[sender]!))
      }
      into.push(this.#busyUs[depth]![member]!, this.#crossed[depth]![member]!, start)
    }
  }

  /** Messages from every member of one stage to every member of another; `undefined` is the client. */
  #send(from: Placed | undefined, to: Placed | undefined, carried: readonly number[]): void {
    const { classes, values } = this.problem
    const depth = this.#stages.length
    const [busyUs, crossed, sealed] = [this.#busyUs[depth]!, this.#crossed[depth]!, this.#sealed[depth]!]
    const senders = from?.piece.classes.length ?? 1
    const receivers = to?.piece.classes.length ?? 1
    const turns = turnsBetween(from?.piece.turns ?? 1, to?.piece.turns ?? 1)
    for (let sender = 0; sender < senders; sender++) {
      for (let receiver = 0; receiver < receivers; receiver++) {
        let isSent = this.#isChain && sender === 0 && receiver === 0
        let bytes = 0
        let sealBytes = 0
        for (const value of carried) {
          const sent = from === undefined ? 1 : this.#shareSent(from.piece, sender, value)
          const part = sent === 0 || to === undefined ? sent : sent * this.#shareNeeded(to.piece, receiver, value)
          if (part === 0) continue
          isSent = true
          bytes += part * values[value]!.bytes
          if (sealed.length === 0 || sealed[value] === 0) sealBytes += part * values[value]!.bytes
        }
        if (!isSent) continue
        const link = this.#link(from?.piece.classes[sender], to?.piece.classes[receiver])
        const linkUs = busyLinkUs(link, bytes)
        this.#linkUs[depth] = Math.max(this.#linkUs[depth]!, linkUs / turns)
        this.#messages.push({
          sender: from === undefined ? -1 : from.base + sender,
          receiver: to === undefined ? -1 : to.base + receiver,
          delayUs: linkUs + (link?.latencyUs ?? Infinity),
        })
        if (from !== undefined) {
          const { seal } = classes[from.piece.classes[sender]!]!
          busyUs[from.base + sender]! += seal.messageUs + seal.byteUs * sealBytes
          crossed[from.base + sender]! += bytes
        }
        if (to !== undefined) {
          const { open } = classes[to.piece.classes[receiver]!]!
          busyUs[to.base + receiver]! += open.messageUs + open.byteUs * bytes
          crossed[to.base + receiver]! += bytes
        }
      }
    }
    if (sealed.length > 0 && from !== undefined) for (const value of carried) sealed[value] = 1
  }

  /** In a chain: no less time is left after this stage. */
  #tailAfter({ region, classes }: Piece, ideal: number): number {
    if (this.#left === undefined) return this.#restUs[ideal]!
    const { after, afterParts } = this.#left
    return region === undefined ? after[classes[0]! * this.ideals.count + ideal]! : afterParts[ideal]!
  }

  #link(from: number | undefined, to: number | undefined): Link | undefined {
    const { links, fromClient, toClient } = this.problem
    return from === undefined ? fromClient[to!] : to === undefined ? toClient[from] : links[from]![to]
  }

  #shareSent(piece: Piece, member: number, value: number): number {
    const { from } = this.problem.values[value]!
    if (piece.region !== undefined && this.#isMadeIn(piece, from) && piece.region.divided.includes(from!)) {
      return piece.shares[member]!
    }
    return member === 0 ? 1 : 0
  }

  #shareNeeded(piece: Piece, member: number, value: number): number {
    if (piece.region === undefined) return 1
    const { to, isOutput } = this.problem.values[value]!
    const ridesOn = this.#isChain && (isOutput || to.some((node) => !hasNode(this.ideals, piece.to, node)))
    if (ridesOn && member === 0) return 1
    if (!to.some((node) => this.#isMadeIn(piece, node))) return 0
    return piece.region.dividedInputs.includes(value) ? piece.shares[member]! : 1
  }

  #isMadeIn({ from, to }: Piece, node: number | undefined): boolean {
    return node !== undefined && hasNode(this.ideals, to, node) && !hasNode(this.ideals, from, node)
  }

  /** Values that are made (or given) before the end of an ideal and used after it. */
  #aliveAfter(ideal: number): readonly number[] {
    return (this.#alive[ideal] ??= this.problem.values.flatMap(({ from, to, isOutput }, value) => {
      if (from !== undefined && !hasNode(this.ideals, ideal, from)) return []
      return isOutput || to.some((node) => !hasNode(this.ideals, ideal, node)) ? [value] : []
    }))
  }
}

/** By node: no result that needs it comes sooner after it was started; -Infinity where none needs it. */
function tailsOf({ nodes, values }: Problem, leastUs: Float64Array): Float64Array {
  const tails = new Float64Array(nodes.length).fill(-Infinity)
  const made: number[][] = nodes.map(() => [])
  values.forEach(({ from }, value) => {
    if (from !== undefined) made[from]!.push(value)
  })
  for (let node = nodes.length - 1; node >= 0; node--) {
    let rest = -Infinity
    for (const value of made[node]!) {
      if (values[value]!.isOutput) rest = Math.max(rest, 0)
      for (const reader of values[value]!.to) rest = Math.max(rest, tails[reader]!)
    }
    tails[node] = leastUs[node]! + rest
  }
  return tails
}
