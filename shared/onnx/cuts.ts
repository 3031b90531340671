/** Where a prepared graph may be parted. Any set of steps closed under predecessors is a part; a cut is a prefix. */

import { byteLength, type Port } from './tensor.js'
import type { Prepared } from './prepare.js'

/** A place where the graph may be parted. */
export interface Cut {
  /** The nodes `[0, at)` run before. */
  readonly at: number
  /** All that crosses: what earlier nodes made and later ones need, inputs used late, outputs produced early. */
  readonly tensors: readonly Port[]
  readonly bytes: number
}

/** A tensor's life in positions of the canonical order: it crosses every cut `at` with `born <= at <= lastUse`. */
interface Life {
  readonly name: string
  readonly born: number
  lastUse: number
}

/** Every legal prefix of the canonical order, from 1 to the number of nodes less 1. */
export function legalCuts(prepared: Prepared): Cut[] {
  const cuts: Cut[] = []
  sweep(prepared, (at, names) => {
    const tensors = names.map((name) => prepared.ports.get(name)).filter((port) => port !== undefined)
    if (tensors.length === names.length) cuts.push(cutOf(at, tensors))
  })
  return cuts
}

/** Positions that are not legal, with the tensors that may not cross there (sequences, types outside the whitelist). */
export function illegalCuts(prepared: Prepared): { at: number; blockedBy: string[] }[] {
  const found: { at: number; blockedBy: string[] }[] = []
  sweep(prepared, (at, names) => {
    const blockedBy = names.filter((name) => !prepared.ports.has(name))
    if (blockedBy.length > 0) found.push({ at, blockedBy })
  })
  return found
}

export function cutOf(at: number, tensors: readonly Port[]): Cut {
  return { at, tensors, bytes: tensors.reduce((sum, port) => sum + byteLength(port), 0) }
}

/** The names that cross the border of a set of nodes closed under predecessors: inputs first, then in order of birth. */
export function crossing(prepared: Prepared, before: ReadonlySet<number>): string[] {
  const { steps, inputs, outputs } = prepared.flow
  const neededAfter = new Set(outputs)
  for (const [index, step] of steps.entries())
    if (!before.has(index)) for (const name of step.reads) neededAfter.add(name)
  const born = [...inputs, ...steps.flatMap((step, index) => (before.has(index) ? step.writes : []))]
  return born.filter((name) => neededAfter.has(name))
}

function sweep(prepared: Prepared, visit: (at: number, names: string[]) => void): void {
  const lives = livesOf(prepared)
  let alive: Life[] = []
  let next = 0 // lives are in order of birth
  for (let at = 1; at < prepared.nodes.length; at++) {
    for (let life = lives[next]; life !== undefined && life.born <= at; life = lives[next]) {
      alive.push(life)
      next++
    }
    alive = alive.filter((life) => life.lastUse >= at)
    const names = alive.map((life) => life.name)
    visit(at, names)
  }
}

function livesOf({ flow }: Prepared): Life[] {
  const lives = new Map<string, Life>()
  const bear = (name: string, born: number): void => void lives.set(name, { name, born, lastUse: -1 })
  for (const name of flow.inputs) bear(name, 0)
  for (const [index, step] of flow.steps.entries()) {
    for (const name of step.writes) bear(name, index + 1)
    for (const name of step.reads) (lives.get(name) as Life).lastUse = index
  }
  for (const name of flow.outputs) {
    const life = lives.get(name)
    if (life !== undefined) life.lastUse = Infinity // absent: an output that is a constant, which nobody sends
  }
  return [...lives.values()]
}
