import t from 'tap'
import { optimise } from '#broker/planner/optimise.js'
import { pose } from '#broker/planner/pose.js'
import type { Objective } from '#broker/planner/problem.js'
import { chainOptions, chainWork, fleetFrom } from '#test/support/planned.js'

const fleet = fleetFrom(
  `devices:\n${Array.from({ length: 4 }, (_, at) => `  - { name: d${at}, memory: 1 MB, speed: ${3 / (3 + at)} }\n`).join('')}`,
)
const { problem } = pose(
  chainWork(
    Array.from({ length: 20 }, (_, at) => 1 + (at % 5)),
    100,
  ),
  fleet,
  chainOptions,
)
const objectives: Objective[] = [
  { kind: 'throughput' },
  { kind: 'latency' },
  { kind: 'batch', requests: 5 },
  { kind: 'memory' },
]

for (const objective of objectives) {
  t.test(`a plan for ${objective.kind} that there was no time for is not called better than it is`, (t) => {
    const hurried = optimise(problem, objective, { budgetMs: 0, clock: () => 1 }).certificate
    const patient = optimise(problem, objective).certificate
    t.ok(hurried.lowerBound <= patient.value * (1 + 1e-9), `bound ${hurried.lowerBound}, found ${patient.value}`)
    t.ok(hurried.value >= patient.lowerBound * (1 - 1e-9))
    t.end()
  })
}
