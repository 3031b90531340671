import * as fc from 'fast-check'
import t from 'tap'
import { costOf } from '#broker/planner/cost.js'
import { isLegal, valueOf } from '#broker/planner/objective.js'
import { optimise } from '#broker/planner/optimise.js'
import { polished } from '#broker/planner/polish.js'
import type { Link, Objective, Problem, Value } from '#broker/planner/problem.js'
import { placements, smallProblem } from '#test/support/small-problem.js'

t.test('polishing a placement leaves it in the space, and no worse', (t) => {
  let better = 0
  const problems = smallProblem({ shape: 'dag', nodes: 5, classes: 3, maxReplicas: 2, isWide: true })
  fc.assert(
    fc.property(problems, fc.constantFrom('throughput', 'latency', 'memory'), (problem, kind) => {
      const objective: Objective = { kind }
      const all = [...placements(problem)].filter((placement) => isLegal(costOf(problem, placement)))
      const names = new Set(all.map((placement) => JSON.stringify(placement)))
      const first = all[0]
      if (first === undefined) return
      const after = polished(problem, first, objective, () => false)
      if (!names.has(JSON.stringify(after))) throw new Error('not a placement of the space')
      const [old, now] = [first, after].map((placement) => valueOf(costOf(problem, placement), objective))
      if (now! > old!) throw new Error(`${old} became ${now}`)
      if (now! < old!) better++
    }),
    { numRuns: 60 },
  )
  t.ok(better > 5, `${better} became better`)
  t.end()
})

t.test('a graph with too many ideals to look at gets a plan, and a true bound', (t) => {
  const problem = branches(12, 4)
  const { certificate, cost, placement } = optimise(problem, { kind: 'throughput' })
  t.equal(certificate.value, cost.periodUs)
  t.ok(certificate.lowerBound <= certificate.value)
  t.ok(certificate.gap > 0 && certificate.gap < 0.5, `the gap is ${certificate.gap}`)
  t.match(certificate.remark, /not every placement/)
  t.ok(placement.stages.length > 1)
  t.end()
})

/** Branches of so many nodes each that start from one node and come together in one. */
function branches(count: number, length: number): Problem {
  const nodes = Array.from({ length: count * length + 2 }, (_, node) => ({
    name: `n${node}`,
    weightBytes: 1e5,
    scratchBytes: 1e5,
  }))
  const last = nodes.length - 1
  const value = (from: number | undefined, to: readonly number[]): Value => {
    return { name: `of ${from}`, bytes: 1e5, from, to, isOutput: from === last }
  }
  const starts = Array.from({ length: count }, (_, branch) => 1 + branch * length)
  const values = [value(undefined, [0]), value(0, starts), value(last, [])]
  for (const start of starts) {
    for (let node = start; node < start + length; node++)
      values.push(value(node, [node === start + length - 1 ? last : node + 1]))
  }
  const link: Link = { messageUs: 30, byteUs: 0.002, latencyUs: 200 }
  const crossing = { messageUs: 20, byteUs: 0.0005 }
  const classes = [1, 1.5, 2, 2.5].map((speed, kind) => ({
    name: `d${kind}`,
    count: 1,
    nodeUs: nodes.map((_, node) => speed * (400 + ((node * 97) % 300))),
    stageUs: 50,
    open: crossing,
    seal: crossing,
    memoryBytes: 1e8,
    sessionBytes: 1e6,
  }))
  const ends = classes.map(() => link)
  const links = classes.map(() => ends)
  return {
    nodes,
    values,
    classes,
    links,
    fromClient: ends,
    toClient: ends,
    regions: [],
    shape: 'dag',
    maxReplicas: 1,
    maxParts: 1,
  }
}
