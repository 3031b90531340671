/**
 * `pipeline`: whole requests through real device processes, sealed, against what two cores can do at most (two independent
 * replicas), one process, the slowest stage alone, the naive build, the same without a cipher, and the relay.
 */

import type { EngineMode } from '#device/runtime/engine.js'
import type { Feeds } from '#shared/onnx/session.js'
import { byteLength } from '#shared/onnx/tensor.js'
import * as bars from './bars.js'
import { drive, type Contestant, type Run } from './contestant.js'
import { figureOf, type Output } from './figure.js'
import { openFleet, type Fleet } from './fleet.js'
import { openNaive } from './naive.js'
import { buildNetwork, type NetworkName } from './networks.js'
import { start, type Handlers } from './processes.js'
import { openReplicas, type Replicas } from './replicas.js'
import { Rounds } from './rounds.js'
import { shareExact, split } from './split.js'

export interface PipelineOptions {
  readonly models: readonly NetworkName[]
  readonly devices: readonly number[]
  readonly engine: EngineMode | 'auto'
  readonly quick: boolean
}

/** One run lasts so long: some 40 requests of L, hundreds of the others. */
const forMs = { L: 2000, M: 1200, S: 1000 } as const
const quickForMs = 200
/** L costs so much that what surrounds it counts for little; of S, V8 compiles what it calls during 2,000 requests. */
const warmUpRuns = { L: 1, M: 4, S: 8 } as const
/** Processes are started anew so often, as one instance may be slow for its whole life. */
const instances = 2
const roundsPerInstance = 4
/** Windows tried for the best one, K being the stages: up to 2K + 4. */
const windowsTried = [2, 3, 6, 8] as const

interface Effort {
  readonly forMs: number
  readonly instances: number
  readonly rounds: number
  /** Lengths of a run that nobody counts, before the first round. */
  readonly warmUpRuns: number
  readonly windows: readonly number[]
}

export async function benchPipeline(output: Output, options: PipelineOptions): Promise<void> {
  const { models, devices, quick } = options
  for (const name of models) {
    const model = buildNetwork(name)
    const effort = quick
      ? { forMs: quickForMs, instances: 1, rounds: 1, warmUpRuns: 1, windows: [] }
      : {
          forMs: forMs[name],
          instances,
          rounds: roundsPerInstance,
          warmUpRuns: warmUpRuns[name],
          windows: windowsTried,
        }
    for (const count of devices) {
      const bench = count === 2 ? benchPair : benchChain
      await bench(output, name, model, count, options.engine, effort)
    }
  }
}

const perSecond = ({ perSecond: rate }: Run): number => rate
const cpuMs = ({ cpuMs: ms }: Run): number => ms

