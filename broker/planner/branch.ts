/**
 * Branch and bound over whole placements, stage by stage: for what a path of stages cannot price, which are the messages of
 * shape 'dag' and of parted stages. Exact if it comes to its end.
 */

import { nodesBetween, hasNode, isSubset, type Ideals } from './ideals.js'
import { hostsOf } from './hosts.js'
import { isLegal, valueOf } from './objective.js'
import { Partial } from './partial.js'
import { pieceOf, type Piece } from './piece.js'
import type { TimeLeft } from './time-left.js'
import type { Holding, Objective, Placement, Problem } from './problem.js'

export interface Branching {
  readonly objective: Objective
  /** Only placements with a value below it are looked for. */
  readonly below: number
  /** Only those with a period below it. */
  readonly limitUs: number
  /** Proven of every placement: no period is less. */
  readonly periodFloorUs: number
  /** A value that no placement is below: what reaches it ends the search. */
  readonly floor: number
  /** Stages that are tried at most. */
  readonly tries: number
  readonly isLate: () => boolean
  /** By class, the most work that a device can hold with a period below a limit, if that is known. */
  readonly capacities: ((limitUs: number) => Float64Array) | undefined
  /** In a chain, the time that is left at least, if that is known. */
  readonly left: TimeLeft | undefined
}

export interface Branched {
  /** The best that was found below `below`. */
  readonly placement: Placement | undefined
  readonly value: number
  /** Whether nothing was left out. */
  readonly isComplete: boolean
  readonly tries: number
}

/** Standings that are kept for one set of nodes, devices taken and last stage. */
const mostStandings = 24

export function branch(problem: Problem, ideals: Ideals, options: Branching): Branched {
  const { objective, limitUs, periodFloorUs, capacities } = options
  const full = ideals.count - 1
  const partial = new Partial(problem, ideals, options.left)
  const pieces = new Pieces(problem, ideals)
  const left = problem.classes.map(({ count }) => count)
  const standings = new Map<string, number[][]>()
  let placement: Placement | undefined
  let best = options.below
  let tries = 0
  let isCut = false
  let capacityAt = NaN
  let capacity: Float64Array = new Float64Array(0)
  descend(0)
  return { placement, value: best, isComplete: !isCut, tries }

  /** All that can follow on ideal `from`. */
  function descend(from: number): void {
    const children: { piece: Piece; value: number }[] = []
    for (const piece of pieces.after(from, left)) {
      if (isOutOfOrder(piece)) continue
      if (tries >= options.tries || ((tries & 255) === 0 && options.isLate())) {
        isCut = true
        break
      }
      tries++
      partial.push(piece)
      partial.bound()
      const value = boundOf()
      if (value < best) {
        if (piece.to !== full) {
          take(piece, -1)
          if (isEnough(piece.to) && !isBeaten(piece)) children.push({ piece, value })
          take(piece, 1)
        } else if (isLegal(partial)) {
          best = value
          placement = { stages: partial.stages }
        }
      }
      partial.pop()
    }
    children.sort((a, b) => a.value - b.value || b.piece.to - a.piece.to)
    for (const { piece, value } of children) {
      if (value >= best || best <= options.floor * (1 + 1e-9)) continue
      if (isCut && tries >= options.tries) return
      partial.push(piece)
      take(piece, -1)
      descend(piece.to)
      take(piece, 1)
      partial.pop()
    }
  }

  /** No placement that goes on from here has less; `Infinity` where none is legal. */
  function boundOf(): number {
    const { periodUs, latencyUs, memoryShare } = partial
    if (!(memoryShare <= 1) || !(periodUs < limitUs) || !(latencyUs < Infinity)) return Infinity
    return valueOf({ periodUs: Math.max(periodUs, periodFloorUs), latencyUs, memoryShare }, objective)
  }

  /** Stages that do not need each other may come in any order: only the one by their first nodes is looked at. */
  function isOutOfOrder(piece: Piece): boolean {
    const { last } = partial
    if (problem.shape === 'chain' || last === undefined) return false
    const needs = problem.values.some(({ from, to }) => {
      return from !== undefined && isIn(last, from) && to.some((node) => isIn(piece, node))
    })
    return !needs && nodesBetween(ideals, last.from, last.to)[0]! > nodesBetween(ideals, piece.from, piece.to)[0]!
  }

  function isIn({ from, to }: Piece, node: number): boolean {
    return hasNode(ideals, to, node) && !hasNode(ideals, from, node)
  }

  function take({ holding }: Piece, sign: 1 | -1): void {
    if (holding.kind === 'parts') for (const kind of holding.classes) left[kind]! += sign
    else left[holding.class]! += sign * (holding.kind === 'replicas' ? holding.count : 1)
  }

  /** Whether what is left of the fleet can do what is left of the work. */
  function isEnough(at: number): boolean {
    const limit = Math.min(limitUs, periodBelow())
    if (capacities === undefined || limit === Infinity) return left.some((count) => count > 0)
    if (limit !== capacityAt) {
      capacityAt = limit
      capacity = capacities(limit)
    }
    let sum = 1
    left.forEach((count, kind) => (sum += count * capacity[kind]!))
    return sum >= ideals.work[full]! - ideals.work[at]!
  }

  /** The period that a better placement stays below. */
  function periodBelow(): number {
    if (objective.kind === 'throughput') return best
    if (objective.kind === 'batch' && objective.requests > 1)
      return (best - partial.latencyUs) / (objective.requests - 1)
    return Infinity
  }

  /** In a chain, what may follow depends on the last stage only: of two ways there, one may be worse in nothing. */
  function isBeaten(piece: Piece): boolean {
    if (problem.shape !== 'chain') return false
    const name = `${piece.from} ${piece.to} ${JSON.stringify(piece.holding)} ${left.join()}`
    const standing: number[] = []
    partial.standing(standing)
    const others = standings.get(name)
    if (others === undefined) {
      standings.set(name, [standing])
      return false
    }
    if (others.some((other) => other !== undefined && other.every((amount, at) => amount <= standing[at]!))) return true
    if (others.length < mostStandings) others.push(standing)
    return false
  }
}

