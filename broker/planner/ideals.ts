/**
 * The ideals of a model: sets of nodes that are closed under predecessors. What the first k stages of a plan hold is one, so
 * a plan is a path from the empty ideal to the full one. A chain of n nodes has n + 1 of them; wide graphs have very many.
 */

import type { Problem } from './problem.js'

export interface Ideals {
  readonly count: number
  /** 32-bit words that one takes in `bits`. */
  readonly words: number
  /** Ideal `i` has node `n` if bit `n % 32` of word `i * words + n / 32` is set. A superset comes after its subsets. */
  readonly bits: Uint32Array
  /** Work in each, in whole units of the measure that they are sorted by: exact in a double. */
  readonly work: Float64Array
  /** Each is its parent with `node` added; the parent comes before it. -1 for the empty one. */
  readonly parent: Int32Array
  readonly node: Int32Array
  /** Every one contains the one before. */
  readonly isChain: boolean
  /** Whether these are all that the model has, and not only the prefixes of one order. */
  readonly isComplete: boolean
}

/** All ideals, sorted by `work` (whole numbers, by node); `undefined` where there are more than `limit`. */
export function idealsOf(problem: Problem, work: Float64Array, limit: number): Ideals | undefined {
  const { nodes } = problem
  const words = Math.max(1, Math.ceil(nodes.length / 32))
  const needs = predecessorsOf(problem, words)
  let room = 1024
  let bits = new Uint32Array(room * words)
  let parent = new Int32Array(room).fill(-1)
  let added = new Int32Array(room).fill(-1)
  let count = 1
  // Those without node k stay; those that have all it needs are there with it as well.
  for (let node = 0; node < nodes.length; node++) {
    const before = count
    for (let ideal = 0; ideal < before; ideal++) {
      if (!contains(bits, ideal * words, needs, node * words, words)) continue
      if (count === limit) return undefined
      if (count === room) {
        room *= 2
        bits = grown(bits, new Uint32Array(room * words))
        parent = grown(parent, new Int32Array(room))
        added = grown(added, new Int32Array(room))
      }
      bits.copyWithin(count * words, ideal * words, (ideal + 1) * words)
      bits[count * words + (node >>> 5)]! |= 1 << (node & 31)
      parent[count] = ideal
      added[count] = node
      count++
    }
  }
  return sorted({ count, words, bits, parent, node: added, work: worksOf(count, parent, added, work) }, true)
}

/** The prefixes of one topological order: what is searched where there are too many ideals. */
export function prefixesOf(order: readonly number[], work: Float64Array): Ideals {
  const words = Math.max(1, Math.ceil(order.length / 32))
  const count = order.length + 1
  const bits = new Uint32Array(count * words)
  const parent = Int32Array.from({ length: count }, (_, index) => index - 1)
  const node = Int32Array.from([-1, ...order])
  for (let ideal = 1; ideal < count; ideal++) {
    bits.copyWithin(ideal * words, (ideal - 1) * words, ideal * words)
    bits[ideal * words + (node[ideal]! >>> 5)]! |= 1 << (node[ideal]! & 31)
  }
  return sorted({ count, words, bits, parent, node, work: worksOf(count, parent, node, work) }, false)
}

/** Whether ideal `inner` is a subset of ideal `outer`. */
export function isSubset({ bits, words }: Ideals, inner: number, outer: number): boolean {
  return contains(bits, outer * words, bits, inner * words, words)
}

/** The ideal of `others` with the nodes of ideal `index`. Throws where there is none. */
export function sameIdeal({ bits, words, work }: Ideals, index: number, others: Ideals): number {
  for (let other = 0; other < others.count; other++) {
    if (others.work[other] !== work[index]) continue
    let word = 0
    while (word < words && bits[index * words + word] === others.bits[other * words + word]) word++
    if (word === words) return other
  }
  throw new Error('an ideal is not among the others')
}

/** The nodes of ideal `outer` that are not in ideal `inner`, ascending. */
export function nodesBetween({ bits, words }: Ideals, inner: number, outer: number): number[] {
  const nodes: number[] = []
  for (let word = 0; word < words; word++) {
    let left = bits[outer * words + word]! & ~bits[inner * words + word]!
    while (left !== 0) {
      const bit = 31 - Math.clz32(left & -left)
      nodes.push(word * 32 + bit)
      left &= left - 1
    }
  }
  return nodes
}

export function hasNode({ bits, words }: Ideals, ideal: number, node: number): boolean {
  return (bits[ideal * words + (node >>> 5)]! & (1 << (node & 31))) !== 0
}

function contains(outer: Uint32Array, outerAt: number, inner: Uint32Array, innerAt: number, words: number): boolean {
  for (let word = 0; word < words; word++) if ((inner[innerAt + word]! & ~outer[outerAt + word]!) !== 0) return false
  return true
}

function predecessorsOf({ nodes, values }: Problem, words: number): Uint32Array {
  const needs = new Uint32Array(nodes.length * words)
  for (const { from, to } of values) {
    if (from === undefined) continue
    for (const node of to) needs[node * words + (from >>> 5)]! |= 1 << (from & 31)
  }
  return needs
}

function worksOf(count: number, parent: Int32Array, node: Int32Array, work: Float64Array): Float64Array {
  const works = new Float64Array(count)
  for (let ideal = 1; ideal < count; ideal++) works[ideal] = works[parent[ideal]!]! + work[node[ideal]!]!
  return works
}

type Unsorted = Omit<Ideals, 'isChain' | 'isComplete'>

/** By work, and by number of nodes where that is equal: so subsets come first. */
function sorted(found: Unsorted, isComplete: boolean): Ideals {
  const { count, words } = found
  const sizes = new Int32Array(count)
  for (let ideal = 1; ideal < count; ideal++) sizes[ideal] = sizes[found.parent[ideal]!]! + 1
  const order = Int32Array.from({ length: count }, (_, index) => index)
  order.sort((a, b) => found.work[a]! - found.work[b]! || sizes[a]! - sizes[b]! || a - b)
  const place = new Int32Array(count)
  order.forEach((old, index) => (place[old] = index))
  const bits = new Uint32Array(count * words)
  const work = new Float64Array(count)
  const parent = new Int32Array(count).fill(-1)
  const node = new Int32Array(count).fill(-1)
  let isChain = true
  for (let index = 0; index < count; index++) {
    const old = order[index]!
    bits.set(found.bits.subarray(old * words, (old + 1) * words), index * words)
    work[index] = found.work[old]!
    if (old !== 0) {
      parent[index] = place[found.parent[old]!]!
      node[index] = found.node[old]!
    }
    if (index > 0) isChain &&= contains(bits, index * words, bits, (index - 1) * words, words)
  }
  return { count, words, bits, work, parent, node, isChain, isComplete }
}

function grown<A extends Uint32Array | Int32Array>(old: A, larger: A): A {
  larger.set(old)
  return larger
}
