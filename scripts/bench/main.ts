/** `npm run bench -- NAME`: measures Tessera on this machine, each figure beside a peer of the same run. */

import { Command, InvalidArgumentError, Option } from 'commander'
import type { EngineMode } from '#device/runtime/engine.js'
import { tuneV8 } from '#shared/v8.js'
import { fail } from '#shared/report.js'
import { jsonOutput, tableOutput, type Output } from './figure.js'
import { environment } from './machine.js'
import { networkNames, type NetworkName } from './networks.js'

interface Flags {
  readonly json: boolean
  readonly quick: boolean
  readonly models: readonly NetworkName[]
  readonly devices: readonly number[]
  readonly engine: EngineMode | 'auto'
  readonly pipeedge?: string
  readonly dnnPartitioning?: string
  readonly svg?: string
}

const benches = {
  frame: async (output: Output, flags: Flags) => (await import('./frame.js')).benchFrame(output, flags),
  prediction: async (output: Output, flags: Flags) => (await import('./prediction.js')).benchPrediction(output, flags),
  pipeline: async (output: Output, flags: Flags) => (await import('./pipeline.js')).benchPipeline(output, flags),
  planner: async (output: Output, flags: Flags) => (await import('./planner.js')).benchPlanner(output, flags),
}
type BenchName = keyof typeof benches

const maxDevices = 32

tuneV8()

const program = new Command('bench')
  .description('measures Tessera on this machine')
  .argument('<name>', `what to measure: ${Object.keys(benches).join(', ')}`)
  .addOption(new Option('--json', 'one JSON object a line').default(false))
  .addOption(
    new Option('--quick', 'a few iterations: shows that the bench works, says nothing about speed').default(false),
  )
  .addOption(new Option('--models <L,M,S>', 'networks of the pipeline').argParser(networks).default([...networkNames]))
  .addOption(new Option('--devices <n,…>', 'devices of the pipeline').argParser(counts).default([1, 2, 4, 8]))
  .addOption(
    new Option('--engine <where>', 'where devices run inference').choices(['auto', 'worker', 'inline']).default('auto'),
  )
  .option('--pipeedge <dir>', 'where usc-isi/PipeEdge is, with its built sched-pipeline: a peer of the planner')
  .option(
    '--dnn-partitioning <dir>',
    'where msr-fiddle/dnn-partitioning is, with its built dp.exe: a peer of the planner',
  )
  .option('--svg <file>', "where the plot of the planner's cost goes")
  .exitOverride()
  .action(async (name: string, flags: Flags) => {
    if (!Object.hasOwn(benches, name)) {
      program.error(`error: there is no bench '${name}'; there are ${Object.keys(benches).join(', ')}`)
    }
    const output = flags.json ? jsonOutput() : tableOutput()
    output.begin(environment())
    await benches[name as BenchName](output, flags)
    output.end()
  })

function networks(text: string): NetworkName[] {
  return text.split(',').map((name) => {
    const known = networkNames.find((network) => network === name)
    if (known === undefined) throw new InvalidArgumentError(`There is no network '${name}'.`)
    return known
  })
}

function counts(text: string): number[] {
  return text.split(',').map((count) => {
    if (!/^\d{1,2}$/.test(count) || Number(count) < 1 || Number(count) > maxDevices) {
      throw new InvalidArgumentError(`It must be whole numbers from 1 to ${maxDevices}.`)
    }
    return Number(count)
  })
}

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = fail(error, 'bench')
}
