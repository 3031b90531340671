/**
 * Whether a path of stages exists in which nothing costs more than a limit: exact. For every number of devices taken and
 * kind of last host there is a bit set of the ideals that can be reached; a host carries all of them on at once.
 */

import { capacitiesOf } from './capacity.js'
import { takenOf } from './hosts.js'
import { linkCost, rounding, type SearchSpace, type Step } from './search-space.js'
import type { Segments } from './segments.js'

/** 32-bit words that the sets of one search may take together: 256 MiB. */
export const mostReachWords = 64 * 1024 * 1024

/** Words and word operations, about, that one search takes at most. */
export function reachEffort({ ideals, hosts }: SearchSpace): { words: number; operations: number } {
  const words = Math.ceil(ideals.count / 32)
  // Kinds of last host are known for a limit only; at most all of them differ.
  const sets = hosts.states * hosts.count * words
  return { words: sets, operations: sets * (hosts.count + Math.min(ideals.count / 4, 32)) }
}

/** The path, or `undefined` where there is none; or where `isLate` said so, 'late'. */
export function reach(
  space: SearchSpace,
  segments: Segments,
  limit: number,
  isLate: () => boolean,
): Step[] | undefined | 'late' {
  const { ideals, hosts } = space
  const words = Math.ceil(ideals.count / 32)
  const full = ideals.count - 1
  const rows = rowsOf(space, segments, limit, words)
  const { kindOf, kinds, passes, starts } = passesOf(space, limit, words)
  const sets = new Uint32Array(hosts.states * kinds * words)
  const isReached = new Uint8Array(hosts.states)
  const capacities = capacitiesOf(space, segments, limit)
  const taken = new Int32Array(hosts.limit.length)
  const next = new Uint32Array(words)
  for (let state = 0; state < hosts.states; state++) {
    if (state > 0) count(taken, hosts.limit)
    if (state > 0 && isReached[state] === 0) continue
    if ((state & 1023) === 0 && isLate()) return 'late'
    let spare = 1
    for (let kind = 0; kind < taken.length; kind++) spare += (hosts.limit[kind]! - taken[kind]!) * capacities[kind]!
    const first = firstWith(ideals.work, ideals.work[full]! - spare)
    for (let host = 0; host < hosts.count; host++) {
      const kind = hosts.class[host]!
      if (taken[kind]! + hosts.turns[host]! > hosts.limit[kind]!) continue
      // Which ideals this host can be given.
      let any = 0
      if (state === 0) {
        next.fill(0)
        if (first === 0) any = next[0] = starts[host]!
      } else {
        for (let word = first >>> 5; word < words; word++) {
          let bits = 0
          for (let last = 0; last < kinds; last++) {
            bits |=
              sets[(state * kinds + last) * words + word]! & passes[(last * (hosts.count + 1) + host) * words + word]!
          }
          if (word === first >>> 5) bits &= -1 << (first & 31)
          next[word] = bits
          any |= bits
        }
      }
      if (any === 0) continue
      const then = state + hosts.step[host]!
      const into = (then * kinds + kindOf[host]!) * words
      for (let word = first >>> 5; word < words; word++) {
        let bits = next[word]!
        while (bits !== 0) {
          const from = word * 32 + 31 - Math.clz32(bits & -bits)
          bits &= bits - 1
          const row = (host * ideals.count + from) * words
          for (let at = word; at < words; at++) sets[into + at]! |= rows[row + at]!
        }
      }
      isReached[then] = 1
      const atFull =
        sets[into + (full >>> 5)]! & passes[(kindOf[host]! * (hosts.count + 1) + hosts.count) * words + (full >>> 5)]!
      if ((atFull & (1 << (full & 31))) !== 0) return traced(then, kindOf[host]!)
    }
  }
  return undefined

  /** The path back from the full ideal. */
  function traced(end: number, endKind: number): Step[] {
    const path: Step[] = []
    let [state, kind, to] = [end, endKind, full]
    while (state !== 0) {
      const step = before(state, kind, to)
      path.unshift(step.step)
      ;[state, kind, to] = [step.state, step.kind, step.step.from]
    }
    return path
  }

  function before(state: number, kind: number, to: number): { step: Step; state: number; kind: number } {
    for (let host = 0; host < hosts.count; host++) {
      if (kindOf[host] !== kind || takenOf(hosts, state, hosts.class[host]!) < hosts.turns[host]!) continue
      const earlier = state - hosts.step[host]!
      for (let from = 0; from < to; from++) {
        if (!has(rows, (host * ideals.count + from) * words, to)) continue
        const step = { host, from, to }
        if (earlier === 0) {
          if (from === 0 && starts[host] === 1) return { step, state: 0, kind: 0 }
          continue
        }
        for (let last = 0; last < kinds; last++) {
          const isThere = has(sets, (earlier * kinds + last) * words, from)
          if (isThere && has(passes, (last * (hosts.count + 1) + host) * words, from))
            return { step, state: earlier, kind: last }
        }
      }
    }
    throw new Error('a path that was found cannot be traced back')
  }
}

