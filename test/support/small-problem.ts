/** Planning problems that are small enough to look at every placement, and that looking. */

import * as fc from 'fast-check'
import { costOf } from '#broker/planner/cost.js'
import { isLegal, valueOf } from '#broker/planner/objective.js'
import type {
  Holding,
  Link,
  Objective,
  PlacedStage,
  Placement,
  Problem,
  Region,
  Value,
} from '#broker/planner/problem.js'

export interface Shape {
  readonly shape: Problem['shape']
  readonly nodes: number
  readonly classes: number
  readonly maxReplicas?: number
  readonly maxParts?: number
  /** Values from any node to any later ones, and not only to the next. */
  readonly isWide?: boolean
}

/** Numbers in whole units and few kinds, so that ties and limits that bite are common. */
export function smallProblem({
  shape,
  nodes,
  classes,
  maxReplicas = 1,
  maxParts = 1,
  isWide = false,
}: Shape): fc.Arbitrary<Problem> {
  const amount = fc.integer({ min: 0, max: 9 })
  const link = fc.record({ messageUs: amount, byteUs: amount, latencyUs: amount })
  const maybe: fc.Arbitrary<Link | undefined> = fc.oneof(
    { weight: 6, arbitrary: link },
    { weight: 1, arbitrary: fc.constant(undefined) },
  )
  const crossing = fc.record({ messageUs: fc.integer({ min: 0, max: 3 }), byteUs: fc.integer({ min: 0, max: 2 }) })
  return fc.tuple(fc.integer({ min: 1, max: nodes }), fc.integer({ min: 1, max: classes })).chain(([n, k]) =>
    fc
      .record({
        work: fc.array(amount, { minLength: n, maxLength: n }),
        weights: fc.array(amount, { minLength: n, maxLength: n }),
        sizes: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: n + 1, maxLength: n + 1 }),
        /** Who reads what node `i - 1` makes (0: the input). */
        readers: fc.array(fc.array(fc.nat(n), { maxLength: 2 }), { minLength: n + 1, maxLength: n + 1 }),
        isOutput: fc.array(fc.integer({ min: 0, max: 7 }), { minLength: n + 1, maxLength: n + 1 }),
        kinds: fc.array(
          fc.record({
            count: fc.integer({ min: 1, max: Math.max(maxReplicas, 2) }),
            speed: fc.integer({ min: 1, max: 4 }),
            bars: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: n, maxLength: n }),
            stageUs: amount,
            open: crossing,
            seal: crossing,
            memoryBytes: fc.integer({ min: 10, max: 90 }),
          }),
          { minLength: k, maxLength: k },
        ),
        links: fc.array(fc.array(maybe, { minLength: k, maxLength: k }), { minLength: k, maxLength: k }),
        fromClient: fc.array(maybe, { minLength: k, maxLength: k }),
        toClient: fc.array(maybe, { minLength: k, maxLength: k }),
        regionAt: fc.nat(n - 1),
        regionNodes: fc.integer({ min: 1, max: 2 }),
        channels: fc.integer({ min: 2, max: 9 }),
        granule: fc.integer({ min: 1, max: 2 }),
        isSealedOnce: fc.boolean(),
      })
      .map((drawn): Problem => {
        const values = drawn.sizes.map((bytes, index): Value => {
          const next = index < n ? [index] : []
          const more = isWide ? drawn.readers[index]!.filter((node) => node >= index && node < n) : []
          const drops = isWide && drawn.readers[index]!.length > 0 && more.length > 0
          return {
            name: `v${index}`,
            bytes,
            from: index === 0 ? undefined : index - 1,
            to: [...new Set(drops ? more : [...next, ...more])].sort((a, b) => a - b),
            isOutput: index === n || (isWide && drawn.isOutput[index] === 0),
          }
        })
        const last = Math.min(n, drawn.regionAt + drawn.regionNodes)
        const region: Region = {
          nodes: Array.from({ length: last - drawn.regionAt }, (_, index) => drawn.regionAt + index),
          channels: drawn.channels,
          granule: drawn.granule,
          divided: [drawn.regionAt],
          dividedInputs: drawn.regionNodes === 1 && n > 2 ? [drawn.regionAt] : [],
        }
        const problem: Problem = {
          nodes: drawn.weights.map((weightBytes, index) => ({
            name: `n${index}`,
            weightBytes,
            scratchBytes: weightBytes % 4,
          })),
          values,
          classes: drawn.kinds.map(({ count, speed, bars, stageUs, open, seal, memoryBytes }, index) => ({
            name: `d${index}`,
            count,
            nodeUs: drawn.work.map((us, node) => (bars[node] === 0 ? Infinity : us * speed)),
            stageUs,
            open,
            seal,
            memoryBytes,
            sessionBytes: 2,
          })),
          links: drawn.links,
          fromClient: drawn.fromClient,
          toClient: drawn.toClient,
          regions: maxParts > 1 ? [region] : [],
          shape,
          maxReplicas,
          maxParts,
        }
        return shape === 'dag' && maxParts === 1 && drawn.isSealedOnce ? { ...problem, sealedOnce: true } : problem
      }),
  )
}

