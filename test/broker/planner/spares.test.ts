import * as fc from 'fast-check'
import t from 'tap'
import { Refusal } from '#shared/errors.js'
import { loadOf } from '#broker/planner/cost.js'
import { optimise } from '#broker/planner/optimise.js'
import type { Placement, Problem } from '#broker/planner/problem.js'
import { spares } from '#broker/planner/spares.js'
import { smallProblem } from '#test/support/small-problem.js'

t.test('a spare may run the stage, has the links, and room for it beside what it holds and keeps already', (t) => {
  let found = 0
  fc.assert(
    fc.property(smallProblem({ shape: 'dag', nodes: 4, classes: 3, maxReplicas: 2, isWide: true }), (problem) => {
      const placement = placed(problem)
      if (placement === undefined) return
      const kept = new Map<string, number>()
      for (const [stage, spare] of spares(problem, placement).entries()) {
        if (spare === undefined) continue
        found++
        const { class: kind, holds, memoryBytes } = spare
        if (holds?.stage === stage) throw new Error('a device is its own spare')
        const holding = { kind: 'one', class: kind } as const
        const stages = placement.stages.with(stage, { nodes: placement.stages[stage]!.nodes, holding })
        const { cost, members } = loadOf(problem, { stages })
        if (!(cost.periodUs <= spare.periodUs)) throw new Error('it would be quicker than what it costs')
        if (members.find((member) => member.stage === stage)!.memoryBytes !== memoryBytes)
          throw new Error('other memory')
        if (holds === undefined) continue
        const name = `${holds.stage} ${holds.member}`
        kept.set(name, (kept.get(name) ?? 0) + memoryBytes)
        const own = loadOf(problem, placement).members.find((member) => member.stage === holds.stage)!.memoryBytes
        if (own + kept.get(name)! > problem.classes[kind]!.memoryBytes) throw new Error('more than it has room for')
      }
    }),
    { numRuns: 80 },
  )
  t.ok(found > 5, `${found} spares were looked at`)
  t.end()
})

function placed(problem: Problem): Placement | undefined {
  try {
    return optimise(problem, { kind: 'throughput' }).placement
  } catch (error) {
    if (error instanceof Refusal) return undefined
    throw error
  }
}
