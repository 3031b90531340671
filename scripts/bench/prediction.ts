/**
 * `prediction`: what the planner says a fleet will do with a model, against what it then does. Fleets of devices slowed down
 * by duty cycle, which together ask for less than the cores that there are, are measured, planned for and loaded.
 */

import type { Cost } from '#broker/planner/problem.js'
import { makeSample } from '#shared/onnx/sample.js'
import { drive, type Run } from './contestant.js'
import { figureOf, type BarSpec, type Output } from './figure.js'
import { openFleet, type Fleet } from './fleet.js'
import { buildNetwork, type NetworkName } from './networks.js'
import { median } from './statistics.js'
import { throttle } from './throttle.js'

export interface PredictionOptions {
  readonly models: readonly NetworkName[]
  readonly quick: boolean
}

/** Shares of a core that the devices of a fleet get. */
const fleets: readonly (readonly number[])[] = [
  [1],
  [0.5],
  [0.25],
  [0.5, 0.5],
  [0.75, 0.25],
  [0.6, 0.3],
  [0.4, 0.4, 0.2],
  [0.5, 0.3, 0.15],
  [0.25, 0.25, 0.25, 0.25],
  [0.4, 0.3, 0.2, 0.1],
]
const quickFleets = fleets.slice(3, 4)
/** A run at full load: hundreds of periods of the duty cycle. */
const forMs = { L: 8000, M: 5000, S: 4000 } as const
const quickForMs = 300
/** Requests under way for every device: more than a stopped neighbour lets wait. */
const windowPerDevice = 8
/** Issue 3: median error at most 10 %. */
const bar: BarSpec = { atMost: 0.1 }

interface Outcome {
  readonly chosen: Cost
  readonly timed: Cost
  readonly run: Run
}

export async function benchPrediction(output: Output, { models, quick }: PredictionOptions): Promise<void> {
  const errors = { chosen: [] as number[], timed: [] as number[] }
  for (const name of models) {
    const model = buildNetwork(name)
    for (const shares of quick ? quickFleets : fleets) {
      process.stderr.write(`prediction: ${name} on ${shares.join(' + ')} of a core\n`)
      const { chosen, timed, run } = await predicted(model, shares, quick ? quickForMs : forMs[name])
      const of = `${name} on ${shares.join(' + ')}`
      const achieved = { peer: 'achieved', peers: [run.perSecond], foreignCores: [run.foreignCores] }
      const figure = (what: string, { periodUs }: Cost): void =>
        output.figure(figureOf({ bench: 'prediction', case: of, figure: what, unit: '/s' }, [1e6 / periodUs], achieved))
      figure('predicted by speed alone', chosen)
      figure('predicted by timed segments', timed)
      errors.chosen.push(errorOf(chosen, run))
      errors.timed.push(errorOf(timed, run))
    }
  }
  const say = (what: string, values: readonly number[], bars?: BarSpec): void =>
    output.figure(
      figureOf(
        { bench: 'prediction', case: `all ${values.length} pairs`, figure: what, unit: 'of achieved' },
        values,
        bars === undefined ? {} : { bar: bars },
      ),
    )
  say('median error by speed alone', errors.chosen)
  say('median error by timed segments', errors.timed, bar)
  process.stderr.write(`prediction: median error ${median(errors.timed).toFixed(3)}\n`)
}

/** Relative to what was achieved. */
function errorOf({ periodUs }: Cost, { perSecond }: Run): number {
  return Math.abs(1e6 / periodUs / perSecond - 1)
}

/** Plans for a slowed fleet, and loads it. */
async function predicted(model: Uint8Array, shares: readonly number[], loadForMs: number): Promise<Outcome> {
  let stop = (): Promise<void> => Promise.resolve()
  let fleet: Fleet | undefined
  try {
    fleet = await openFleet({
      model,
      planned: { objective: { kind: 'throughput' }, devices: shares.length },
      isSealed: true,
      link: 'direct',
      engine: 'worker',
      onStarted(pids) {
        stop = throttle(pids.map((pid, i) => ({ pid, share: shares[i]! }))).stop
      },
    })
    const { hub } = fleet
    const chosen = hub.choice!.cost
    await hub.timeStages()
    const timed = hub.predicted!
    const inputs = Array.from({ length: 4 }, (_, seed) => makeSample(hub.plan!.inputs, seed))
    const run = await drive(fleet, inputs, windowPerDevice * hub.plan!.stages.length, loadForMs)
    return { chosen, timed, run }
  } finally {
    await stop()
    await fleet?.close()
  }
}
