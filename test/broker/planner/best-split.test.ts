import fc from 'fast-check'
import t from 'tap'
import { bestSplit } from '#broker/planner/best-split.js'
import { costOf } from '#broker/planner/cost.js'
import { isLegal, valueOf } from '#broker/planner/objective.js'
import { optimise } from '#broker/planner/optimise.js'
import { pose } from '#broker/planner/pose.js'
import type { Objective } from '#broker/planner/problem.js'
import { mistakeIn } from '#test/support/planner/legal.js'
import { chainOptions, chainWork, fleetFrom } from '#test/support/planned.js'
import { placements, smallProblem } from '#test/support/small-problem.js'

const objectives: Objective[] = [
  { kind: 'throughput' },
  { kind: 'latency' },
  { kind: 'batch', requests: 3 },
  { kind: 'memory' },
]

t.test('it is a legal plan with a stage in parts, worth what it says, and never better than the best', (t) => {
  const problem = fc
    .constantFrom('chain' as const, 'dag' as const)
    .chain((shape) => smallProblem({ shape, nodes: 4, classes: 3, maxParts: 3, isWide: shape === 'dag' }))
  let found = 0
  fc.assert(
    fc.property(problem, fc.constantFrom(...objectives), (posed, objective) => {
      const split = bestSplit(posed, objective)
      if (split === undefined) return true
      found++
      const cost = costOf(posed, split.placement)
      return (
        mistakeIn(posed, split.placement) === undefined &&
        isLegal(cost) &&
        valueOf(cost, objective) === split.value &&
        split.placement.stages.some(({ holding }) => holding.kind === 'parts' && holding.region === split.region) &&
        split.value >= optimise(posed, objective).certificate.value * (1 - 1e-9)
      )
    }),
    { numRuns: 200 },
  )
  t.ok(found > 10, `${found} of them could be in parts`)
  t.end()
})

t.test('it has at most one device before the parts and one after, and is no better than all such plans', (t) => {
  const isOfItsForm = (kinds: readonly string[]): boolean =>
    kinds.filter((kind) => kind === 'parts').length === 1 &&
    kinds.every((kind) => kind !== 'replicas') &&
    /^(one )?parts( one)?$/.test(kinds.join(' '))
  fc.assert(
    fc.property(
      smallProblem({ shape: 'chain', nodes: 4, classes: 2, maxParts: 2 }),
      fc.constantFrom(...objectives),
      (posed, objective) => {
        let least = Infinity
        for (const placement of placements(posed)) {
          if (!isOfItsForm(placement.stages.map(({ holding }) => holding.kind))) continue
          const cost = costOf(posed, placement)
          if (isLegal(cost)) least = Math.min(least, valueOf(cost, objective))
        }
        const split = bestSplit(posed, objective)
        // Nodes that do not need each other may stand before or after the region: there it may miss the best.
        return least === Infinity ? split === undefined : split === undefined || split.value >= least
      },
    ),
    { numRuns: 200 },
  )
  t.end()
})

t.test('a layer too heavy for one device alone goes to two, in proportion to their speed', (t) => {
  const region = { nodes: [0], channels: 12, granule: 2, divided: [0], dividedInputs: [], exact: true }
  const work = { ...chainWork([9000, 10]), regions: [region] }
  const fleet = fleetFrom(
    'devices: [{ name: a, memory: 1 MB }, { name: b, memory: 1 MB, speed: 0.5 }, { name: c, memory: 1 MB, speed: 0.1 }]',
  )
  const { problem } = pose(work, fleet, { ...chainOptions, maxParts: 2 })
  const split = bestSplit(problem, { kind: 'latency' })!
  t.match(split.placement.stages, [
    { nodes: [0], holding: { kind: 'parts', classes: [0, 1] } },
    { nodes: [1], holding: { kind: 'one', class: 2 } },
  ])
  t.ok(split.value < 6400 && split.value > 6000, `${split.value}`)
  t.equal(bestSplit({ ...problem, regions: [] }, { kind: 'latency' }), undefined)
  t.end()
})