/** Two devices: every comparison. */
async function benchPair(
  output: Output,
  name: NetworkName,
  model: Uint8Array,
  _stages: number,
  engine: EngineMode | 'auto',
  effort: Effort,
): Promise<void> {
  const rounds = new Rounds(output, `${name}, 2 devices`)
  const gaps: { device: number; idle: number }[] = []
  const exact: number[] = []
  let best = 4
  let bytes = 0
  for (let instance = 0; instance < effort.instances; instance++) {
    progress(`${name}, 2 devices, instance ${instance + 1} of ${effort.instances}`)
    await opened(async (keep) => {
      const replicas = keep(openReplicas())
      const cut = await split(model, 2, replicas)
      bytes = cut.segments[0]!.sends.reduce((sum, port) => sum + byteLength(port), 0)
      const { at } = cut
      const sealed = keep(await openFleet({ model, at, isSealed: true, link: 'direct', engine }))
      const unsealed = keep(await openFleet({ model, at, isSealed: false, link: 'direct', engine }))
      const relayed = keep(await openFleet({ model, at, isSealed: true, link: 'relay', engine }))
      const naive = keep(await openNaive(cut.segments))
      for (const fleet of [sealed, unsealed, relayed]) exact.push(await shareExact(fleet, cut))
      const run = (contestant: Contestant, window: number): Promise<Run> =>
        drive(contestant, cut.inputs, window, effort.forMs)
      for (const contestant of [sealed, unsealed, relayed, naive]) await warmUp(contestant, cut.inputs, effort)
      if (instance === 0) best = await bestWindow(effort.windows, (window) => run(sealed, window))
      for (let round = 0; round < effort.rounds; round++) {
        progress(`${name}, 2 devices, round ${round + 1} of ${effort.rounds}`)
        rounds.add('best window', await run(sealed, best))
        rounds.add('two replicas', await replicas.run('whole', 2, effort.forMs))
        rounds.add('sealed', await run(sealed, 4))
        rounds.add('naive', await run(naive, 4))
        rounds.add('unsealed', await run(unsealed, 4))
        rounds.add('sealed again', await run(sealed, 4))
        rounds.add('relay', await run(relayed, 4))
        rounds.add('unsealed alone', await run(unsealed, 1))
        rounds.add('alone', await run(sealed, 1))
        rounds.add('one process', await replicas.run('whole', 1, effort.forMs))
        rounds.add('slowest stage', await slowestStage(replicas, 2, effort.forMs / 2))
        gaps.push(await loopGap(sealed, () => run(sealed, 4)))
      }
    })
  }
  const throughput = { unit: '/s', of: perSecond, candidate: 'sealed' }
  rounds.say({ ...throughput, figure: 'throughput, 4 under way', peer: 'two replicas', bar: bars.twoStages[name] })
  rounds.say({
    ...throughput,
    figure: `throughput, best window (${best})`,
    candidate: 'best window',
    peer: 'two replicas',
  })
  rounds.say({ ...throughput, figure: 'throughput, 4 under way', peer: 'slowest stage', bar: bars.slowestStage[name] })
  rounds.say({ ...throughput, figure: 'throughput, 4 under way', peer: 'one process' })
  rounds.say({ ...throughput, figure: 'throughput, 4 under way', peer: 'naive', bar: bars.naive[name] })
  rounds.say({
    ...throughput,
    figure: 'price of encryption',
    candidate: 'sealed again',
    peer: 'unsealed',
    bar: bars.encryption,
  })
  rounds.say({ ...throughput, figure: 'direct against relay', candidate: 'sealed again', peer: 'relay' })
  rounds.say({ ...throughput, figure: 'A/A', candidate: 'sealed again', peer: 'sealed' })
  for (const peer of ['two replicas', 'unsealed', 'relay', 'naive', 'sealed again']) {
    rounds.say({ figure: 'CPU per request', unit: 'ms', of: cpuMs, candidate: 'sealed', peer })
  }
  const latency = { unit: 'ms', candidate: 'alone', peer: 'one process' }
  rounds.say({ ...latency, figure: 'latency p50, one under way', of: (run) => run.p50Ms, bar: bars.latency[name] })
  rounds.say({ ...latency, figure: 'latency p99, one under way', of: (run) => run.p99Ms })
  rounds.say({ ...latency, figure: 'latency p50, one under way', of: (run) => run.p50Ms, peer: 'unsealed alone' })
  rounds.say({ figure: 'latency p50, 4 under way', unit: 'ms', of: (run) => run.p50Ms, candidate: 'sealed' })
  rounds.say({ figure: 'latency p99, 4 under way', unit: 'ms', of: (run) => run.p99Ms, candidate: 'sealed' })
  const what = { bench: 'pipeline', case: `${name}, 2 devices` }
  const later = gaps.map(({ device, idle }) => device - idle)
  output.figure(
    figureOf({ ...what, figure: 'event loop p99, later than idle', unit: 'ms' }, later, { bar: bars.loopGap }),
  )
  output.figure(
    figureOf(
      { ...what, figure: 'event loop p99, idle', unit: 'ms' },
      gaps.map(({ idle }) => idle),
    ),
  )
  output.figure(figureOf({ ...what, figure: 'bit-equal to the unsplit', unit: '' }, exact, { bar: bars.bitEqual }))
  output.figure(figureOf({ ...what, figure: 'bytes at the cut', unit: 'KiB' }, [bytes / 1024]))
}

