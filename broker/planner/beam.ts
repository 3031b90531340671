/**
 * Looks for a path of stages in which nothing costs more than a limit, and may miss it: of all rows of k stages only the most
 * promising are carried on. Promising is who has the most capacity left over for the work that is left: every device that is
 * not taken counts with the most that it could hold.
 */

import { capacitiesOf } from './capacity.js'
import { linkCost, rounding, type SearchSpace, type Step } from './search-space.js'
import type { Segments } from './segments.js'

/** Ends that are tried for one host at one place, the farthest first. */
const endsTried = 4

/** Rows of k stages, in parallel arrays; `used` has a row of counts by class for each. */
interface Layer {
  size: number
  readonly ideal: Int32Array
  readonly host: Int32Array
  readonly before: Int32Array
  readonly spare: Float64Array
  readonly name: Float64Array
  readonly used: Uint16Array
}

/** A path, or `undefined` where none was found among `width` rows for each number of stages. */
export function beam(space: SearchSpace, segments: Segments, limit: number, width: number): Step[] | undefined {
  const { ideals, hosts, factor } = space
  const kinds = hosts.limit.length
  const full = ideals.count - 1
  const capacities = capacitiesOf(space, segments, limit)
  let fleet = 1
  let devices = 0
  for (let kind = 0; kind < kinds; kind++) {
    fleet += hosts.limit[kind]! * capacities[kind]!
    devices += hosts.limit[kind]!
  }
  const names = namesOf(kinds)
  const layers: Layer[] = [layerOf(1, kinds)]
  layers[0]!.size = 1
  layers[0]!.host[0] = -1
  layers[0]!.spare[0] = fleet - ideals.work[full]!
  if (layers[0]!.spare[0] < 0) return undefined
  const best = new Candidates(3 * width)
  for (let stages = 0; stages < Math.min(devices, full); stages++) {
    const layer = layers[stages]!
    best.clear()
    for (let row = 0; row < layer.size; row++) {
      const from = layer.ideal[row]!
      for (let host = 0; host < hosts.count; host++) {
        const kind = hosts.class[host]!
        const turns = hosts.turns[host]!
        if (layer.used[row * kinds + kind]! + turns > hosts.limit[kind]!) continue
        const left = layer.spare[row]! - turns * capacities[kind]!
        const start = segments.start[kind * ideals.count + from]!
        let at = segments.start[kind * ideals.count + from + 1]! - 1
        if (at < start || linkCost(space, layer.host[row]!, host, from) > limit * (1 + rounding)) continue
        const within = limit * factor[host]! * (1 + rounding)
        const name = layer.name[row]! + turns * names[kind]!
        for (let ends = 0; ends < endsTried && at >= start; at--) {
          if (segments.cost[at]! > within) continue
          ends++
          const to = segments.to[at]!
          const spare = left + ideals.work[to]! - ideals.work[from]!
          if (spare < 0) break
          if (to === full) {
            if (linkCost(space, host, -1, full) <= limit * (1 + rounding))
              return traced(layers, row, { host, from, to })
          } else best.add(spare, row, host, to, name)
        }
      }
    }
    const next = chosen(best, width, layer, hosts.class, hosts.turns, kinds, ideals.count)
    if (next.size === 0) return undefined
    layers.push(next)
  }
  return undefined
}

/** The best of the candidates, each ideal and set of devices once. */
function chosen(
  best: Candidates,
  width: number,
  from: Layer,
  classOf: Int32Array,
  turnsOf: Int32Array,
  kinds: number,
  ideals: number,
): Layer {
  const layer = layerOf(Math.min(width, best.size), kinds)
  const seen = new Set<number>()
  for (const at of best.sorted()) {
    const place = best.name[at]! * ideals + best.ideal[at]!
    if (seen.has(place)) continue
    seen.add(place)
    const [index, row, host] = [layer.size++, best.row[at]!, best.host[at]!]
    layer.ideal[index] = best.ideal[at]!
    layer.host[index] = host
    layer.before[index] = row
    layer.spare[index] = best.spare[at]!
    layer.name[index] = best.name[at]!
    layer.used.set(from.used.subarray(row * kinds, (row + 1) * kinds), index * kinds)
    layer.used[index * kinds + classOf[host]!]! += turnsOf[host]!
    if (layer.size === layer.ideal.length) break
  }
  return layer
}

function layerOf(size: number, kinds: number): Layer {
  return {
    size: 0,
    ideal: new Int32Array(size),
    host: new Int32Array(size),
    before: new Int32Array(size),
    spare: new Float64Array(size),
    name: new Float64Array(size),
    used: new Uint16Array(size * kinds),
  }
}

function traced(layers: readonly Layer[], row: number, last: Step): Step[] {
  const path = [last]
  for (let depth = layers.length - 1, at = row; depth > 0; depth--) {
    const { host, ideal, before } = layers[depth]!
    const earlier = before[at]!
    path.unshift({ host: host[at]!, from: layers[depth - 1]!.ideal[earlier]!, to: ideal[at]! })
    at = earlier
  }
  return path
}

/** A number for each class, so that sums name sets of devices: whole and small enough to add up exactly. */
function namesOf(kinds: number): Float64Array {
  let state = 1
  return Float64Array.from({ length: kinds }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state >>> 12
  })
}

/** The candidates with the most to spare, as a heap with the least on top. */
class Candidates {
  size = 0
  readonly spare: Float64Array
  readonly row: Int32Array
  readonly host: Int32Array
  readonly ideal: Int32Array
  readonly name: Float64Array
  readonly #heap: Int32Array

  constructor(room: number) {
    this.spare = new Float64Array(room)
    this.row = new Int32Array(room)
    this.host = new Int32Array(room)
    this.ideal = new Int32Array(room)
    this.name = new Float64Array(room)
    this.#heap = new Int32Array(room)
  }

  clear(): void {
    this.size = 0
  }

  add(spare: number, row: number, host: number, ideal: number, name: number): void {
    const isFull = this.size === this.#heap.length
    if (isFull && spare <= this.spare[this.#heap[0]!]!) return
    const at = isFull ? this.#heap[0]! : this.size
    this.spare[at] = spare
    this.row[at] = row
    this.host[at] = host
    this.ideal[at] = ideal
    this.name[at] = name
    if (isFull) this.#sink()
    else this.#rise(at)
  }

  /** Most to spare first. */
  sorted(): Int32Array {
    const order = this.#heap.slice(0, this.size)
    return order.sort((a, b) => this.spare[b]! - this.spare[a]! || a - b)
  }

  #rise(candidate: number): void {
    let at = this.size++
    while (at > 0) {
      const above = (at - 1) >>> 1
      if (this.spare[this.#heap[above]!]! <= this.spare[candidate]!) break
      this.#heap[at] = this.#heap[above]!
      at = above
    }
    this.#heap[at] = candidate
  }

  #sink(): void {
    const candidate = this.#heap[0]!
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= this.size) break
      if (below + 1 < this.size && this.spare[this.#heap[below + 1]!]! < this.spare[this.#heap[below]!]!) below++
      if (this.spare[this.#heap[below]!]! >= this.spare[candidate]!) break
      this.#heap[at] = this.#heap[below]!
      at = below
    }
    this.#heap[at] = candidate
  }
}