/** Every placement of the space. */
export function* placements(problem: Problem): Generator<Placement> {
  const all = (1 << problem.nodes.length) - 1
  const needs = problem.nodes.map(() => 0)
  for (const { from, to } of problem.values) if (from !== undefined) for (const node of to) needs[node]! |= 1 << from
  yield* after(
    0,
    problem.classes.map(({ count }) => count),
    [],
  )

  function* after(held: number, left: readonly number[], stages: readonly PlacedStage[]): Generator<Placement> {
    if (held === all) yield { stages }
    for (let more = 1; more <= all; more++) {
      const then = held | more
      if ((held & more) !== 0 || needs.some((need, node) => (then & (1 << node)) !== 0 && (need & ~then) !== 0))
        continue
      const nodes = problem.nodes.flatMap((_, node) => ((more & (1 << node)) === 0 ? [] : [node]))
      for (const holding of holdings(problem, nodes, left)) {
        const rest = [...left]
        if (holding.kind === 'one') rest[holding.class]!--
        else if (holding.kind === 'replicas') rest[holding.class]! -= holding.count
        else for (const kind of holding.classes) rest[kind]!--
        yield* after(then, rest, [...stages, { nodes, holding }])
      }
    }
  }
}

function* holdings(problem: Problem, nodes: readonly number[], left: readonly number[]): Generator<Holding> {
  for (const [kind, count] of left.entries()) {
    if (count > 0) yield { kind: 'one', class: kind }
    for (let turns = 2; turns <= Math.min(count, problem.maxReplicas); turns++) {
      yield { kind: 'replicas', class: kind, count: turns }
    }
  }
  for (const [region, { nodes: parted }] of problem.regions.entries()) {
    if (parted.join() !== nodes.join()) continue
    for (const classes of multisets(left, problem.maxParts))
      if (classes.length > 1) yield { kind: 'parts', region, classes }
  }
}

function* multisets(left: readonly number[], most: number, from = 0): Generator<number[]> {
  yield []
  if (most === 0) return
  for (let kind = from; kind < left.length; kind++) {
    if (left[kind] === 0) continue
    const rest = left.map((count, index) => (index === kind ? count - 1 : count))
    for (const others of multisets(rest, most - 1, kind)) yield [kind, ...others]
  }
}

/** The least value of a legal placement; `Infinity` where there is none. */
export function leastOf(problem: Problem, objective: Objective): number {
  let least = Infinity
  for (const placement of placements(problem)) {
    const cost = costOf(problem, placement)
    if (isLegal(cost)) least = Math.min(least, valueOf(cost, objective))
  }
  return least
}
