/** `tessera plan what-if`: times a model here, plans it for a fleet in a file, and tries what would make it better. */

import { writeFile } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { adviceFor, losses, worthwhile, type Advice } from '#broker/planner/advice.js'
import { bottleneckOf } from '#broker/planner/bottleneck.js'
import { changesTo } from '#broker/planner/changes.js'
import { loadOf } from '#broker/planner/cost.js'
import { loadFleet } from '#broker/planner/fleet-file.js'
import type { Fleet, Pin } from '#broker/planner/fleet.js'
import { workOf, type ModelWork } from '#broker/planner/model-work.js'
import { optimise, type Optimum } from '#broker/planner/optimise.js'
import { signPlan, writePlan, type PlanBody, type PlanDocument } from '#broker/planner/plan-document.js'
import { draftPlan } from '#broker/planner/plan-draft.js'
import { pose, type ActivationBits, type PoseOptions } from '#broker/planner/pose.js'
import type { Objective, Problem } from '#broker/planner/problem.js'
import { loadIdentity } from '#shared/crypto/identity.js'
import { Refusal, reasonOf } from '#shared/errors.js'
import { profile } from '#shared/onnx/profile.js'
import type { Level } from '#shared/onnx/session.js'
import { adviceWords } from '../plan/advice-words.js'
import { showTime } from '../plan/figures.js'
import { bottleneckWords, certificateWords, describePlan } from '../plan/report.js'
import { drawGraph } from '../plan/svg.js'
import { prepareSource, readSource } from './model-source.js'
import { printable, progressBar, showBytes } from './model-table.js'

export const granularities = ['layer', 'block', 'auto'] as const

export interface WhatIfOptions {
  readonly model: string
  readonly fleet: string
  readonly objective: Objective
  readonly granularity: (typeof granularities)[number]
  readonly shape: Problem['shape']
  readonly replicas: number
  readonly pin: readonly Pin[]
  readonly bits: ActivationBits
  readonly data?: string
  readonly dims?: Readonly<Record<string, number>>
  readonly level: Level
  readonly seconds: number
  readonly svg?: string
  readonly out?: string
  readonly identity?: string
  readonly json: boolean
}

/** The least of so many runs is the time of a node. */
const measuredRuns = 10
/** Devices that may share one layer. */
const maxParts = 4
/** Of the time for planning, what one change may take, and all of them together again as much as the plan. */
const changeShare = 0.1

export async function whatIf(options: WhatIfOptions): Promise<void> {
  await loadFleet(options.fleet) // mistakes in the file are told before the model is timed
  const identity = options.identity === undefined ? undefined : await loadIdentity(options.identity)
  const work = await measured(options)
  const nodes = work.nodes.map(({ name }) => name)
  const found = plannedOn(work, await loadFleet(options.fleet, nodes), options)
  const plan = identity === undefined ? found.plan : signPlan(found.plan, identity)
  if (options.out !== undefined) await save(options.out, writePlan(plan))
  if (options.svg !== undefined) await save(options.svg, drawGraph(plan, work))
  process.stdout.write(options.json ? `${JSON.stringify(summaryOf(plan, work, found))}\n` : report(plan, work, found))
}

