import t from 'tap'
import { costOf } from '#broker/planner/cost.js'
import type { Cost, DeviceClass, Link, Placement, Problem, Value } from '#broker/planner/problem.js'
import { isNear } from '#test/support/planner/brute-force.js'
import { Dice } from '#test/support/planner/dice.js'
import { instanceOf } from '#test/support/planner/instances.js'
import { naiveCost } from '#test/support/planner/naive-cost.js'
import { somePlacement } from '#test/support/planner/placements.js'
import { seeds } from '#test/support/planner/seeds.js'

const instances = Number(process.env['TESSERA_PLANNER_INSTANCES'] ?? 600)
t.setTimeout(60_000 + instances * 100)
const placementsEach = 6

t.test('what a placement costs is what it keeps busy when requests go through it one by one', (t) => {
  const kinds = new Map<string, number>()
  for (const seed of seeds('cost', instances)) {
    const problem = instanceOf(seed, { nodes: 7, devices: 6 })
    const dice = new Dice(`${seed}/placements`)
    for (let i = 0; i < placementsEach; i++) {
      const placement = somePlacement(problem, dice)
      if (placement === undefined) continue
      const [cost, naive] = [costOf(problem, placement), naiveCost(problem, placement)]
      if (!agree(cost, naive)) {
        t.same(cost, naive, `seed ${seed}: ${JSON.stringify({ placement, problem })}`)
        return t.end()
      }
      for (const { holding } of placement.stages) count(kinds, `${problem.shape} ${holding.kind}`)
      count(kinds, cost.periodUs === Infinity ? 'forbidden' : cost.memoryShare > 1 ? 'too big' : 'good')
      if (cost.memoryShare === Infinity) count(kinds, 'cannot be shared out')
    }
  }
  t.comment([...kinds].map(([kind, n]) => `${kind} ${n}`).join(', '))
  t.equal(kinds.size, 10, 'all that can be was among them')
  t.end()
})

const free: Link = { messageUs: 0, byteUs: 0, latencyUs: 0 }
const wire: Link = { messageUs: 5, byteUs: 1, latencyUs: 100 }

/** Two nodes in a row, of 30 and 60 us, with 10 bytes before, 20 between and 40 after them; two devices, each its own class. */
function twoNodes(more: Partial<Problem> = {}, kind: Partial<DeviceClass> = {}): Problem {
  const device = (name: string, nodeUs: number[]): DeviceClass => ({
    name,
    count: 4,
    nodeUs,
    stageUs: 1,
    open: { messageUs: 2, byteUs: 0 },
    seal: { messageUs: 3, byteUs: 0 },
    memoryBytes: 1000,
    sessionBytes: 7,
    ...kind,
  })
  const value = (name: string, bytes: number, from: number | undefined, to: number[]): Value => {
    return { name, bytes, from, to, isOutput: to.length === 0 }
  }
  return {
    nodes: [
      { name: 'a', weightBytes: 100, scratchBytes: 11 },
      { name: 'b', weightBytes: 200, scratchBytes: 13 },
    ],
    values: [value('x', 10, undefined, [0]), value('y', 20, 0, [1]), value('z', 40, 1, [])],
    classes: [device('slow', [30, 60]), device('fast', [15, 30])],
    links: [
      [wire, wire],
      [wire, wire],
    ],
    fromClient: [free, free],
    toClient: [free, free],
    regions: [],
    shape: 'chain',
    maxReplicas: 4,
    maxParts: 4,
    ...more,
  }
}

const one = (nodes: number[], index: number): Placement['stages'][number] => ({
  nodes,
  holding: { kind: 'one', class: index },
})

t.test(
  'two stages: the busier device is the period, all of it in a row the latency, the fuller device the memory',
  (t) => {
    // 1 + 2 + 30 + 3 = 36 on the first, 25 on the link, 1 + 2 + 30 + 3 = 36 on the second.
    t.same(costOf(twoNodes(), { stages: [one([0], 0), one([1], 1)] }), {
      periodUs: 36,
      latencyUs: 36 + 25 + 100 + 36,
      memoryShare: (7 + 200 + 13 + 2 * (20 + 40)) / 1000,
    })
    t.end()
  },
)

t.test('replicas take turns: each has its share of the requests, and all of the memory', (t) => {
  const stages: Placement['stages'] = [
    { nodes: [0], holding: { kind: 'replicas', class: 0, count: 2 } },
    { nodes: [1], holding: { kind: 'replicas', class: 1, count: 2 } },
  ]
  // Of four pairs two meet: a link has every other request.
  const slowLink = { ...wire, byteUs: 10 }
  const links = [
    [slowLink, slowLink],
    [slowLink, slowLink],
  ]
  t.match(costOf(twoNodes({ links }), { stages }), { periodUs: (5 + 200) / 2, latencyUs: 36 + 205 + 100 + 36 })
  t.match(costOf(twoNodes(), { stages }), { periodUs: 18, memoryShare: 340 / 1000 })
  t.end()
})

t.test('parts do their share of what is divided, in proportion to their speed, and each needs the whole input', (t) => {
  const region = { nodes: [0, 1], channels: 12, granule: 2, divided: [1], dividedInputs: [] }
  const stages: Placement['stages'] = [{ nodes: [0, 1], holding: { kind: 'parts', region: 0, classes: [0, 1] } }]
  // 4 channels for the slow one, 8 for the fast one: 30 + 60 / 3 and 15 + 30 * 2 / 3; both 6 beside it.
  t.same(costOf(twoNodes({ regions: [region] }), { stages }), {
    periodUs: 56,
    latencyUs: 56,
    memoryShare: (7 + 100 + 200 * (8 / 12) + 13 + 2 * (10 + 40 * (8 / 12))) / 1000,
  })
  t.same(costOf(twoNodes({ regions: [{ ...region, channels: 2 }] }), { stages }), {
    periodUs: Infinity,
    latencyUs: Infinity,
    memoryShare: Infinity,
  })
  t.end()
})

t.test('a node that may not run there, or a link that may not be used, costs Infinity', (t) => {
  const stages = [one([0], 0), one([1], 1)]
  const links = [
    [wire, undefined],
    [wire, wire],
  ]
  t.match(costOf(twoNodes({ links }), { stages }), { periodUs: Infinity, latencyUs: Infinity })
  t.match(costOf(twoNodes({}, { nodeUs: [1, Infinity] }), { stages }), { periodUs: Infinity, latencyUs: Infinity })
  t.match(costOf(twoNodes({ toClient: [free, undefined] }), { stages }), { periodUs: Infinity, latencyUs: Infinity })
  t.end()
})

function count(kinds: Map<string, number>, kind: string): void {
  kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
}

function agree(a: Cost, b: Cost): boolean {
  return isNear(a.periodUs, b.periodUs) && isNear(a.latencyUs, b.latencyUs) && isNear(a.memoryShare, b.memoryShare)
}
