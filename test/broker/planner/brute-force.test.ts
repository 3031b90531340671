import t from 'tap'
import { costOf } from '#broker/planner/cost.js'
import { optimise, paretoFront, type Optimum } from '#broker/planner/optimise.js'
import type { Objective, Problem } from '#broker/planner/problem.js'
import { Refusal } from '#shared/errors.js'
import { frontOf, isNear, leastOf, lookAtAll, naiveValue, type Looked } from '#test/support/planner/brute-force.js'
import { instanceOf } from '#test/support/planner/instances.js'
import { mistakeIn } from '#test/support/planner/legal.js'
import { naiveCost } from '#test/support/planner/naive-cost.js'
import { seeds } from '#test/support/planner/seeds.js'

/** `TESSERA_PLANNER_INSTANCES=10000` takes some minutes. */
const instances = Number(process.env['TESSERA_PLANNER_INSTANCES'] ?? 120)
/** On a busy machine an instance takes a tenth of a second. */
t.setTimeout(60_000 + instances * 1000)
const mostLooked = 30_000
const objectives: readonly Objective[] = [
  { kind: 'throughput' },
  { kind: 'latency' },
  { kind: 'batch', requests: 5 },
  { kind: 'memory' },
]

t.test('the planner finds what looking at every placement finds, and proves it', (t) => {
  const tally = { possible: 0, impossible: 0, skipped: 0 }
  for (const seed of seeds('brute', instances)) {
    const problem = instanceOf(seed)
    const looked = lookAtAll(problem, mostLooked)
    if (looked === undefined) {
      tally.skipped++
      continue
    }
    if (looked.feasible.length === 0) tally.impossible++
    else tally.possible++
    for (const objective of objectives) {
      const wrong = wrongWith(problem, objective, leastOf(looked, objective))
      if (wrong !== undefined) t.fail(`seed ${seed}, ${objective.kind}: ${wrong}`)
    }
    const wrong = wrongWithFront(problem, looked)
    if (wrong !== undefined) t.fail(`seed ${seed}, front: ${wrong}`)
  }
  t.comment(JSON.stringify(tally))
  t.ok(tally.possible > instances / 2 && tally.impossible > instances / 20, 'some can be placed, some cannot')
  t.end()
})

t.test('a planner that is stopped early gives a plan or gives up, and claims nothing that is not so', (t) => {
  const tally = { proven: 0, unproven: 0, refused: 0 }
  for (const seed of seeds('early', Math.ceil(instances / 4))) {
    const problem = instanceOf(seed)
    const looked = lookAtAll(problem, mostLooked)
    if (looked === undefined) continue
    for (const objective of objectives) {
      for (const budgetMs of [0, 3, 40]) {
        const least = leastOf(looked, objective)
        const answer = stoppedEarly(problem, objective, budgetMs)
        if (answer === undefined) {
          tally.refused++
          continue
        }
        const { placement, certificate } = answer
        const value = naiveValue(naiveCost(problem, placement), objective)
        const isTrue = certificate.lowerBound <= least || isNear(certificate.lowerBound, least)
        const isHeld =
          mistakeIn(problem, placement) === undefined && isNear(value, certificate.value) && least < Infinity
        if (!isTrue || !isHeld)
          t.fail(`seed ${seed}, ${budgetMs} looks at the clock: ${JSON.stringify(certificate)}, best ${least}`)
        tally[certificate.gap === 0 ? 'proven' : 'unproven']++
      }
    }
  }
  t.comment(JSON.stringify(tally))
  t.ok(tally.unproven > 0 && tally.proven > 0 && tally.refused > 0, 'some were stopped in time, some were done')
  t.end()
})

/** The plan of a planner whose clock goes on whenever it is looked at; `undefined` where it gives up. */
function stoppedEarly(problem: Problem, objective: Objective, budgetMs: number): Optimum | undefined {
  let nowMs = 0
  try {
    return optimise(problem, objective, { budgetMs, clock: () => nowMs++ })
  } catch (error) {
    if (error instanceof Refusal && error.code === 'cannot-plan') return undefined
    throw error
  }
}

/** What is wrong with the planner's answer, where the best there is has the value `least`. */
function wrongWith(problem: Problem, objective: Objective, least: number): string | undefined {
  let optimum: Optimum
  try {
    optimum = optimise(problem, objective)
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 'cannot-plan') throw error
    return least === Infinity ? undefined : `refused (${error.message}), but there is one of ${least}`
  }
  const { placement, cost, certificate } = optimum
  if (least === Infinity) return `a plan of ${certificate.value} where there is none: ${JSON.stringify(placement)}`
  const mistake = mistakeIn(problem, placement)
  if (mistake !== undefined) return `not in the space: ${mistake}`
  const value = naiveValue(naiveCost(problem, placement), objective)
  if (!isNear(value, certificate.value)) return `it is worth ${value} and not ${certificate.value}`
  if (
    !isNear(value, naiveValue(costOf(problem, placement), objective)) ||
    !isNear(value, naiveValue(cost, objective))
  ) {
    return `its cost is said to be ${JSON.stringify(cost)}`
  }
  if (!isNear(value, least)) return `it is worth ${value}, the best is ${least}`
  if (certificate.lowerBound > least && !isNear(certificate.lowerBound, least)) {
    return `nothing is better than ${certificate.lowerBound}, it says, but ${least} is`
  }
  if (certificate.gap > 1e-9) return `the best, but not proven: ${certificate.proof}; ${certificate.remark}`
  return undefined
}

/** What is wrong with the front that the planner gives, where `looked` is all there is. */
function wrongWithFront(problem: Problem, { feasible }: Looked): string | undefined {
  if (feasible.length === 0) return undefined
  const { points, isProven, remark } = paretoFront(problem)
  for (const { placement } of points) {
    const mistake = mistakeIn(problem, placement)
    if (mistake !== undefined) return `not in the space: ${mistake}`
  }
  const found = frontOf(points.map(({ placement }) => naiveCost(problem, placement)))
  const best = frontOf(feasible.map(({ cost }) => cost))
  const isSame =
    found.length === best.length &&
    best.every(
      ({ periodUs, latencyUs }, i) => isNear(found[i]!.periodUs, periodUs) && isNear(found[i]!.latencyUs, latencyUs),
    )
  if (!isSame) return `its front is ${JSON.stringify(found)}, the best is ${JSON.stringify(best)}`
  return isProven ? undefined : `the best front, but not proven: ${remark}`
}
