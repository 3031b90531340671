import * as fc from 'fast-check'
import t from 'tap'
import { Refusal } from '#shared/errors.js'
import { costOf } from '#broker/planner/cost.js'
import { optimise, paretoFront } from '#broker/planner/optimise.js'
import type { DeviceClass, Link, Problem } from '#broker/planner/problem.js'
import { smallProblem } from '#test/support/small-problem.js'

/** Numbers in [0, 1) that are the same every time. */
function dice(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** A row of nodes and classes of devices with links and speeds of their own. */
function row(count: number, counts: readonly number[], seed: number): Problem {
  const roll = dice(seed)
  const us = Array.from({ length: count }, () => 500 + 4500 * roll() ** 2)
  const crossing = { messageUs: 20, byteUs: 0.0004 }
  const rates = counts.map(() => 0.001 + 0.009 * roll())
  const link = (from: number, to: number): Link => {
    return { messageUs: 30, byteUs: Math.max(rates[from] ?? 0.001, rates[to] ?? 0.001), latencyUs: 200 }
  }
  return {
    nodes: us.map((_, node) => ({ name: `n${node}`, weightBytes: Math.round(1e5 + 1e6 * roll()), scratchBytes: 1e6 })),
    values: Array.from({ length: count + 1 }, (_, value) => ({
      name: `v${value}`,
      bytes: Math.round(5e4 + 1e6 * roll()),
      from: value === 0 ? undefined : value - 1,
      to: value === count ? [] : [value],
      isOutput: value === count,
    })),
    classes: counts.map((devices, kind): DeviceClass => {
      const speed = 0.25 + 2 * roll()
      const nodeUs = us.map((time) => time * speed * (0.9 + 0.2 * roll()))
      const memory = { memoryBytes: 2e7, sessionBytes: 1e6 }
      return { name: `d${kind}`, count: devices, nodeUs, stageUs: 50, open: crossing, seal: crossing, ...memory }
    }),
    links: counts.map((_, from) => counts.map((_, to) => link(from, to))),
    fromClient: counts.map((_, to) => link(-1, to)),
    toClient: counts.map((_, from) => link(from, -1)),
    regions: [],
    shape: 'chain',
    maxReplicas: 1,
    maxParts: 1,
  }
}

const throughput = { kind: 'throughput' } as const

t.test('16 devices that all differ and 48 nodes: the least period is proven', (t) => {
  const { certificate } = optimise(
    row(
      48,
      Array.from({ length: 16 }, () => 1),
      3,
    ),
    throughput,
  )
  t.equal(certificate.gap, 0)
  t.equal(certificate.lowerBound, certificate.value)
  t.end()
})

t.test('24 devices of 4 classes and 200 nodes: the least period is proven, with replicas too', (t) => {
  const problem = { ...row(200, [6, 6, 6, 6], 4) }
  const alone = optimise(problem, throughput)
  t.equal(alone.certificate.gap, 0)
  const byTurns = optimise({ ...problem, maxReplicas: 3 }, throughput)
  t.equal(byTurns.certificate.gap, 0)
  t.ok(byTurns.certificate.value <= alone.certificate.value, 'replicas may be used and need not be')
  t.end()
})

t.test('30 devices that all differ and 300 nodes: not proven, but near a true bound, and the same every time', (t) => {
  const problem = row(
    300,
    Array.from({ length: 30 }, () => 1),
    5,
  )
  const { certificate, placement } = optimise(problem, throughput)
  t.ok(certificate.gap < 0.05, `the gap is ${certificate.gap}`)
  t.match(certificate.remark, /too many to search/)
  t.equal(costOf(problem, placement).periodUs, certificate.value)
  t.strictSame(optimise(problem, throughput).placement, placement)
  t.end()
})

t.test('one more device never makes a plan worse', (t) => {
  let compared = 0
  const problems = smallProblem({ shape: 'dag', nodes: 5, classes: 3, maxReplicas: 2, isWide: true })
  fc.assert(
    fc.property(problems, fc.nat(2), fc.constantFrom('throughput', 'latency', 'memory'), (problem, kind, objective) => {
      const before = valueOf(problem, { kind: objective })
      const classes = problem.classes.map((one, index) =>
        index === kind % problem.classes.length ? { ...one, count: one.count + 1 } : one,
      )
      const after = valueOf({ ...problem, classes }, { kind: objective })
      if (before < Infinity) compared++
      if (after > before * (1 + 1e-9)) throw new Error(`${before} became ${after}`)
    }),
    { numRuns: 60 },
  )
  t.ok(compared > 10, `${compared} were compared`)
  t.end()
})

t.test('no point of a front beats another one, and its ends are the least period and the least latency', (t) => {
  let fronts = 0
  const problems = smallProblem({ shape: 'chain', nodes: 6, classes: 3, isWide: true })
  fc.assert(
    fc.property(problems, (problem) => {
      const period = valueOf(problem, throughput)
      if (period === Infinity) return
      const { points, isProven } = paretoFront(problem)
      fronts++
      if (!isProven) throw new Error('not proven')
      points.forEach(({ cost }, at) => {
        const next = points[at + 1]
        if (next === undefined) return
        if (!(cost.periodUs < next.cost.periodUs && cost.latencyUs > next.cost.latencyUs))
          throw new Error('one beats another')
      })
      if (Math.abs(points[0]!.cost.periodUs - period) > 1e-9 * period) throw new Error('not the least period')
      const latency = valueOf(problem, { kind: 'latency' })
      if (Math.abs(points.at(-1)!.cost.latencyUs - latency) > 1e-9 * latency) throw new Error('not the least latency')
    }),
    { numRuns: 60 },
  )
  t.ok(fronts > 10, `${fronts} fronts`)
  t.end()
})

function valueOf(problem: Problem, objective: { kind: 'throughput' | 'latency' | 'memory' }): number {
  try {
    return optimise(problem, objective).certificate.value
  } catch (error) {
    if (error instanceof Refusal) return Infinity
    throw error
  }
}