/** The model's work, timed on this machine. */
async function measured({ model, data, dims, level }: WhatIfOptions): Promise<ModelWork> {
  const say = (what: string): void => {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${what}`)
  }
  const source = { ...(data !== undefined && { data }), ...(dims !== undefined && { dims }), level, json: false }
  say('reading and optimising the model …')
  try {
    const { engine, prepared, sample } = await prepareSource(await readSource(model, source), source)
    say(`timing ${prepared.nodes.length} nodes, ${measuredRuns} runs …`)
    return workOf(prepared, await profile(prepared, engine, sample, measuredRuns))
  } finally {
    say('')
  }
}

interface Found {
  readonly plan: PlanBody
  readonly idle: readonly string[]
  readonly advice: readonly Advice[]
  /** Changes that there was no time to try. */
  readonly untried: number
}

function plannedOn(work: ModelWork, fleet: Fleet, options: WhatIfOptions): Found {
  const { objective, granularity, shape, bits, seconds } = options
  const clock = (): number => performance.now()
  const solve = (problem: Problem, share: number): Optimum =>
    optimise(problem, objective, { clock, budgetMs: 1000 * seconds * share })
  const maxReplicas = granularity === 'block' ? 1 : options.replicas
  const poseOptions: PoseOptions = {
    shape,
    maxReplicas,
    maxParts: granularity === 'layer' ? 1 : maxParts,
    pins: options.pin,
    bits,
  }
  const posed = pose(work, fleet, poseOptions)
  const { placement, certificate } = solve(posed.problem, 1)
  const load = loadOf(posed.problem, placement)
  const plan = draftPlan(
    work,
    fleet,
    posed,
    { placement, certificate, load, spares: [] },
    { modelName: nameOf(options.model), madeAtMs: Date.now(), options: { granularity, shape, maxReplicas, bits } },
  )
  const changes = changesTo({ work, fleet, options: poseOptions, posed }, placement, load)
  const deadline = clock() + 1000 * seconds
  const progress = progressBar('trying changes')
  const advice = adviceFor(changes, {
    objective,
    value: certificate.value,
    solve: (problem) => solve(problem, changeShare),
    isLate: () => clock() > deadline,
    onDone: (done) => progress.show(done, changes.length),
  })
  progress.clear()
  const used = new Set(plan.stages.flatMap(({ members }) => members.map(({ device }) => device)))
  const idle = fleet.devices.map(({ name }) => name).filter((name) => !used.has(name))
  return { plan, idle, advice, untried: changes.length - advice.length }
}

function summaryOf(plan: PlanDocument, { nodes }: ModelWork, { idle, advice, untried }: Found): unknown {
  const bottleneck = bottleneckOf(plan)
  return {
    plan,
    throughputPerSecond: 1e6 / plan.predicted.periodUs,
    measured: { nodes: nodes.length, us: nodes.reduce((sum, { us }) => sum + us, 0) },
    idle,
    bottleneck: { ...bottleneck, says: bottleneckWords(bottleneck) },
    certificate: certificateWords(plan),
    next: worthwhile(advice).map((one) => ({ ...one, words: adviceWords(one, plan.objective) })),
    changes: advice,
    untried,
  }
}

function report(plan: PlanDocument, { nodes }: ModelWork, { idle, advice, untried }: Found): string {
  const us = nodes.reduce((sum, node) => sum + node.us, 0)
  const weights = nodes.reduce((sum, { weightBytes }) => sum + weightBytes, 0)
  const { model, objective, options } = plan
  const wanted = objective.kind === 'batch' ? `batch of ${objective.requests}` : objective.kind
  const head = [
    `${model.name}: ${nodes.length} nodes, ${showBytes(weights)} of weights, ${showTime(us)} in one thread of this machine (level ${model.level})`,
    `best ${wanted} as a ${options.shape} of stages, ${granularityWords[options.granularity]}${options.bits < 32 ? `, activations of ${options.bits} bits (priced, not yet executed)` : ''}`,
  ]
  const gains = worthwhile(advice)
  const lines = [
    ...(idle.length === 0 ? [] : [['idle', idle.join(', ')]]),
    ...gains.map((one, index) => [index === 0 ? 'next best' : '', adviceWords(one, objective)]),
    ...(gains.length === 0 ? [['next best', 'none of the changes that were tried brings 1 %']] : []),
    ...losses(advice).map((one, index) => [index === 0 ? 'losses' : '', adviceWords(one, objective)]),
    ...(untried === 0 ? [] : [['', `${untried} more changes were not tried: give --seconds more`]]),
  ]
  return `${head.map(printable).join('\n')}\n\n${describePlan(plan, lines)}`
}

const granularityWords = {
  layer: 'every layer whole',
  block: 'layers whole or in parts',
  auto: 'layers whole, in parts or replicated',
}

/** A model is called like its file, or its folder where files are all called alike. */
function nameOf(file: string): string {
  const name = basename(file, '.onnx')
  return name === 'model' ? basename(dirname(resolve(file))) : name
}

async function save(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text)
  } catch (error) {
    throw new Refusal('usage', `cannot write '${file}': ${reasonOf(error)}; name a file in a folder that is there`)
  }
}
