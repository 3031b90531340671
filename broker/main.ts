#!/usr/bin/env node
/** The hub's program: MQTT broker, relay, key service; deploys the model of its settings when its devices are online. */

import { dirname, join, resolve } from 'node:path'
import { checkSettings, loadConfig } from '#shared/config.js'
import { Refusal } from '#shared/errors.js'
import { openLog } from '#shared/log.js'
import { readGoldenSet } from '#shared/onnx/golden.js'
import { readModelFile } from '#shared/onnx/model-file.js'
import { readCanonical } from '#shared/onnx/prepare.js'
import { inputPorts } from '#shared/onnx/sample.js'
import { programNamed } from '#shared/program.js'
import { complain, fail } from '#shared/report.js'
import { tuneV8 } from '#shared/v8.js'
import { hubConfig, type HubConfig } from './config.js'
import type { DeployRequest } from './deployments.js'
import type { Hub } from './hub.js'
import { openHub } from './open.js'

tuneV8()

const name = 'tessera-hub'
const program = programNamed(
  name,
  'Coordinates a fleet: MQTT broker, relay, keys, and the plan that gives each device its stage.',
)
  .option('--config <file>', 'settings in YAML, as in config/hub.yaml (default: the built-in ones, without a model)')
  .addHelpText(
    'after',
    `
It prints the command that starts a device. Ctrl-C ends it, with status 0: links
between devices go on, and once it runs again the devices come back.`,
  )

async function main(): Promise<void> {
  const { config: file } = program.parse().opts<{ config?: string }>()
  const { deploy, ...config } = file === undefined ? checkSettings({}, hubConfig) : await loadConfig(file, hubConfig)
  const base = file === undefined ? process.cwd() : dirname(resolve(file))
  const request = await deployRequest(deploy, base)
  const running = await openHub({ ...config, state: resolve(base, config.state) }, { log: openLog(name) })
  const stop = (): void => {
    void running.close().then(() => process.exit(0))
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)

  say(`hub ready at ${running.uri}, fleet ${running.fleet}; each device joins from a folder of its own:`)
  say(`  tessera-device ${running.joinArguments.join(' ')} --state tessera-device-1`)
  if (request !== undefined) await deployWhenPossible(running.hub, request)
}

/** Waits for the devices, then until each has its stage. What goes wrong at a device is told, and waited for to mend. */
async function deployWhenPossible(hub: Hub, request: StagesRequest): Promise<void> {
  const { stages } = request
  say(`waiting for ${stages} devices to deploy '${request.name}'`)
  let online = 0
  for (let isDeployed = false; !isDeployed;) {
    if (hub.online().length !== online) {
      online = hub.online().length
      say(`${online} of ${stages} devices online`)
    }
    if (online < stages) await change(hub)
    else isDeployed = await deployed(hub, request)
  }
  for (let told = ''; ;) {
    try {
      await hub.ready(readyWithinMs)
      break
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (error.message !== told) complain(error, name)
      told = error.message
      await change(hub)
    }
  }
  if (request.objective !== undefined) await timeStages(hub)
  say(
    `'${request.name}' is ready in ${hub.plan?.stages.length ?? stages} sealed segments; a client joins fleet ${hub.fleet}`,
  )
}

/** Before requests come: what the segments take where they are, for the choices that follow. */
async function timeStages(hub: Hub): Promise<void> {
  try {
    await hub.timeStages()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    complain(error, name) // the plan goes on as it was chosen
  }
}

/** False where a device has left meanwhile. Throws what stands against the model itself. */
async function deployed(hub: Hub, request: DeployRequest): Promise<boolean> {
  try {
    await hub.deploy(request)
    return true
  } catch (error) {
    if (error instanceof Refusal && error.code === 'device-lost') return false
    throw error
  }
}

/** Stages that take longer than this are told of, once. */
const readyWithinMs = 60_000

function change(hub: Hub): Promise<void> {
  return new Promise((resolve) => {
    const unwatch = hub.watch(() => {
      unwatch()
      resolve()
    })
  })
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

type StagesRequest = DeployRequest & { readonly stages: number }

/** Reads the model before anything is opened, so that what is wrong with it is told at once. */
async function deployRequest(deploy: HubConfig['deploy'], base: string): Promise<StagesRequest | undefined> {
  if (deploy === undefined) return undefined
  const path = resolve(base, deploy.model)
  const model = await readModelFile(path)
  const { name, objective, stages, optimisation } = deploy
  const plan = objective === undefined ? { stages } : { stages, objective: { kind: objective } }
  const request = { name, model, folder: dirname(path), level: optimisation, ...plan }
  try {
    const { graph } = await readCanonical(model, dirname(path))
    if (deploy.data === undefined) {
      inputPorts(graph, undefined) // there is nothing else that would give a dynamic dimension its size
      return request
    }
    const names = graph.input.map((value) => value.name)
    const folder = join(resolve(base, deploy.data), 'test_data_set_0')
    const { inputs } = await readGoldenSet(folder)
    if (inputs.length !== names.length) {
      throw new Refusal(
        'no-golden-data',
        `'${folder}' holds ${inputs.length} inputs, the model takes ${names.length} (${names.join(', ')}): correct deploy.data`,
      )
    }
    return { ...request, sample: Object.fromEntries(names.map((name, i) => [name, inputs[i]!])) }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const remedy = error.code === 'dynamic-shape' ? '; set deploy.data to a folder with test_data_set_0' : ''
    throw new Refusal(error.code, `the model '${path}': ${error.message}${remedy}`, { cause: error })
  }
}

try {
  await main()
} catch (error) {
  process.exit(fail(error, name))
}