/** All stages that can follow an ideal, each made once. */
class Pieces {
  readonly #problem: Problem
  readonly #ideals: Ideals
  readonly #made: (Piece[] | undefined)[] = []

  constructor(problem: Problem, ideals: Ideals) {
    this.#problem = problem
    this.#ideals = ideals
  }

  *after(from: number, left: readonly number[]): Generator<Piece> {
    for (const piece of (this.#made[from] ??= this.#make(from))) {
      const { holding } = piece
      if (holding.kind === 'parts') {
        if (holding.classes.every((kind, at) => countUpTo(holding.classes, at) <= left[kind]!)) yield piece
      } else if (left[holding.class]! >= piece.turns) yield piece
    }
  }

  #make(from: number): Piece[] {
    const { regions, maxParts, classes } = this.#problem
    const hosts = hostsOf(this.#problem)
    const found: Piece[] = []
    const add = (to: number, holding: Holding): void => {
      const piece = pieceOf(this.#problem, this.#ideals, from, to, holding)
      if (piece !== undefined) found.push(piece)
    }
    for (let to = from + 1; to < this.#ideals.count; to++) {
      if (!isSubset(this.#ideals, from, to)) continue
      for (let host = 0; host < hosts.count; host++) {
        const [kind, turns] = [hosts.class[host]!, hosts.turns[host]!]
        add(to, turns === 1 ? { kind: 'one', class: kind } : { kind: 'replicas', class: kind, count: turns })
      }
      if (maxParts === 1) continue
      const nodes = nodesBetween(this.#ideals, from, to)
      for (const [region, { nodes: parted }] of regions.entries()) {
        if (parted.length !== nodes.length || parted.some((node, at) => node !== nodes[at])) continue
        for (const members of multisets(
          classes.map(({ count }) => count),
          maxParts,
        )) {
          if (members.length > 1) add(to, { kind: 'parts', region, classes: members })
        }
      }
    }
    return found
  }
}

/** How many of the first `at + 1` parts have the class of part `at`. */
function countUpTo(classes: readonly number[], at: number): number {
  let count = 0
  for (let part = 0; part <= at; part++) if (classes[part] === classes[at]) count++
  return count
}

/** Classes for up to `most` parts, ascending, none more often than there are devices. */
export function* multisets(counts: readonly number[], most: number, from = 0): Generator<number[]> {
  yield []
  if (most === 0) return
  for (let kind = from; kind < counts.length; kind++) {
    if (counts[kind] === 0) continue
    const rest = counts.with(kind, counts[kind]! - 1)
    for (const others of multisets(rest, most - 1, kind)) yield [kind, ...others]
  }
}
