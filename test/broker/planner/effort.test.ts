import t from 'tap'
import { effortOf, type Effort } from '#broker/planner/effort.js'
import type { Problem } from '#broker/planner/problem.js'
import type { Searched } from '#broker/planner/searched.js'
import { searchPaths } from '#broker/planner/uniform.js'
import { searchWhole } from '#broker/planner/whole.js'
import { isNear, leastOf, lookAtAll, naiveValue } from '#test/support/planner/brute-force.js'
import { Dice } from '#test/support/planner/dice.js'
import { instanceOf } from '#test/support/planner/instances.js'
import { mistakeIn } from '#test/support/planner/legal.js'
import { naiveCost } from '#test/support/planner/naive-cost.js'
import { seeds } from '#test/support/planner/seeds.js'

const instances = 100
const mostLooked = 3000

t.test('a search that may try little finds less, but what it finds holds and its bound is true', (t) => {
  const tally = { best: 0, worse: 0, nothing: 0 }
  for (const seed of seeds('effort', instances)) {
    const problem = instanceOf(seed)
    const looked = lookAtAll(problem, mostLooked)
    if (looked === undefined) continue
    const searched = searchFor(problem, littleEffort(new Dice(`${seed}/effort`)))
    for (const kind of ['throughput', 'latency', 'memory'] as const) {
      const least = leastOf(looked, { kind })
      const { placement, lowerBound } = searched.best({ kind })
      if (lowerBound > least && !isNear(lowerBound, least))
        t.fail(`seed ${seed}, ${kind}: ${lowerBound} above ${least}`)
      if (placement === undefined) {
        tally.nothing++
        continue
      }
      const mistake = mistakeIn(problem, placement)
      if (mistake !== undefined) t.fail(`seed ${seed}, ${kind}: ${mistake}`)
      const cost = naiveCost(problem, placement)
      if (!(cost.periodUs < Infinity && cost.memoryShare <= 1)) t.fail(`seed ${seed}, ${kind}: it does not hold`)
      tally[isNear(naiveValue(cost, { kind }), least) ? 'best' : 'worse']++
    }
  }
  t.comment(JSON.stringify(tally))
  t.ok(tally.best > 0 && tally.worse > 0 && tally.nothing > 0, 'some were stopped by it')
  t.end()
})

/** As `optimise` chooses. */
function searchFor(problem: Problem, effort: Effort): Searched {
  const isParted = problem.maxParts > 1 && problem.regions.length > 0
  return problem.shape === 'dag' || isParted ? searchWhole(problem, effort) : searchPaths(problem, effort)
}

/** Each of the limits is so low that it matters, more often than not. */
function littleEffort(dice: Dice): Effort {
  const all = effortOf({})
  const few = (of: number): number => (dice.chance(0.6) ? dice.pick([1, 3, 10, 30, 100, 1000]) : of)
  return {
    ideals: few(all.ideals),
    segments: few(all.segments),
    beamWidths: dice.chance(0.5) ? [dice.pick([1, 2, 4])] : all.beamWidths,
    operations: few(all.operations),
    labels: few(all.labels),
    tries: few(all.tries),
    pairs: few(all.pairs),
    isLate: () => false,
  }
}