/** One device, or a chain that is longer than the machine has cores. */
async function benchChain(
  output: Output,
  name: NetworkName,
  model: Uint8Array,
  stages: number,
  engine: EngineMode | 'auto',
  effort: Effort,
): Promise<void> {
  const title = `${name}, ${stages} device${stages === 1 ? '' : 's'}`
  const rounds = new Rounds(output, title)
  const limit = stages === 1 ? 'one process' : 'two replicas'
  const exact: number[] = []
  let bytes = 0
  progress(title)
  await opened(async (keep) => {
    const replicas = keep(openReplicas())
    const cut = await split(model, stages, replicas)
    bytes = cut.segments
      .slice(1)
      .reduce((sum, { receives }) => sum + receives.reduce((all, port) => all + byteLength(port), 0), 0)
    const sealed = keep(await openFleet({ model, at: cut.at, isSealed: true, link: 'direct', engine }))
    exact.push(await shareExact(sealed, cut))
    await warmUp(sealed, cut.inputs, effort)
    for (let round = 0; round < effort.rounds; round++) {
      rounds.add(limit, await replicas.run('whole', stages === 1 ? 1 : 2, effort.forMs))
      rounds.add('sealed', await drive(sealed, cut.inputs, 2 * stages, effort.forMs))
      rounds.add('stages alone', await stagesAlone(replicas, stages, effort.forMs / stages))
      if (stages === 1) rounds.add('alone', await drive(sealed, cut.inputs, 1, effort.forMs))
    }
  })
  const figure = `throughput, ${2 * stages} under way`
  const bar = stages === 8 ? bars.eightStages[name] : undefined
  rounds.say({ figure, unit: '/s', of: perSecond, candidate: 'sealed', peer: limit, bar })
  rounds.say({ figure: 'CPU per request', unit: 'ms', of: cpuMs, candidate: 'sealed', peer: limit })
  rounds.say({ figure: 'CPU per request', unit: 'ms', of: cpuMs, candidate: 'sealed', peer: 'stages alone' })
  if (stages === 1) {
    rounds.say({
      figure: 'latency p50, one under way',
      unit: 'ms',
      of: (run) => run.p50Ms,
      candidate: 'alone',
      peer: limit,
    })
  }
  const what = { bench: 'pipeline', case: title }
  output.figure(figureOf({ ...what, figure: 'bit-equal to the unsplit', unit: '' }, exact, { bar: bars.bitEqual }))
  if (stages > 1) output.figure(figureOf({ ...what, figure: 'bytes at all cuts', unit: 'KiB' }, [bytes / 1024]))
}

/** Runs `work`; what it `keep`s is closed afterwards, the last first, however it ends. */
async function opened(
  work: (keep: <T extends { close(): Promise<void> }>(thing: T) => T) => Promise<void>,
): Promise<void> {
  const kept: { close(): Promise<void> }[] = []
  try {
    await work((thing) => {
      kept.unshift(thing)
      return thing
    })
  } finally {
    for (const thing of kept) await thing.close()
  }
}

/** Code that has not run a few thousand times is not compiled yet: what a pipeline costs in its first seconds says little. */
async function warmUp(
  contestant: Contestant,
  inputs: readonly Feeds[],
  { warmUpRuns, forMs: eachMs }: Effort,
): Promise<void> {
  await drive(contestant, inputs, 8, warmUpRuns * eachMs)
}

async function bestWindow(windows: readonly number[], run: (window: number) => Promise<Run>): Promise<number> {
  let best = { window: 4, rate: (await run(4)).perSecond }
  for (const window of windows) {
    const rate = (await run(window)).perSecond
    if (rate > best.rate) best = { window, rate }
  }
  return best.window
}

/** The run of the stage that takes longest, each stage timed alone on the machine. */
async function slowestStage(replicas: Replicas, stages: number, eachMs: number): Promise<Run> {
  let slowest: Run | undefined
  for (let stage = 0; stage < stages; stage++) {
    const run = await replicas.run(`stage ${stage}`, 1, eachMs)
    if (slowest === undefined || run.perSecond < slowest.perSecond) slowest = run
  }
  return slowest!
}

/** All stages one after the other: their CPU time together is what the cuts alone cost. */
async function stagesAlone(replicas: Replicas, stages: number, eachMs: number): Promise<Run> {
  const runs: Run[] = []
  for (let stage = 0; stage < stages; stage++) runs.push(await replicas.run(`stage ${stage}`, 1, eachMs))
  const sum = (of: (run: Run) => number): number => runs.reduce((total, run) => total + of(run), 0)
  const p50Ms = sum((run) => run.p50Ms)
  return {
    perSecond: 1000 / p50Ms,
    p50Ms,
    p99Ms: sum((run) => run.p99Ms),
    cpuMs: sum(cpuMs),
    foreignCores: Math.max(...runs.map((run) => run.foreignCores)),
  }
}

/** The latest event loop of the devices while `saturate` runs, and that of a process which does nothing meanwhile. */
async function loopGap(fleet: Fleet, saturate: () => Promise<unknown>): Promise<{ device: number; idle: number }> {
  const idle = start<Handlers>('idle')
  try {
    const watched = [...fleet.devices, idle]
    await Promise.all(watched.map((child) => child.watchLoop()))
    await saturate()
    const late = await Promise.all(watched.map(async (child) => (await child.loopGap()).p99Ms))
    return { device: Math.max(...late.slice(0, -1)), idle: late.at(-1)! }
  } finally {
    await idle.stop()
  }
}

function progress(what: string): void {
  process.stderr.write(`pipeline: ${what}\n`)
}
