/** How the cost of planning grows with the fleet and with the model. */

import { writeFile } from 'node:fs/promises'
import type { Output } from './figure.js'
import { plan, sayPlans } from './planned.js'
import { blockNodes, branchingCase, chainCase, distinct } from './planner-cases.js'
import { plot, type Series } from './planner-plot.js'
import { median } from './statistics.js'

const seeds = 3
const budgetMs = 20_000
const fewLayers = 48
const fourClasses = 24

interface Sweep {
  readonly name: string
  readonly axis: 'devices' | 'layers'
  /** A chain unless given. */
  readonly isBranching?: boolean
  readonly points: readonly { readonly at: number; readonly layers: number; readonly classes: readonly number[] }[]
}

const sweeps: readonly Sweep[] = [
  {
    name: `devices that all differ, ${fewLayers} layers`,
    axis: 'devices',
    points: [2, 4, 8, 12, 14, 16].map((at) => ({ at, layers: fewLayers, classes: distinct(at) })),
  },
  {
    name: 'devices of 4 classes, 200 layers',
    axis: 'devices',
    points: [4, 8, 16, 24, 32].map((at) => ({ at, layers: 200, classes: Array<number>(4).fill(at / 4) })),
  },
  {
    name: `layers, ${fourClasses} devices of 4 classes`,
    axis: 'layers',
    points: [28, 56, 112, 224, 448].map((at) => ({ at, layers: at, classes: Array<number>(4).fill(fourClasses / 4) })),
  },
  {
    name: 'layers, 10 devices that all differ',
    axis: 'layers',
    points: [28, 56, 112, 224, 448].map((at) => ({ at, layers: at, classes: distinct(10) })),
  },
  {
    name: 'layers that branch, 6 devices that all differ',
    axis: 'layers',
    isBranching: true,
    points: [2, 4, 8, 16, 32].map((blocks) => {
      return { at: blocks * blockNodes, layers: blocks * blockNodes, classes: distinct(6) }
    }),
  },
]

export async function benchGrowth(output: Output, { quick, svg }: { quick: boolean; svg?: string }): Promise<void> {
  const series: Series[] = []
  for (const { name, axis, isBranching, points } of sweeps) {
    const line: [number, number][] = []
    const pose = isBranching === true ? branchingCase : chainCase
    for (const { at, layers, classes } of quick ? points.slice(0, 1) : points) {
      process.stderr.write(`planner: ${name}: ${at}\n`)
      const plans = Array.from({ length: quick ? 1 : seeds }, (_, seed) =>
        plan(pose(`growth/${at}/${seed}`, { nodes: layers, classes }), budgetMs),
      )
      sayPlans(output, `growth, ${name}: ${at}`, plans, {})
      line.push([at, median(plans.map(({ cpuMs }) => cpuMs / 1000))])
    }
    series.push({ name, axis, points: line })
  }
  if (svg !== undefined) await writeFile(svg, plot(series))
}
