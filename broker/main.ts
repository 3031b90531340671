#!/usr/bin/env node
/** The hub's program: MQTT broker, relay, key service; deploys the model of its settings when its devices are online. */

import { Command } from 'commander'
import { readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { systemClock } from '#shared/clock.js'
import { loadConfig, parseConfig } from '#shared/config.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { loadMember } from '#shared/crypto/member-file.js'
import { Refusal } from '#shared/errors.js'
import { fleetOf } from '#shared/ids.js'
import { openLog } from '#shared/log.js'
import { readGoldenSet } from '#shared/onnx/golden.js'
import { readCanonical } from '#shared/onnx/prepare.js'
import { systemRandom } from '#shared/random.js'
import { fail } from '#shared/report.js'
import { hubConfig, type HubConfig } from './config.js'
import type { DeployRequest } from './hub.js'
import { startHub } from './start.js'

const program = new Command('tessera-hub')
  .description('Coordinates a fleet: MQTT broker, relay, keys, and the plan that gives each device its stage.')
  .option('--config <file>', 'settings in YAML')
  .exitOverride()

async function main(): Promise<void> {
  program.parse()
  const { config: file } = program.opts<{ config?: string }>()
  const config =
    file === undefined ? parseConfig('', 'the built-in settings', hubConfig) : await loadConfig(file, hubConfig)
  const log = openLog('tessera-hub')
  const { id, identity } = await loadMember(config.state, systemRandom)
  const fleet = config.fleet ?? fleetOf(identity.publicKey)
  const request = await deployRequest(config.deploy, file === undefined ? process.cwd() : dirname(resolve(file)))
  const { hub, joinArguments } = await startHub({
    fleet,
    id,
    identity,
    ...config.listen,
    epoch: Math.floor(systemClock.nowMs() / 1000), // rises with every start
    clock: systemClock,
    random: systemRandom,
    aeads: nodeAeads,
    log,
  })
  process.stdout.write(`hub ready; a device joins with\n  tessera-device ${joinArguments.join(' ')}\n`)

  const stop = (): void => {
    void hub.close().then(() => process.exit(0))
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  if (request === undefined) return
  process.stdout.write(`waiting for ${request.stages} devices to deploy '${request.name}'\n`)
  const online = (): number =>
    hub.members().filter((member) => member.birth.role === 'device' && member.state === 'online').length
  await hub.until(() => online() >= request.stages, 2 ** 31 - 1, `that ${request.stages} devices are online`)
  const { segmentBytes } = await hub.deploy(request)
  await hub.ready(600_000)
  process.stdout.write(`'${request.name}' is ready in ${segmentBytes.length} sealed segments\n`)
}

/** Reads the model before anything is opened, so that a wrong path is told at once. */
async function deployRequest(deploy: HubConfig['deploy'], base: string): Promise<DeployRequest | undefined> {
  if (deploy === undefined) return undefined
  const path = resolve(base, deploy.model)
  const model = await readFile(path).catch((error: unknown) => {
    throw new Refusal('missing-file', `cannot read the model '${path}' named by deploy.model`, { cause: error })
  })
  const request = { name: deploy.name, model, folder: dirname(path), level: deploy.optimisation, stages: deploy.stages }
  if (deploy.data === undefined) return request
  const names = (await readCanonical(model, dirname(path))).graph.input.map((value) => value.name)
  const { inputs } = await readGoldenSet(join(resolve(base, deploy.data), 'test_data_set_0'))
  return { ...request, sample: Object.fromEntries(names.map((name, i) => [name, inputs[i]!])) }
}

try {
  await main()
} catch (error) {
  process.exit(fail(error, 'tessera-hub'))
}
