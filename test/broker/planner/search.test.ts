import t from 'tap'
import { optimise } from '#broker/planner/optimise.js'
import { search } from '#broker/planner/search.js'
import type { Problem } from '#broker/planner/problem.js'

/** A chain of nodes over two devices that differ. */
function chainOf(count: number, memoryBytes = 1e9): Problem {
  const crossing = { messageUs: 10, byteUs: 0.001 }
  const link = { messageUs: 10, byteUs: 0.01, latencyUs: 100 }
  const deviceOf = (name: string, us: number) => ({
    name,
    count: 1,
    nodeUs: Array.from({ length: count }, () => us),
    stageUs: 10,
    open: crossing,
    seal: crossing,
    memoryBytes,
    sessionBytes: 0,
  })
  return {
    nodes: Array.from({ length: count }, (_, i) => ({ name: `n${i}`, weightBytes: 1000, scratchBytes: 0 })),
    values: Array.from({ length: count + 1 }, (_, i) => ({
      name: `v${i}`,
      bytes: 100,
      from: i === 0 ? undefined : i - 1,
      to: i === count ? [] : [i],
      isOutput: i === count,
    })),
    classes: [deviceOf('fast', 100), deviceOf('slow', 300)],
    links: [
      [link, link],
      [link, link],
    ],
    fromClient: [link, link],
    toClient: [link, link],
    regions: [],
    shape: 'chain',
    maxReplicas: 1,
    maxParts: 1,
  }
}

const objective = { kind: 'throughput' } as const

t.test('a search in a thread of its own finds what one in line finds', async (t) => {
  for (const problem of [chainOf(5), chainOf(150)]) {
    const found = await search({ problem, objective }, false)
    t.strictSame(found, optimise(problem, objective))
    t.strictSame(await search({ problem, objective }, true), found)
  }
})

t.test('what stands in the way of a plan is said from there as well', async (t) => {
  const problem = chainOf(150, 1000)
  t.throws(() => optimise(problem, objective), { code: 'cannot-plan' })
  await t.rejects(search({ problem, objective }, false), { name: 'Refusal', code: 'cannot-plan' })
})
