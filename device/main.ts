#!/usr/bin/env node
/** The device's program: joins a fleet and runs the stage that the hub assigns, until it is stopped. */

import { Option } from 'commander'
import { dirname, resolve } from 'node:path'
import { checkSettings, loadConfig, optionOf } from '#shared/config.js'
import { openLog } from '#shared/log.js'
import { tuneV8 } from '#shared/v8.js'
import { programNamed } from '#shared/program.js'
import { fail } from '#shared/report.js'
import { deviceConfig, type DeviceConfig } from './config.js'
import type { Device } from './device.js'
import { joinFleet } from './join.js'

tuneV8()

const name = 'tessera-device'
const program = programNamed(name, 'Joins a fleet and runs the stage of the model that the hub assigns to this device.')
  .option('--config <file>', 'settings in YAML, as in config/device.yaml; options given here win')
  .option('--hub <uri>', 'the hub (default: mqtt://127.0.0.1:1883)')
  .option('--fleet <id>', 'the fleet, as the hub prints it')
  .option('--hub-key <hex>', "the hub's key, as the hub prints it (default: believe the first hub heard)")
  .option('--state <folder>', 'identity and sealed segment of this device (default: tessera-device)')
  .option('--name <text>', "shown to people (default: the host's name)")
  .addOption(new Option('--link <kind>', 'how frames travel; auto unless given').choices(['auto', 'direct', 'relay']))
  .addOption(
    new Option('--engine <where>', 'where inference runs; auto unless given').choices(['auto', 'worker', 'inline']),
  )
  .option('--memory <amount>', 'what a segment may take, like 512 MiB (default: what is free)')
  .option('--no-wait', 'give up, with status 4, when no hub answers within 10 s')
  .addHelpText(
    'after',
    `
Without --no-wait it tries until the hub answers, and again whenever the hub is
lost. Ctrl-C ends it, with status 0.`,
  )

type Flags = Partial<DeviceConfig> & { config?: string; wait: boolean }

async function main(): Promise<void> {
  const { config: file, wait, ...options } = program.parse().opts<Flags>()
  const given = wait ? options : { ...options, wait }
  const config =
    file === undefined ? checkSettings(given, deviceConfig, optionOf) : await loadConfig(file, deviceConfig, given)
  const base = file === undefined || given.state !== undefined ? process.cwd() : dirname(resolve(file))

  const stopping = new AbortController()
  let device: Device | undefined
  const stop = (): void => {
    stopping.abort()
    if (device !== undefined) void device.close().then(() => process.exit(0))
  }
  process.on('SIGTERM', stop)
  if (process.send === undefined) process.on('SIGINT', stop)
  else {
    // Started by a program of ours: it gets the Ctrl-C and ends us in its order; should it die, we do not stay behind.
    process.on('SIGINT', () => {})
    process.on('disconnect', stop)
  }

  try {
    const { memory, ...settings } = config
    device = await joinFleet(
      { ...settings, state: resolve(base, config.state) },
      {
        log: logFor(config),
        signal: stopping.signal,
        onExit: stop,
        ...(memory === undefined ? {} : { memoryBytes: memory }),
      },
    )
  } catch (error) {
    if (stopping.signal.aborted) process.exit(0) // asked to stop while there was no hub
    throw error
  }
  if (stopping.signal.aborted) stop()
  process.stdout.write(`${device.id} joined fleet ${config.fleet} at ${config.hub}\n`)
  process.send?.({ id: device.id })
}

/** Beside the log, which programs read, the sentences that its user is waiting for. */
function logFor({ hub }: DeviceConfig): (event: string, nouns: Record<string, unknown>) => void {
  const log = openLog(name)
  const say = (line: string): void => void process.stderr.write(`${name}: ${line}\n`)
  return (event, nouns) => {
    if (event === 'waiting for the hub')
      say(`no hub answers at ${hub} (${String(nouns['reason'])}); trying on until it does`)
    else if (event === 'hub lost')
      say(`lost the hub at ${hub} (${String(nouns['reason'])}); direct links go on, trying to come back`)
    else if (event === 'hub found again') say(`the hub at ${hub} is back`)
    else if (event === 'assignment failed') say(`cannot take the stage: ${String(nouns['reason'])}`)
    else log(event, nouns)
  }
}

try {
  await main()
} catch (error) {
  process.exit(fail(error, name))
}
