#!/usr/bin/env node
/** The device's program: joins a fleet and runs the stage that the hub assigns, until it is stopped. */

import { Command, Option } from 'commander'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { fromHex } from '#shared/bytes.js'
import { systemClock } from '#shared/clock.js'
import { loadConfig, parseConfig } from '#shared/config.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { openLog } from '#shared/log.js'
import { systemRandom } from '#shared/random.js'
import { fail } from '#shared/report.js'
import { loadMember } from '#shared/crypto/member-file.js'
import { deviceConfig, type DeviceConfig } from './config.js'
import { Device } from './device.js'
import { tcpTransport } from './link/transport.js'
import { dialTcp } from './link/dial.js'
import { folderStore } from './vault/store.js'

const program = new Command('tessera-device')
  .description('Joins a fleet and runs the stage of the model that the hub assigns to this device.')
  .option('--config <file>', 'settings in YAML; options given here win')
  .option('--hub <uri>', 'the hub, mqtt://HOST:PORT')
  .option('--hub-key <hex>', "the hub's key, as it prints it at its start")
  .option('--fleet <id>', 'the fleet, f and 16 hex digits')
  .option('--state <folder>', 'identity and sealed segment of this device')
  .option('--name <text>', 'shown to people')
  .addOption(new Option('--link <kind>', 'how frames travel').choices(['auto', 'direct', 'relay']))
  .addOption(new Option('--engine <where>', 'where inference runs').choices(['auto', 'worker', 'inline']))
  .exitOverride()

async function main(): Promise<void> {
  program.parse()
  const { config: file, ...given } = program.opts<Partial<DeviceConfig> & { config?: string }>()
  const config =
    file === undefined
      ? parseConfig('', 'the command line', deviceConfig, given)
      : await loadConfig(file, deviceConfig, given)
  const log = openLog('tessera-device')
  const { id, identity } = await loadMember(config.state, systemRandom)
  const hub = new URL(config.hub)
  let device: Device | undefined
  let isStopping = false
  async function stop(): Promise<void> {
    if (isStopping) return
    isStopping = true
    await device?.close()
    process.exit(0)
  }
  process.on('SIGTERM', () => void stop())
  if (process.send === undefined) process.on('SIGINT', () => void stop())
  else {
    // Started by a program of ours: it gets the Ctrl-C and ends us in its order; should it die, we do not stay behind.
    process.on('SIGINT', () => {})
    process.on('disconnect', () => void stop())
  }

  device = await Device.start({
    fleet: config.fleet,
    id,
    identity,
    name: config.name ?? hostname().slice(0, 64),
    clock: systemClock,
    random: systemRandom,
    aeads: nodeAeads,
    link: config.link,
    engine: config.engine,
    hub: hub.host,
    dialHub: dialTcp({ host: hub.hostname, port: Number(hub.port || 1883) }),
    // A relay that names no host is on the hub's.
    dialRelay: ({ host, port }) => dialTcp({ host: host === '' ? hub.hostname : host, port })(),
    transport: tcpTransport(config.listen.host, config.listen.port),
    ...(config.hubKey === undefined ? {} : { hubKey: fromHex(config.hubKey) }),
    store: folderStore(join(config.state, 'segments')),
    log,
    onExit: () => void stop(),
  })

  process.send?.({ id })
}

try {
  await main()
} catch (error) {
  process.exit(fail(error, 'tessera-device'))
}
