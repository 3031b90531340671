/**
 * The chain bottleneck as a mixed-integer program, in the LP format: a third way to say what the planner looks for. For plain
 * chains on devices that all differ, without replicas and parts.
 *
 * `x_d_i_j` is 1 where device `d` holds nodes `[i, j)`; `y_d_e_j` is 1 where `d` ends at cut `j` and `e` begins there. Every
 * node is held once, a device holds one interval at most, `T` is at least what every device and every link is busy.
 */

import type { Placement, PlacedStage, Problem } from '#broker/planner/problem.js'

interface Interval {
  readonly device: number
  readonly from: number
  readonly end: number
  readonly name: string
  readonly busyUs: number
}

export function chainProgram(problem: Problem): string {
  const { nodes, classes, links, fromClient, toClient } = problem
  const bytes = cutBytes(problem)
  const intervals = intervalsOf(problem, bytes)
  const rows: string[] = []
  const pairs: string[] = []
  const say = (row: string): void => void rows.push(` r${rows.length}: ${row}`)
  for (const node of nodes.keys()) {
    say(`${sum(intervals.filter(({ from, end }) => from <= node && node < end).map(({ name }) => name))} = 1`)
  }
  for (const [d, kind] of classes.entries()) {
    const own = intervals.filter(({ device }) => device === d)
    if (own.length === 0) continue
    say(`${sum(own.map(({ name }) => name))} <= ${kind.count}`)
    say(`T ${own.map(({ busyUs, name }) => `- ${busyUs} ${name}`).join(' ')} >= 0`)
    const ways = [
      { link: fromClient[d], bytes: bytes[0]!, own: own.filter(({ from }) => from === 0) },
      { link: toClient[d], bytes: bytes[nodes.length]!, own: own.filter(({ end }) => end === nodes.length) },
    ]
    for (const { link, bytes, own } of ways) {
      if (own.length === 0) continue
      const used = sum(own.map(({ name }) => name))
      if (link === undefined) say(`${used} <= 0`)
      else say(`T ${own.map(({ name }) => `- ${link.messageUs + link.byteUs * bytes} ${name}`).join(' ')} >= 0`)
    }
    for (const e of classes.keys()) {
      if (e === d) continue
      const link = links[d]![e]
      for (let cut = 1; cut < nodes.length; cut++) {
        const ends = own.filter(({ end }) => end === cut)
        const begins = intervals.filter(({ device, from }) => device === e && from === cut)
        if (ends.length === 0 || begins.length === 0) continue
        const meet = sum([...ends, ...begins].map(({ name }) => name))
        if (link === undefined) {
          say(`${meet} <= 1`)
        } else {
          const pair = `y_${d}_${e}_${cut}`
          pairs.push(pair)
          say(`${meet} - ${pair} <= 1`)
          say(`T - ${link.messageUs + link.byteUs * bytes[cut]!} ${pair} >= 0`)
        }
      }
    }
  }
  const binaries = intervals.map(({ name }) => name)
  // A pair is 0 or 1 by itself where the intervals are.
  const bounds = pairs.map((pair) => ` 0 <= ${pair} <= 1`)
  return [
    'Minimize',
    ' T',
    'Subject To',
    ...rows,
    'Bounds',
    ...bounds,
    'Binary',
    ...binaries.map((name) => ` ${name}`),
    'End',
    '',
  ].join('\n')
}

/** The placement that these variables, the ones that are 1, describe. */
export function placementOf(names: readonly string[]): Placement {
  const stages = names
    .filter((name) => name.startsWith('x_'))
    .map((name) => name.split('_').slice(1).map(Number) as [number, number, number])
    .sort(([, a], [, b]) => a - b)
    .map(([index, from, end]): PlacedStage => {
      return { nodes: Array.from({ length: end - from }, (_, i) => from + i), holding: { kind: 'one', class: index } }
    })
  return { stages }
}

/** Intervals that a device may run and has memory for, with all that they keep it busy. */
function intervalsOf({ nodes, classes }: Problem, bytes: readonly number[]): Interval[] {
  const found: Interval[] = []
  for (const [device, { nodeUs, stageUs, open, seal, memoryBytes, sessionBytes }] of classes.entries()) {
    for (let from = 0; from < nodes.length; from++) {
      let [us, weights, scratch] = [0, 0, 0]
      for (let end = from + 1; end <= nodes.length; end++) {
        us += nodeUs[end - 1]!
        weights += nodes[end - 1]!.weightBytes
        scratch = Math.max(scratch, nodes[end - 1]!.scratchBytes)
        const crossingUs = open.messageUs + open.byteUs * bytes[from]! + seal.messageUs + seal.byteUs * bytes[end]!
        if (sessionBytes + weights + scratch + 2 * (bytes[from]! + bytes[end]!) > memoryBytes || us === Infinity)
          continue
        found.push({ device, from, end, name: `x_${device}_${from}_${end}`, busyUs: stageUs + us + crossingUs })
      }
    }
  }
  return found
}

/** Bytes that are alive before each node, and after the last. */
function cutBytes({ nodes, values }: Problem): number[] {
  return Array.from({ length: nodes.length + 1 }, (_, cut) =>
    values
      .filter(({ from }) => from === undefined || from < cut)
      .filter(({ to, isOutput }) => isOutput || to.some((node) => node >= cut))
      .reduce((sum, { bytes }) => sum + bytes, 0),
  )
}

/** A sum of nothing is a variable that is always 0. */
function sum(names: readonly string[]): string {
  return names.length === 0 ? '0 T' : names.join(' + ')
}
