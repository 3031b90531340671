import t from 'tap'
import { costOf } from '#broker/planner/cost.js'
import type { Placement } from '#broker/planner/problem.js'
import { poseInstance, readInstance, splitOf } from '#scripts/bench/dnn-partitioning.js'
import { bottleneckOf, placementOfRow, poseRow, rowCase, rowStagesOf, type RowStage } from '#scripts/bench/pipeedge.js'
import { plot } from '#scripts/bench/planner-plot.js'
import { Dice } from '#test/support/planner/dice.js'
import { refuses } from '#test/support/refusal.js'

const node = (id: number, us: number, more: object = {}): object => {
  return { id, supportedOnFpga: 1, cpuLatency: 10 * us, fpgaLatency: us, isBackwardNode: 0, size: 100, ...more }
}
const edge = (sourceId: number, destId: number, cost: number): object => ({ sourceId, destId, cost })
const instance = (more: object = {}): string =>
  JSON.stringify({
    maxSizePerFPGA: 250,
    maxFPGAs: 2,
    maxCPUs: 1,
    nodes: [node(7, 0), node(1, 4), node(2, 6), node(3, 8), node(4, 2)],
    edges: [edge(7, 1, 5), edge(1, 2, 1), edge(1, 3, 1), edge(2, 4, 3), edge(3, 4, 2)],
    ...more,
  })

t.test(
  'an instance becomes a problem: accelerators pay for what they take and send, once a result; CPUs do not',
  (t) => {
    const posed = poseInstance(readInstance(instance()))
    // Node 7 has no work and one reader: it goes with that.
    t.same(posed.members, [[1, 7], [2], [3], [4]])
    const one = (nodes: number[], index: number | undefined): Placement['stages'][number] => {
      return { nodes, holding: { kind: 'one', class: index! } }
    }
    const { accelerator, cpu, problem } = posed
    // 4 and its result once, though two take it; 6 + 8 with that, and with what they send; the CPU's work and nothing else.
    const placement = { stages: [one([0], accelerator), one([1, 2], accelerator), one([3], cpu)] }
    const { periodUs, memoryShare } = costOf(problem, placement)
    t.ok(Math.abs(periodUs - 20) < 1e-9)
    t.ok(Math.abs(memoryShare - 200 / 250) < 1e-6)
    t.ok(Math.abs(costOf(problem, { stages: [one([0], accelerator)] }).periodUs - 5) < 1e-9)
    t.same(JSON.parse(splitOf(posed, placement)), {
      cpus: [{ nodes: [4] }],
      fpgas: [{ nodes: [1, 7] }, { nodes: [2, 3] }],
    })
    t.end()
  },
)

t.test('nodes of one colour stay together, and so does what would wait for itself if they do', (t) => {
  const nodes = [node(1, 4, { colorClass: 9 }), node(2, 6), node(3, 8, { colorClass: 9 }), node(4, 2)]
  const edges = [edge(1, 2, 1), edge(2, 3, 1), edge(3, 4, 1)]
  t.same(poseInstance(readInstance(instance({ nodes, edges }))).members, [[1, 2, 3], [4]])
  const nowhere = [node(1, 4), node(2, 6, { supportedOnFpga: 0 })]
  const { problem } = poseInstance(readInstance(instance({ nodes: nowhere, edges: [edge(1, 2, 1)] })))
  t.same(
    problem.classes.map(({ nodeUs }) => nodeUs),
    [
      [4, Infinity],
      [40, 60],
    ],
  )
  t.end()
})

t.test('what is no instance is refused, and so is one of training', async (t) => {
  await refuses(t, 'bad-config', /no instance/, () => readInstance('{'))
  await refuses(t, 'bad-config', /nodes.1.size/, () =>
    readInstance(instance({ nodes: [node(1, 1), node(2, 1, { size: -1 })] })),
  )
  await refuses(t, 'bad-config', /same id/, () => readInstance(instance({ nodes: [node(1, 1), node(1, 2)] })))
  await refuses(t, 'bad-config', /from node 1 to 99/, () => readInstance(instance({ edges: [edge(1, 99, 1)] })))
  const backward = [node(1, 1), node(2, 1, { isBackwardNode: true })]
  await refuses(t, 'bad-config', /training/, () => readInstance(instance({ nodes: backward, edges: [] })))
})

t.test("a row of PipeEdge's has the same bottleneck in its costs and in ours, and fits the same devices", (t) => {
  const dice = new Dice('rows')
  const seen = { fits: 0, bursts: 0 }
  for (let i = 0; i < 200; i++) {
    const types = dice.chance(0.5)
      ? [
          { hosts: 2, speed: 1 },
          { hosts: 2, speed: 3 },
        ]
      : Array.from({ length: 4 }, () => ({ hosts: 1 }))
    const row = rowCase(`row ${i}`, 12, types)
    const stages: RowStage[] = []
    for (let from = 0; from < 12 && stages.length < types.length;) {
      const end = stages.length === types.length - 1 ? 12 : dice.whole(from + 1, 12)
      stages.push({ type: stages.length, from, end })
      from = end
    }
    const placement = placementOfRow(stages)
    t.same(rowStagesOf(placement), stages)
    const { periodUs, memoryShare } = costOf(poseRow(row), placement)
    const bottleneck = bottleneckOf(row, stages)
    if (memoryShare > 1) t.equal(bottleneck, Infinity)
    else t.ok(Math.abs(bottleneck - periodUs / 1e6) < 1e-9 * bottleneck)
    seen[memoryShare > 1 ? 'bursts' : 'fits']++
  }
  t.ok(seen.fits > 20 && seen.bursts > 20, JSON.stringify(seen))
  t.end()
})

t.test('the plot has a line for each series and a dot for each point', (t) => {
  const svg = plot([
    {
      name: 'a',
      axis: 'devices',
      points: [
        [2, 0.01],
        [4, 0.1],
        [8, 3],
      ],
    },
    {
      name: 'b',
      axis: 'layers',
      points: [
        [10, 0],
        [100, 1],
      ],
    },
  ])
  t.equal(svg.match(/<polyline/g)?.length, 2)
  t.equal(svg.match(/<circle/g)?.length, 5)
  t.notMatch(svg, /NaN|Infinity/)
  t.end()
})
