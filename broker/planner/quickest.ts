/**
 * The path of stages that is passed in the least time, among those in which nothing costs more than a limit. Best first (A*):
 * what is left to pass is estimated as if every device could be used again and again, which is never too much.
 */

import { capacitiesOf } from './capacity.js'
import { linkCost, rounding, type SearchSpace, type Step } from './search-space.js'
import type { Segments } from './segments.js'

export interface Quickest {
  /** `undefined`: none was found. */
  readonly path: Step[] | undefined
  /** Proven: no path takes less. `Infinity` where it is proven that there is no path. */
  readonly lowerBound: number
  readonly isProven: boolean
  /** Labels that were opened. */
  readonly opened: number
}

/**
 * `delays` is the latency of links by class, in rows like those of the space's links. `labels` bounds what is opened; `weight`
 * above 1 looks for any path first, and proves nothing. What takes `within` or more is not looked for.
 */
export function quickest(
  space: SearchSpace,
  segments: Segments,
  delays: Float64Array,
  limit: number,
  effort: { labels: number; weight?: number; within?: number; isLate: () => boolean },
): Quickest {
  const { ideals, hosts, factor, links } = space
  const { weight = 1, within = Infinity } = effort
  const full = ideals.count - 1
  const kinds = links.classes
  const side = kinds + 1
  const most = limit * (1 + rounding)
  const left = timesLeft(space, segments, delays, limit)
  const start = left.fromClient
  const capacities = capacitiesOf(space, segments, limit)
  let spareAtFirst = 1 - ideals.work[full]!
  for (let kind = 0; kind < kinds; kind++) spareAtFirst += hosts.limit[kind]! * capacities[kind]!
  if (start === Infinity || spareAtFirst < 0)
    return { path: undefined, lowerBound: Infinity, isProven: true, opened: 0 }
  if (start >= within) return { path: undefined, lowerBound: start, isProven: true, opened: 0 }

  const open = new Labels()
  const names = namesOf(kinds)
  const seen = new Map<number, number>()
  open.push(0, start, 0, -1, -1, 0, spareAtFirst)
  const used = new Int32Array(kinds)
  const other = new Int32Array(kinds)
  let popped = 0
  while (open.waiting > 0) {
    const label = open.pop()
    if (open.ideal[label] === full) {
      const lowerBound = weight === 1 ? open.time[label]! : start
      return { path: traced(open, label), lowerBound, isProven: weight === 1, opened: open.size }
    }
    if (open.isStale[label] === 1) continue
    if (open.size > effort.labels || ((++popped & 63) === 0 && effort.isLate())) {
      return {
        path: undefined,
        lowerBound: weight === 1 ? open.total[label]! : start,
        isProven: false,
        opened: open.size,
      }
    }
    const from = open.ideal[label]!
    const last = open.host[label]!
    const lastKind = last === -1 ? kinds : hosts.class[last]!
    takenBy(label, used)
    for (let host = 0; host < hosts.count; host++) {
      const kind = hosts.class[host]!
      const turns = hosts.turns[host]!
      if (used[kind]! + turns > hosts.limit[kind]!) continue
      if (linkCost(space, last, host, from) > most) continue
      const spare = open.spare[label]! - turns * capacities[kind]!
      const come = open.time[label]! + delay(lastKind, kind, from)
      const row = kind * ideals.count + from
      for (let at = segments.start[row]!; at < segments.start[row + 1]!; at++) {
        const cost = segments.cost[at]!
        if (cost > most * factor[host]!) continue
        const to = segments.to[at]!
        const spared = spare + ideals.work[to]! - ideals.work[from]!
        if (spared < 0) continue
        let time = come + cost
        let rest = left.after[kind * ideals.count + to]!
        if (to === full) {
          if (linkCost(space, host, -1, full) > most) continue
          time += delay(kind, kinds, full)
          rest = 0
        }
        if (time + rest >= within) continue
        const name = open.name[label]! + turns * names[kind]!
        // A host of several turns crosses links that one alone does not: it counts as another.
        const place = (name * ideals.count + to) * hosts.count + host
        const before = seen.get(place)
        if (before !== undefined && open.ideal[before] === to && open.host[before] === host) {
          takenBy(before, other)
          other[kind]! -= turns
          if (used.every((count, at) => count === other[at])) {
            if (open.time[before]! <= time) continue
            open.isStale[before] = 1
          }
        }
        seen.set(place, open.push(time, time + weight * rest, to, host, label, name, spared))
      }
    }
  }
  return { path: undefined, lowerBound: within, isProven: true, opened: open.size }

  function delay(from: number, to: number, ideal: number): number {
    const at = from * side + to
    return links.fixed[at]! + links.byByte[at]! * links.borderBytes[ideal]! + delays[at]!
  }

  /** Devices that a label has taken, by class. */
  function takenBy(label: number, into: Int32Array): void {
    into.fill(0)
    for (let at = label; open.host[at] !== -1; at = open.before[at]!) {
      into[hosts.class[open.host[at]!]!]! += hosts.turns[open.host[at]!]!
    }
  }
}

