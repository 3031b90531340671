import * as fc from 'fast-check'
import t from 'tap'
import { costOf } from '#broker/planner/cost.js'
import { effortOf } from '#broker/planner/effort.js'
import { lighterOf } from '#broker/planner/lighter.js'
import type { Problem } from '#broker/planner/problem.js'
import { leastLimit } from '#broker/planner/threshold.js'
import { timeSearchOf } from '#broker/planner/uniform.js'
import { leastByWindows } from '#broker/planner/windows.js'
import { leastOf, placements, smallProblem } from '#test/support/small-problem.js'

const graphs = smallProblem({ shape: 'dag', nodes: 5, classes: 3, maxReplicas: 2, isWide: true })
const effort = effortOf({})

t.test('what can follow what gives the same least period worked out again and again as kept', (t) => {
  let found = 0
  fc.assert(
    fc.property(graphs, (problem) => {
      const { space, measure } = timeSearchOf(problem, effort)
      const kept = leastLimit(space, measure, 0, 1e300, effort)
      const again = leastByWindows({ ...space, measure }, 0, undefined, effort)
      if (kept.path !== undefined) found++
      if ((kept.path === undefined) !== (again.path === undefined)) throw new Error('only one finds a path')
      if (kept.path !== undefined && Math.abs(kept.cost - again.cost) > 1e-9 * kept.cost) {
        throw new Error(`${kept.cost} kept, ${again.cost} worked out again`)
      }
      if (again.lowerBound !== kept.lowerBound && Math.abs(again.lowerBound - kept.lowerBound) > 1e-8 * kept.cost) {
        throw new Error('other bounds')
      }
    }),
    { numRuns: 200 },
  )
  t.ok(found > 20, `${found} problems could be placed`)
  t.end()
})

t.test('without nodes that take no time nothing costs more, and with them put back all are in their order', (t) => {
  let lighter = 0
  const idle = fc
    .tuple(graphs, fc.array(fc.nat(4), { minLength: 1, maxLength: 3 }))
    .map(([problem, nodes]): Problem => {
      const classes = problem.classes.map((kind) => ({
        ...kind,
        nodeUs: kind.nodeUs.map((us, node) => (nodes.includes(node) && us !== Infinity ? 0 : us)),
      }))
      // The last node's result is for nobody: it may be left out.
      const values = problem.values.map((value) => ({
        ...value,
        isOutput: value.isOutput && !nodes.includes(value.from ?? -1),
      }))
      return { ...problem, classes, values }
    })
  fc.assert(
    fc.property(idle, (problem) => {
      const light = lighterOf(problem)
      if (light === undefined) return
      lighter++
      const least = leastOf(light.problem, { kind: 'throughput' })
      if (least > leastOf(problem, { kind: 'throughput' }) * (1 + 1e-9))
        throw new Error('leaving nodes out costs something')
      let count = 0
      for (const placement of placements(light.problem)) {
        if (++count > 20) break
        const restored = light.restore(placement)
        const stageOf = new Map(
          restored.stages.flatMap(({ nodes }, stage) => nodes.map((node) => [node, stage] as const)),
        )
        if (stageOf.size !== problem.nodes.length) throw new Error('not every node is back')
        for (const { from, to } of problem.values) {
          if (from !== undefined && to.some((node) => stageOf.get(node)! < stageOf.get(from)!))
            throw new Error('out of order')
        }
        costOf(problem, restored)
      }
    }),
    { numRuns: 100 },
  )
  t.ok(lighter > 20, `${lighter} problems had something to leave out`)
  t.end()
})
