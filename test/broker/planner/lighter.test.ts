import t from 'tap'
import { lighterOf } from '#broker/planner/lighter.js'
import { leastOf, lookAtAll } from '#test/support/planner/brute-force.js'
import { instanceOf } from '#test/support/planner/instances.js'
import { mistakeIn } from '#test/support/planner/legal.js'
import { seeds } from '#test/support/planner/seeds.js'

const instances = 600
const mostLooked = 2000

t.test('leaving out nodes that take no time only saves, and putting them back gives a placement', (t) => {
  let lighterOnes = 0
  for (const seed of seeds('lighter', instances)) {
    const problem = { ...instanceOf(seed, { nodes: 5, devices: 4 }), shape: 'dag' as const, maxParts: 1, regions: [] }
    const lighter = lighterOf(problem)
    if (lighter === undefined) continue
    const [all, fewer] = [lookAtAll(problem, mostLooked), lookAtAll(lighter.problem, mostLooked)]
    if (all === undefined || fewer === undefined) continue
    lighterOnes++
    for (const kind of ['throughput', 'latency', 'memory'] as const) {
      const [least, lighterLeast] = [leastOf(all, { kind }), leastOf(fewer, { kind })]
      if (lighterLeast > least * (1 + 1e-9)) t.fail(`seed ${seed}, ${kind}: ${lighterLeast} is above ${least}`)
    }
    for (const { placement } of fewer.feasible) {
      const mistake = mistakeIn(problem, lighter.restore(placement))
      if (mistake !== undefined) t.fail(`seed ${seed}: ${mistake}`)
    }
  }
  t.ok(lighterOnes > 10, `${lighterOnes} had such nodes`)
  t.end()
})