/** By host and first ideal: the set of ideals that the host can carry on to. */
function rowsOf({ ideals, hosts, factor }: SearchSpace, segments: Segments, limit: number, words: number): Uint32Array {
  const rows = new Uint32Array(hosts.count * ideals.count * words)
  for (let host = 0; host < hosts.count; host++) {
    const within = limit * factor[host]! * (1 + rounding)
    for (let from = 0; from < ideals.count; from++) {
      const row = hosts.class[host]! * ideals.count + from
      const into = (host * ideals.count + from) * words
      for (let at = segments.start[row]!; at < segments.start[row + 1]!; at++) {
        const to = segments.to[at]!
        if (segments.cost[at]! <= within) rows[into + (to >>> 5)]! |= 1 << (to & 31)
      }
    }
  }
  return rows
}

/**
 * From which last host to which next one (the last column is the client) which borders can be crossed. Hosts that can
 * cross the same are one kind.
 */
function passesOf(space: SearchSpace, limit: number, words: number) {
  const { ideals, hosts } = space
  const within = limit * (1 + rounding)
  const kindOf = new Int32Array(hosts.count)
  const found: Uint32Array[] = []
  const width = (hosts.count + 1) * words
  for (let last = 0; last < hosts.count; last++) {
    const row = new Uint32Array(width)
    for (let host = 0; host <= hosts.count; host++) {
      for (let ideal = 0; ideal < ideals.count; ideal++) {
        const isOpen = linkCost(space, last, host === hosts.count ? -1 : host, ideal) <= within
        if (isOpen) row[host * words + (ideal >>> 5)]! |= 1 << (ideal & 31)
      }
    }
    let kind = found.findIndex((other) => other.every((bits, at) => bits === row[at]))
    if (kind === -1) kind = found.push(row) - 1
    kindOf[last] = kind
  }
  const passes = new Uint32Array(found.length * width)
  found.forEach((row, kind) => passes.set(row, kind * width))
  const starts = Int32Array.from({ length: hosts.count }, (_, host) => (linkCost(space, -1, host, 0) <= within ? 1 : 0))
  return { kindOf, kinds: found.length, passes, starts }
}

function has(sets: Uint32Array, at: number, ideal: number): boolean {
  return (sets[at + (ideal >>> 5)]! & (1 << (ideal & 31))) !== 0
}

/** One more, in mixed radix. */
function count(digits: Int32Array, limit: Int32Array): void {
  for (let digit = 0; digit < digits.length; digit++) {
    if (digits[digit]! < limit[digit]!) {
      digits[digit]!++
      return
    }
    digits[digit] = 0
  }
}

/** The first ideal with at least so much work. */
function firstWith(work: Float64Array, least: number): number {
  let [low, high] = [0, work.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (work[middle]! >= least) high = middle
    else low = middle + 1
  }
  return low
}
