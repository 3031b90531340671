import * as fc from 'fast-check'
import t, { type Test } from 'tap'
import { Refusal } from '#shared/errors.js'
import { costOf } from '#broker/planner/cost.js'
import { valueOf } from '#broker/planner/objective.js'
import { optimise } from '#broker/planner/optimise.js'
import type { Objective, Problem } from '#broker/planner/problem.js'
import { leastOf, smallProblem, type Shape } from '#test/support/small-problem.js'

const numRuns = Number(process.env['TESSERA_RUNS'] ?? 25)

const objectives: Record<string, Objective> = {
  throughput: { kind: 'throughput' },
  latency: { kind: 'latency' },
  batch: { kind: 'batch', requests: 5 },
  memory: { kind: 'memory' },
}

const shapes: Record<string, Shape> = {
  graphs: { shape: 'dag', nodes: 5, classes: 3, isWide: true },
  'graphs with replicas': { shape: 'dag', nodes: 4, classes: 2, maxReplicas: 2, isWide: true },
  'graphs with parts': { shape: 'dag', nodes: 4, classes: 3, maxParts: 3, isWide: true },
  'chains with parts and replicas': { shape: 'chain', nodes: 4, classes: 2, maxParts: 3, maxReplicas: 2 },
  'graphs with parts run as chains': { shape: 'chain', nodes: 4, classes: 3, maxParts: 3, isWide: true },
  chains: { shape: 'chain', nodes: 6, classes: 3 },
  'chains with replicas': { shape: 'chain', nodes: 4, classes: 2, maxReplicas: 3 },
  'graphs run as chains': { shape: 'chain', nodes: 5, classes: 3, isWide: true },
}

for (const [objectiveName, objective] of Object.entries(objectives)) {
  for (const [shapeName, shape] of Object.entries(shapes)) {
    t.test(`${objectiveName}: no placement of small ${shapeName} is better than the plan, and that is proven`, (t) => {
      fc.assert(
        fc.property(smallProblem(shape), (problem) => {
          isLeast(t, problem, objective)
        }),
        {
          numRuns,
          ...(process.env['TESSERA_SEED'] === undefined ? {} : { seed: Number(process.env['TESSERA_SEED']) }),
        },
      )
      t.end()
    })
  }
}

function isLeast(t: Test, problem: Problem, objective: Objective): void {
  const least = leastOf(problem, objective)
  let planned = Infinity
  try {
    const { placement, cost, certificate } = optimise(problem, objective)
    planned = certificate.value
    if (JSON.stringify(costOf(problem, placement)) !== JSON.stringify(cost))
      throw new Error('not what the placement costs')
    if (valueOf(cost, objective) !== planned) throw new Error('not the value')
    if (certificate.gap !== 0) throw new Error(`not proven: ${certificate.lowerBound} of ${planned}`)
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 'cannot-plan') throw error
  }
  if (least !== planned && Math.abs(planned - least) > 1e-9 * least)
    throw new Error(`planned ${planned}, the least is ${least}`)
}
