/** `tessera demo`: the whole of Tessera on one machine, live. */

import { InvalidArgumentError, Option, type Command } from 'commander'
import { constants } from 'node:os'
import { join } from 'node:path'
import { runDemo } from '../demo/run.js'
import { Display } from '../demo/display.js'
import type { Granularity } from '../demo/layouts.js'
import { goldenWorkload, labelledWorkload, type Workload } from '../demo/workload.js'
import { Refusal } from '#shared/errors.js'
import { hintOf } from '#shared/program.js'

interface DemoFlags {
  devices: number
  granularity: Granularity
  replicas: number
  link: 'auto' | 'direct' | 'relay'
  once?: true
  requests?: number
  inFlight?: number
  model?: string
  data?: string
  json?: true
}

/** Requests with `--once` when no number is given. */
const requestsOnce = 500
export const maxDevices = 64

const digits = join(import.meta.dirname, '../../../config/models/digits-resnet')

/** Adds the demo to the program, from which it takes how help and mistakes are shown. */
export function demoCommand(program: Command): void {
  program
    .command('demo')
    .showHelpAfterError(hintOf('tessera demo'))
    .description(
      'starts a hub and real device processes here, cuts a model over them, and streams requests through, all sealed',
    )
    .option('--devices <n>', 'device processes, one segment each', within(1, maxDevices), 4)
    .addOption(
      new Option('--granularity <how>', 'layer: whole layers to each device; block: one layer in parts, by channels')
        .choices(['layer', 'block'])
        .default('layer'),
    )
    .addOption(
      new Option('--replicas <n>', 'devices that hold each segment and take requests in turn')
        .argParser(within(1, maxDevices))
        .default(1),
    )
    .addOption(
      new Option('--link <kind>', 'how frames travel between devices')
        .choices(['auto', 'direct', 'relay'])
        .default('auto'),
    )
    .option('--once', `end after --requests (${requestsOnce} unless given)`)
    .option('--requests <n>', 'requests to send', within(1, 1e9))
    .option('--in-flight <n>', 'requests under way at once (default: twice the devices and two)', within(1, 1000))
    .option('--model <file>', 'an ONNX model instead of the bundled digits; wants --data')
    .option('--data <folder>', 'folder with test_data_set_K/input_i.pb of that model')
    .option('--json', 'end with a summary, one JSON object on the last line')
    .addHelpText(
      'after',
      `
Ctrl-C ends the demo and leaves no process and no file behind; with status 0, or
130 where a number of requests was asked for. Status 1 says that a result was
lost, came twice, or differs from the unsplit model's.`,
    )
    .action(async (flags: DemoFlags) => {
      process.exitCode = await demo(flags)
    })
}

async function demo(flags: DemoFlags): Promise<number> {
  const workload = await workloadOf(flags)
  checkFlags(flags)
  const requests = flags.requests ?? (flags.once === true ? requestsOnce : undefined)
  const stop = new AbortController()
  const onSignal = (signal: NodeJS.Signals): void => stop.abort(signal)
  for (const signal of stopSignals) process.on(signal, onSignal)
  const onBrokenPipe = (): void => stop.abort('SIGPIPE') // nobody reads on: `tessera demo | head`
  process.stdout.on('error', onBrokenPipe)
  const display = new Display(process.stdout, workload, requests)
  /** Without a number of requests, to be stopped is how a demo ends. */
  const stoppedStatus = (): number =>
    requests === undefined ? 0 : 128 + constants.signals[stop.signal.reason as NodeJS.Signals]
  try {
    const summary = await runDemo({
      workload,
      devices: flags.devices,
      granularity: flags.granularity,
      replicas: flags.replicas,
      link: flags.link,
      requests,
      window: flags.inFlight ?? 2 * flags.devices + 2,
      signal: stop.signal,
      onStep: (text) => display.step(text),
      onReady: (running) => display.live(running),
    })
    display.end(summary)
    if (flags.json === true) process.stdout.write(`${JSON.stringify(summary)}\n`)
    if (summary.results > 0 && !summary.bitExact) return 1
    if (summary.interrupted) return stoppedStatus()
    return summary.lost === 0 && summary.duplicated === 0 ? 0 : 1
  } catch (error) {
    if (!stop.signal.aborted || !(error instanceof Refusal) || error.code !== 'cancelled') throw error
    display.step(error.message)
    return stoppedStatus()
  } finally {
    display.close()
    for (const signal of stopSignals) process.off(signal, onSignal)
  }
}

function checkFlags({ devices, granularity, replicas }: DemoFlags): void {
  if (replicas > devices) {
    throw new Refusal('usage', `--replicas ${replicas} needs as many devices: give --devices ${replicas} or more`)
  }
  if (granularity === 'block' && replicas > 1) {
    throw new Refusal('usage', '--replicas goes with --granularity layer: a layer in parts is held by one device each')
  }
}

const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

async function workloadOf({ model, data }: DemoFlags): Promise<Workload> {
  if (model === undefined) {
    if (data !== undefined)
      throw new Refusal('usage', '--data goes with --model: name the ONNX file that the data is for')
    return labelledWorkload(digits)
  }
  if (data === undefined) {
    throw new Refusal('usage', '--model needs --data: a folder with test_data_set_0/input_0.pb and so on')
  }
  return goldenWorkload(model, data)
}

function within(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new InvalidArgumentError(`It must be a whole number from ${low} to ${high}.`)
    }
    return value
  }
}
