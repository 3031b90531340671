import * as fc from 'fast-check'
import t from 'tap'
import { effortOf } from '#broker/planner/effort.js'
import { pricedBound } from '#broker/planner/prices.js'
import { segmentsOf } from '#broker/planner/segments.js'
import { leastLimit, limitsOf } from '#broker/planner/threshold.js'
import { timeSearchOf } from '#broker/planner/uniform.js'
import { smallProblem } from '#test/support/small-problem.js'

t.test('prices never raise the bound above the least period that there is', (t) => {
  const effort = effortOf({})
  let raised = 0
  fc.assert(
    fc.property(smallProblem({ shape: 'chain', nodes: 12, classes: 4, maxReplicas: 2 }), (problem) => {
      const { space, measure } = timeSearchOf(problem, effort)
      const least = leastLimit(space, measure, 0, 1e300, effort)
      if (least.path === undefined) return
      const high = 2 * least.cost
      const segments = segmentsOf(space.ideals, measure, limitsOf(space, measure, high), Infinity)!
      const { lowerBound, work } = pricedBound(space, segments, 0, high, () => false)
      if (lowerBound > 0) raised++
      if (lowerBound > least.cost * (1 + 1e-9))
        throw new Error(`a bound of ${lowerBound}, but ${least.cost} is possible`)
      for (let ideal = 1; ideal < work.length; ideal++)
        if (work[ideal]! < work[ideal - 1]!) throw new Error('work is lost')
    }),
    { numRuns: 150 },
  )
  t.ok(raised > 20, `${raised} bounds were raised`)
  t.end()
})