/** The least time from each ideal to the client, by class of the last host, if devices could be used again. */
export function timesLeft(
  { ideals, hosts, links, factor }: SearchSpace,
  segments: Segments,
  delays: Float64Array,
  limit: number,
) {
  const { count } = ideals
  const kinds = links.classes
  const side = kinds + 1
  const full = count - 1
  const turns = new Float64Array(kinds)
  for (let host = 0; host < hosts.count; host++) {
    turns[hosts.class[host]!] = Math.max(turns[hosts.class[host]!]!, factor[host]!)
  }
  const after = new Float64Array(kinds * count).fill(Infinity)
  const through = new Float64Array(kinds)
  const delay = (from: number, to: number, ideal: number): number => {
    const at = from * side + to
    const busy = links.fixed[at]! + links.byByte[at]! * links.borderBytes[ideal]!
    const shared = (from === kinds ? 1 : turns[from]!) * (to === kinds ? 1 : turns[to]!)
    return busy > limit * (1 + rounding) * shared ? Infinity : busy + delays[at]!
  }
  for (let kind = 0; kind < kinds; kind++) after[kind * count + full] = delay(kind, kinds, full)
  let fromClient = Infinity
  for (let from = full - 1; from >= 0; from--) {
    for (let kind = 0; kind < kinds; kind++) {
      let best = Infinity
      const row = kind * count + from
      const within = limit * turns[kind]! * (1 + rounding)
      for (let at = segments.start[row]!; at < segments.start[row + 1]!; at++) {
        if (segments.cost[at]! > within) continue
        const time = segments.cost[at]! + after[kind * count + segments.to[at]!]!
        if (time < best) best = time
      }
      through[kind] = best
    }
    for (let last = 0; last < kinds; last++) {
      let best = Infinity
      for (let kind = 0; kind < kinds; kind++) {
        if (through[kind] !== Infinity) best = Math.min(best, delay(last, kind, from) + through[kind]!)
      }
      after[last * count + from] = best
    }
    if (from === 0) {
      for (let kind = 0; kind < kinds; kind++) fromClient = Math.min(fromClient, delay(kinds, kind, 0) + through[kind]!)
    }
  }
  return { after, fromClient }
}

function traced(labels: Labels, end: number): Step[] {
  const path: Step[] = []
  for (let at = end; labels.host[at] !== -1; at = labels.before[at]!) {
    path.unshift({ host: labels.host[at]!, from: labels.ideal[labels.before[at]!]!, to: labels.ideal[at]! })
  }
  return path
}

/** A whole number for each class, so that sums nearly always tell sets of devices apart. */
function namesOf(kinds: number): Float64Array {
  let state = 1
  return Float64Array.from({ length: kinds }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state >>> 12
  })
}

/** Labels in parallel arrays, and those that wait as a heap with the least total on top. */
class Labels {
  size = 0
  waiting = 0
  time = new Float64Array(1024)
  total = new Float64Array(1024)
  ideal = new Int32Array(1024)
  host = new Int32Array(1024)
  before = new Int32Array(1024)
  name = new Float64Array(1024)
  spare = new Float64Array(1024)
  isStale = new Uint8Array(1024)
  #heap = new Int32Array(1024)

  push(time: number, total: number, ideal: number, host: number, before: number, name: number, spare: number): number {
    if (this.size === this.time.length) this.#grow()
    const label = this.size++
    this.time[label] = time
    this.total[label] = total
    this.ideal[label] = ideal
    this.host[label] = host
    this.before[label] = before
    this.name[label] = name
    this.spare[label] = spare
    let at = this.waiting++
    while (at > 0) {
      const above = (at - 1) >>> 1
      if (this.total[this.#heap[above]!]! <= total) break
      this.#heap[at] = this.#heap[above]!
      at = above
    }
    this.#heap[at] = label
    return label
  }

  pop(): number {
    const top = this.#heap[0]!
    const moved = this.#heap[--this.waiting]!
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= this.waiting) break
      if (below + 1 < this.waiting && this.total[this.#heap[below + 1]!]! < this.total[this.#heap[below]!]!) below++
      if (this.total[this.#heap[below]!]! >= this.total[moved]!) break
      this.#heap[at] = this.#heap[below]!
      at = below
    }
    this.#heap[at] = moved
    return top
  }

  #grow(): void {
    const room = 2 * this.size
    this.time = grown(this.time, new Float64Array(room))
    this.total = grown(this.total, new Float64Array(room))
    this.ideal = grown(this.ideal, new Int32Array(room))
    this.host = grown(this.host, new Int32Array(room))
    this.before = grown(this.before, new Int32Array(room))
    this.name = grown(this.name, new Float64Array(room))
    this.spare = grown(this.spare, new Float64Array(room))
    this.isStale = grown(this.isStale, new Uint8Array(room))
    this.#heap = grown(this.#heap, new Int32Array(room))
  }
}

function grown<A extends Uint8Array | Int32Array | Float64Array>(old: A, larger: A): A {
  larger.set(old)
  return larger
}
