/**
 * What a stage costs on one device, as a function of the ideals before and after it, where it is not parted and neither are
 * its neighbours. In shape 'chain' that is the truth. In shape 'dag' what goes out depends on where the readers are placed:
 * here it goes to one other stage (and to the client), so the costs are **at most** the true ones: a bound.
 */

import type { Ideals } from './ideals.js'
import { hasNode } from './ideals.js'
import type { Problem } from './problem.js'

export interface StageCosts {
  /** Bytes that cross after each ideal in shape 'chain'. */
  readonly borderBytes: Float64Array
  /** Busy time of a device of class `kind` that holds what ideal `to` has more than `from`; `Infinity` if it may not. */
  readonly busyUs: (kind: number, from: number, to: number) => number
  /** Compute time alone, `Infinity` where the weights are too many: never more than `busyUs`, and never less for more nodes. */
  readonly computeUs: (kind: number, from: number, to: number) => number
  /** Memory that it takes there. */
  readonly memoryBytes: (kind: number, from: number, to: number) => number
}

export function stageCostsOf(problem: Problem, ideals: Ideals): StageCosts {
  const { classes, nodes } = problem
  const { count, parent, node } = ideals
  const isChain = problem.shape === 'chain'
  const us = classes.map(() => new Float64Array(count))
  const barred = classes.map(() => new Int32Array(count))
  const weights = new Float64Array(count)
  for (let ideal = 1; ideal < count; ideal++) {
    const [before, added] = [parent[ideal]!, node[ideal]!]
    weights[ideal] = weights[before]! + nodes[added]!.weightBytes
    for (const [kind, { nodeUs }] of classes.entries()) {
      const time = nodeUs[added]!
      us[kind]![ideal] = us[kind]![before]! + (time === Infinity ? 0 : time)
      barred[kind]![ideal] = barred[kind]![before]! + (time === Infinity ? 1 : 0)
    }
  }
  const scratch = Float64Array.from(nodes, ({ scratchBytes }) => scratchBytes)
  const mostScratch = scratch.reduce((most, bytes) => Math.max(most, bytes), 0)
  const borderBytes = isChain ? bordersOf(problem, ideals) : new Float64Array(0)
  const crossing = isChain ? undefined : new Crossings(problem, ideals)

  function memoryBytes(kind: number, from: number, to: number): number {
    const crossed =
      crossing === undefined
        ? borderBytes[from]! + borderBytes[to]!
        : crossing.comes(from, to) + crossing.goes(from, to)
    return classes[kind]!.sessionBytes + weights[to]! - weights[from]! + scratchBetween(from, to) + 2 * crossed
  }

  function scratchBetween(from: number, to: number): number {
    const { bits, words } = ideals
    let most = 0
    for (let word = 0; word < words; word++) {
      let left = bits[to * words + word]! & ~bits[from * words + word]!
      while (left !== 0) {
        const bytes = scratch[word * 32 + 31 - Math.clz32(left & -left)]!
        if (bytes > most) most = bytes
        left &= left - 1
      }
    }
    return most
  }

  function computeUs(kind: number, from: number, to: number): number {
    if (barred[kind]![to]! > barred[kind]![from]!) return Infinity
    const { sessionBytes, memoryBytes: limit } = classes[kind]!
    if (sessionBytes + weights[to]! - weights[from]! > limit) return Infinity
    return us[kind]![to]! - us[kind]![from]!
  }

  function busyUs(kind: number, from: number, to: number): number {
    const { stageUs, open, seal, memoryBytes: limit, sessionBytes } = classes[kind]!
    const compute = computeUs(kind, from, to)
    if (compute === Infinity) return Infinity
    let comes: number
    let goes: number
    let busy = stageUs + compute
    let kept: number
    if (crossing === undefined) {
      comes = borderBytes[from]!
      goes = borderBytes[to]!
      kept = goes
      busy += open.messageUs + seal.messageUs
    } else {
      comes = crossing.comes(from, to)
      if (crossing.messages > 0) busy += open.messageUs
      kept = crossing.goes(from, to)
      goes = crossing.sealed
      busy += seal.messageUs * crossing.messages
    }
    const most = sessionBytes + weights[to]! - weights[from]! + mostScratch + 2 * (comes + kept)
    // The hungriest node of all is rarely in the stage: looked at closely only where it would matter.
    if (most > limit && most - mostScratch + scratchBetween(from, to) > limit) return Infinity
    return busy + open.byteUs * comes + seal.byteUs * goes
  }

  return { borderBytes, busyUs, computeUs, memoryBytes }
}

