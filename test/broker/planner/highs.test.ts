import { createRequire } from 'node:module'
import t from 'tap'
import { optimise } from '#broker/planner/optimise.js'
import type { Objective, Problem } from '#broker/planner/problem.js'
import { Refusal } from '#shared/errors.js'
import { leastOf, lookAtAll } from '#test/support/planner/brute-force.js'
import { chainProgram, placementOf } from '#test/support/planner/chain-program.js'
import { chainOf } from '#test/support/planner/instances.js'
import { naiveCost } from '#test/support/planner/naive-cost.js'
import { seeds } from '#test/support/planner/seeds.js'

const instances = 12
const largerInstances = 4
t.setTimeout(120_000)

const throughput: Objective = { kind: 'throughput' }
// Its types describe the CommonJS build, which therefore is the one to ask for.
const highs = createRequire(import.meta.url)('highs') as typeof import('highs')
const solver = await highs.default()

/** The shortest period that HiGHS finds, `Infinity` where it proves that there is none. */
function solvedUs(problem: Problem): number {
  const { Status, Columns } = solver.solve(chainProgram(problem), { mip_rel_gap: 0, mip_abs_gap: 0 })
  if (Status === 'Infeasible') return Infinity
  if (Status !== 'Optimal') throw new Error(`HiGHS says: ${Status}`)
  // Within its tolerance the solver's T may be off; what it chose is exact.
  const chosen = Object.entries(Columns).flatMap(([name, column]) =>
    'Primal' in column && column.Primal > 0.5 ? [name] : [],
  )
  const { periodUs, memoryShare } = naiveCost(problem, placementOf(chosen))
  return memoryShare <= 1 ? periodUs : NaN
}

t.test('on small chains a mixed-integer solver finds the period that looking at all finds', (t) => {
  let impossible = 0
  for (const seed of seeds('highs', instances)) {
    const problem = chainOf(seed, { nodes: 6, devices: 4 })
    const least = leastOf(lookAtAll(problem, Infinity)!, throughput)
    if (least === Infinity) impossible++
    const solved = solvedUs(problem)
    if (solved !== least) t.equal(solved, least, `seed ${seed}`)
  }
  t.ok(impossible < instances / 2, `${impossible} had no placement`)
  t.end()
})

t.test('on chains that are too large to look at all, the planner finds the period that the solver finds', (t) => {
  for (const seed of seeds('highs, larger', largerInstances)) {
    const problem = chainOf(seed, { nodes: 10, devices: 5 })
    t.equal(plannedUs(problem), solvedUs(problem), `seed ${seed}`)
  }
  t.end()
})

function plannedUs(problem: Problem): number {
  try {
    return optimise(problem, throughput).certificate.value
  } catch (error) {
    if (error instanceof Refusal && error.code === 'cannot-plan') return Infinity
    throw error
  }
}
