/** `tessera plan what-if`: times a model here, plans it for a fleet in a file, and tries what would make it better. */

import { writeFile } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { losses, worthwhile } from '#broker/planner/advice.js'
import { bottleneckOf } from '#broker/planner/bottleneck.js'
import { loadFleet } from '#broker/planner/fleet-file.js'
import type { Fleet } from '#broker/planner/fleet.js'
import type { ModelWork } from '#broker/planner/model-work.js'
import { signPlan, writePlan, type PlanDocument } from '#broker/planner/plan-document.js'
import { loadIdentity } from '#shared/crypto/identity.js'
import { Refusal, reasonOf } from '#shared/errors.js'
import { adviceWords } from '../plan/advice-words.js'
import { showRate, showTime } from '../plan/figures.js'
import { measured, plannedOn, type Found, type MeasureOptions, type PlanOptions, type Say } from '../plan/planned.js'
import { bottleneckWords, certificateWords, describePlan } from '../plan/report.js'
import { drawGraph } from '../plan/svg.js'
import { printable, showBytes } from './model-table.js'

export interface WhatIfOptions extends MeasureOptions, Omit<PlanOptions, 'name'> {
  readonly fleet: string
  readonly svg?: string
  readonly out?: string
  readonly identity?: string
  readonly json: boolean
}

export async function whatIf(options: WhatIfOptions): Promise<void> {
  await loadFleet(options.fleet) // mistakes in the file are told before the model is timed
  const identity = options.identity === undefined ? undefined : await loadIdentity(options.identity)
  const { work, fleet, found } = await waiting(async (say) => {
    const work = await measured(options, say)
    const nodes = work.nodes.map(({ name }) => name)
    const fleet = await loadFleet(options.fleet, nodes)
    return { work, fleet, found: plannedOn(work, fleet, { ...options, name: nameOf(options.model) }, say) }
  })
  const plan = identity === undefined ? found.plan : signPlan(found.plan, identity)
  if (options.out !== undefined) await save(options.out, writePlan(plan))
  if (options.svg !== undefined) await save(options.svg, drawGraph(plan, work))
  process.stdout.write(
    options.json ? `${JSON.stringify(summaryOf(plan, work, found))}\n` : report(plan, work, fleet, found),
  )
}

/** Shows on a terminal what is being done meanwhile; nothing elsewhere. */
async function waiting<T>(work: (say: Say) => Promise<T>): Promise<T> {
  const { stderr } = process
  const say = (what: string): void => void (stderr.isTTY && stderr.write(`\r\u001b[K${what}`))
  return work(say).finally(() => say(''))
}

function summaryOf(plan: PlanDocument, { nodes }: ModelWork, { idle, advice, untried, front, parts }: Found): unknown {
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
    ...(front !== undefined && { front }),
    ...(parts !== undefined && { parts }),
  }
}

function report(
  plan: PlanDocument,
  { nodes }: ModelWork,
  fleet: Fleet,
  { idle, advice, untried, front, parts }: Found,
): string {
  const us = nodes.reduce((sum, node) => sum + node.us, 0)
  const weights = nodes.reduce((sum, { weightBytes }) => sum + weightBytes, 0)
  const { model, objective, options } = plan
  const wanted = objective.kind === 'batch' ? `batch of ${objective.requests}` : objective.kind
  const head = [
    `${model.name}: ${nodes.length} nodes, ${showBytes(weights)} of weights, ${showTime(us)} in one thread of this machine (level ${model.level})`,
    `best ${wanted} with a ${options.shape === 'dag' ? 'graph' : 'chain'} of stages, ${granularityWords[options.granularity]}${options.bits < 32 ? `, activations of ${options.bits} bits (priced, not yet executed)` : ''}`,
  ]
  const gains = worthwhile(advice)
  const lines = [
    ...(front === undefined ? [] : [['trades', front.slice(0, shownTrades).map(tradeWords).join('; ')]]),
    ...(parts === undefined ? [] : [['parts', parts]]),
    ...forbiddenEdges(fleet),
    ...(idle.length === 0 ? [] : [['idle', showIdle(fleet, idle)]]),
    ...gains.map((one, index) => [index === 0 ? 'next best' : '', adviceWords(one, objective)]),
    ...(gains.length === 0 ? [['next best', 'none of the changes that were tried brings 1 %']] : []),
    ...losses(advice).map((one, index) => [index === 0 ? 'losses' : '', adviceWords(one, objective)]),
    ...(untried === 0 ? [] : [['', `${untried} more changes were not tried: give --seconds more`]]),
  ]
  return `${head.map(printable).join('\n')}\n\n${describePlan(plan, lines)}`
}

/** Trades between throughput and latency that are shown. */
const shownTrades = 6

function tradeWords({ periodUs, latencyUs }: NonNullable<Found['front']>[number]): string {
  return `${showRate(periodUs)} with ${showTime(latencyUs)}`
}

/** How many pairs of devices may not share an edge, if any: a plan that looks odd may be odd for that. */
function forbiddenEdges({ links }: Fleet): string[][] {
  const pairs = links.length * (links.length - 1)
  const forbidden = links.reduce(
    (sum, row, from) => sum + row.filter((link, to) => from !== to && link === undefined).length,
    0,
  )
  if (forbidden === 0) return []
  return [['edges', `${forbidden} of ${pairs} are not permitted, by policy or as links of kind none`]]
}

/** Idle devices by their name in the fleet file: `panel, 3 of 4 camera`. */
function showIdle({ devices }: Fleet, idle: readonly string[]): string {
  const groups = [...new Set(devices.map(({ group }) => group))]
  return groups
    .flatMap((group) => {
      const members = devices.filter((device) => device.group === group)
      const left = members.filter(({ name }) => idle.includes(name)).length
      if (left === 0) return []
      return [members.length === 1 ? group : `${left} of ${members.length} ${group}`]
    })
    .join(', ')
}

const granularityWords = {
  layer: 'every layer whole',
  block: 'with a layer in parts',
  auto: 'layers whole or in parts',
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