/** Bytes alive after each ideal: made or given there, and used later. */
function bordersOf({ values, nodes }: Problem, ideals: Ideals): Float64Array {
  const { count, parent, node } = ideals
  const borders = new Float64Array(count)
  const made: number[][] = nodes.map(() => [])
  const read: number[][] = nodes.map(() => [])
  for (const [index, { from, to, isOutput, bytes }] of values.entries()) {
    if (from === undefined) {
      if (isOutput || to.length > 0) borders[0]! += bytes
    } else if (isOutput || to.length > 0) made[from]!.push(index)
    if (!isOutput) for (const reader of to) read[reader]!.push(index)
  }
  for (let ideal = 1; ideal < count; ideal++) {
    let bytes = borders[parent[ideal]!]!
    for (const value of made[node[ideal]!]!) bytes += values[value]!.bytes
    for (const value of read[node[ideal]!]!) {
      if (values[value]!.to.every((reader) => hasNode(ideals, ideal, reader))) bytes -= values[value]!.bytes
    }
    borders[ideal] = bytes
  }
  return borders
}

/** What crosses in shape 'dag', at least. */
class Crossings {
  /** Messages, and bytes to seal, of what was asked last. */
  messages = 0
  sealed = 0
  readonly #ideals: Ideals
  readonly #bytes: Float64Array
  readonly #from: Int32Array
  readonly #readers: readonly (readonly number[])[]
  readonly #isOutput: readonly boolean[]
  readonly #sealedOnce: boolean
  /** Values alive after each ideal: row `i` is `[start[i], start[i + 1])`. */
  readonly #start: Int32Array
  readonly #alive: Int32Array

  constructor({ values, sealedOnce }: Problem, ideals: Ideals) {
    this.#ideals = ideals
    this.#sealedOnce = sealedOnce === true
    this.#bytes = Float64Array.from(values, ({ bytes }) => bytes)
    this.#from = Int32Array.from(values, ({ from }) => from ?? -1)
    this.#readers = values.map(({ to }) => to)
    this.#isOutput = values.map(({ isOutput }) => isOutput)
    this.#start = new Int32Array(ideals.count + 1)
    const alive: number[] = []
    for (let ideal = 0; ideal < ideals.count; ideal++) {
      for (const [index, { from, to, isOutput }] of values.entries()) {
        if (from !== undefined && !hasNode(ideals, ideal, from)) continue
        if (isOutput || to.some((reader) => !hasNode(ideals, ideal, reader))) alive.push(index)
      }
      this.#start[ideal + 1] = alive.length
    }
    this.#alive = Int32Array.from(alive)
  }

  /** Bytes that come to the stage between two ideals. */
  comes(from: number, to: number): number {
    let bytes = 0
    this.messages = 0
    for (let at = this.#start[from]!; at < this.#start[from + 1]!; at++) {
      const value = this.#alive[at]!
      const readers = this.#readers[value]!
      for (let index = 0; index < readers.length; index++) {
        const reader = readers[index]!
        if (!hasNode(this.#ideals, to, reader) || hasNode(this.#ideals, from, reader)) continue
        bytes += this.#bytes[value]!
        this.messages = 1
        break
      }
    }
    return bytes
  }

  /** Bytes that go from the stage between two ideals: once to the client, and once to one stage that needs them. */
  goes(from: number, to: number): number {
    let bytes = 0
    let toClient = 0
    let toStage = 0
    this.sealed = 0
    for (let at = this.#start[to]!; at < this.#start[to + 1]!; at++) {
      const value = this.#alive[at]!
      const maker = this.#from[value]!
      if (maker === -1 || hasNode(this.#ideals, from, maker)) continue
      const readers = this.#readers[value]!
      // Readers ascend, but a late ideal may hold a late node without an early one: all are looked at.
      let isRead = false
      for (let index = 0; index < readers.length && !isRead; index++)
        isRead = !hasNode(this.#ideals, to, readers[index]!)
      const times = (isRead ? 1 : 0) + (this.#isOutput[value]! ? 1 : 0)
      if (isRead) toStage = 1
      if (this.#isOutput[value]!) toClient = 1
      bytes += times * this.#bytes[value]!
      this.sealed += (this.#sealedOnce ? 1 : times) * this.#bytes[value]!
    }
    this.messages = toClient + toStage
    return bytes
  }
}
