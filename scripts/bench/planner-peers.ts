/** The planner beside PipeEdge's chain scheduler and dnn-partitioning's dynamic program, on their own problems. */

import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { costOf } from '#broker/planner/cost.js'
import { Refusal } from '#shared/errors.js'
import { poseInstance, readInstance, splitOf } from './dnn-partitioning.js'
import { figureOf, type Output } from './figure.js'
import { runPeer } from './peer-program.js'
import { bottleneckOf, placementOfRow, poseRow, rowCase, rowStagesOf, scheduleOf } from './pipeedge.js'
import { plan } from './planned.js'

/** Never a worse objective, but for rounding. */
const noWorse = { atMost: 1.000001 }
const limitMs = 900_000

interface RowCase {
  readonly name: string
  readonly layers: number
  readonly types: readonly { readonly hosts: number; readonly speed?: number }[]
  /** Ours against its time; the issue asks for 1/50 at 16 x 48. */
  readonly atMost?: number
  readonly isQuick?: boolean
}

const each = (count: number): { hosts: number }[] => Array.from({ length: count }, () => ({ hosts: 1 }))
const rows: readonly RowCase[] = [
  { name: '8 distinct x 48', layers: 48, types: each(8), isQuick: true },
  { name: '10 distinct x 48', layers: 48, types: each(10) },
  { name: '12 distinct x 48', layers: 48, types: each(12) },
  { name: '12 distinct x 96', layers: 96, types: each(12) },
  // It takes the second type's hosts for the first's: with more than one host a type its schedules are not the best.
  {
    name: '4 + 4 hosts, the latter 4 times as fast, x 48',
    layers: 48,
    types: [
      { hosts: 4, speed: 1 },
      { hosts: 4, speed: 4 },
    ],
  },
  { name: '14 distinct x 48', layers: 48, types: each(14) },
  { name: '16 distinct x 48', layers: 48, types: each(16), atMost: 1 / 50 },
]

/** `folder` has the program `sched-pipeline`, or has it in `src-native/build`. */
export async function benchRows(output: Output, folder: string, quick: boolean): Promise<void> {
  const program = programIn(folder, ['sched-pipeline', 'src-native/build/sched-pipeline'])
  for (const { name, layers, types, atMost } of rows.filter(({ isQuick }) => !quick || isQuick === true)) {
    process.stderr.write(`planner: PipeEdge, ${name}\n`)
    const row = rowCase(name, layers, types)
    const problem = poseRow(row)
    const planned = plan(problem)
    const peer = await scheduleOf(program, row, limitMs)
    const what = { bench: 'planner', case: `PipeEdge's problem, ${name}` }
    const gap = [planned.certificate.gap * 100]
    output.figure(figureOf({ ...what, figure: 'gap', unit: '%' }, gap, { bar: { atMost: 0 } }))
    const seconds = { peer: peer.isLate ? 'PipeEdge (stopped)' : 'PipeEdge', peers: [peer.cpuMs / 1000] }
    output.figure(
      figureOf({ ...what, figure: 'planning', unit: 's CPU' }, [planned.cpuMs / 1000], {
        ...seconds,
        ...(atMost === undefined ? {} : { bar: { atMost } }),
      }),
    )
    if (peer.stages === undefined) continue
    output.figure(
      figureOf(
        { ...what, figure: 'bottleneck by its costs', unit: 's' },
        [bottleneckOf(row, rowStagesOf(planned.placement))],
        {
          peer: 'PipeEdge',
          peers: [bottleneckOf(row, peer.stages)],
          bar: noWorse,
        },
      ),
    )
    output.figure(
      figureOf({ ...what, figure: 'period by our costs', unit: 's' }, [planned.cost.periodUs / 1e6], {
        peer: 'PipeEdge',
        peers: [costOf(problem, placementOfRow(peer.stages)).periodUs / 1e6],
        bar: noWorse,
      }),
    )
  }
}

interface InstanceCase {
  readonly file: string
  /** It has no answer within 10 GB and 15 minutes: it is asked for the best of one linear order instead. */
  readonly isTooBig?: boolean
  readonly isQuick?: boolean
}

const instances: readonly InstanceCase[] = [
  { file: 'LayerGraphs/bert24', isQuick: true },
  { file: 'LayerGraphs/resnet50', isQuick: true },
  { file: 'LayerGraphs/gnmt' },
  { file: 'OperatorGraphs/bert_l-3' },
  { file: 'OperatorGraphs/bert_l-6' },
  { file: 'OperatorGraphs/bert_l-12' },
  { file: 'OperatorGraphs/resnet50' },
  { file: 'LayerGraphs/inceptionv3', isTooBig: true },
]
const instanceBudgetMs = 58_000

/** `folder` has the program `dp.exe` and the folder `throughput-inputs`. */
export async function benchInstances(output: Output, folder: string, quick: boolean): Promise<void> {
  const program = programIn(folder, ['dp.exe', 'dp', 'throughput-dp/dp.exe', 'throughput-dp/dp'])
  const scratch = await mkdtemp(join(tmpdir(), 'tessera-bench-'))
  try {
    for (const { file, isTooBig } of instances.filter(({ isQuick }) => !quick || isQuick === true)) {
      process.stderr.write(`planner: dnn-partitioning, ${file}\n`)
      const input = join(folder, 'throughput-inputs', `${file}_inference.json`)
      const posed = poseInstance(readInstance(await readFile(input, 'utf8')))
      const planned = plan(posed.problem, instanceBudgetMs)
      const what = { bench: 'planner', case: `dnn-partitioning's ${file}` }
      const bar = { atMost: isTooBig === true ? 0.5 : 0 }
      output.figure(figureOf({ ...what, figure: 'gap', unit: '%' }, [planned.certificate.gap * 100], { bar }))
      const peer = isTooBig === true ? 'dp.cpp, linearised' : 'dp.cpp'
      const ran = await runPeer(program, isTooBig === true ? ['-linearize'] : [], { input, limitMs })
      const peers = [ran.cpuMs / 1000]
      output.figure(figureOf({ ...what, figure: 'planning', unit: 's CPU' }, [planned.cpuMs / 1000], { peer, peers }))
      const split = join(scratch, 'split.json')
      await writeFile(split, splitOf(posed, planned.placement))
      const judged = await runPeer(program, ['-expert', split], { input, limitMs })
      output.figure(figureOf({ ...what, figure: 'our plan, judged by dp.cpp', unit: '' }, [loadIn(judged.stderr)]))
      if (ran.exitCode !== 0) continue
      const { maxLoad } = JSON.parse(ran.stdout) as { maxLoad: number }
      const value = [planned.certificate.value]
      output.figure(
        figureOf({ ...what, figure: 'largest load', unit: '' }, value, { peer, peers: [maxLoad], bar: noWorse }),
      )
    }
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

function loadIn(text: string): number {
  return Number(/max-load of the split: (\S+)/.exec(text)?.[1] ?? NaN)
}

function programIn(folder: string, names: readonly string[]): string {
  const found = names.map((name) => join(folder, name)).find((path) => existsSync(path))
  if (found === undefined) {
    throw new Refusal('bad-config', `there is no ${names[0]} in ${folder}: build it there as its page says`)
  }
  return found
}
