/** From a model and a fleet to a plan and what could be better about it: the work behind `tessera plan what-if`. */

import { adviceFor, type Advice } from '#broker/planner/advice.js'
import { bestSplit, type Split } from '#broker/planner/best-split.js'
import { changesTo } from '#broker/planner/changes.js'
import { loadOf } from '#broker/planner/cost.js'
import type { Fleet, Pin } from '#broker/planner/fleet.js'
import { workOf, type ModelWork } from '#broker/planner/model-work.js'
import { optimise, type Optimum } from '#broker/planner/optimise.js'
import type { PlanBody } from '#broker/planner/plan-document.js'
import { draftPlan } from '#broker/planner/plan-draft.js'
import { pose, type ActivationBits, type Posed, type PoseOptions } from '#broker/planner/pose.js'
import type { Certificate, Cost, Objective, Placement, Problem } from '#broker/planner/problem.js'
import { spares } from '#broker/planner/spares.js'
import { profile } from '#shared/onnx/profile.js'
import type { Level } from '#shared/onnx/session.js'
import { prepareSource, readSource } from '../cli/model-source.js'
import { shorten, showChange, showPercent } from './figures.js'

export interface MeasureOptions {
  readonly model: string
  readonly data?: string
  readonly dims?: Readonly<Record<string, number>>
  readonly level: Level
}

export const granularities = ['layer', 'block', 'auto'] as const

export interface PlanOptions {
  /** What the plan calls the model. */
  readonly name: string
  readonly objective: Objective
  readonly granularity: (typeof granularities)[number]
  readonly shape: Problem['shape']
  readonly replicas: number
  readonly pin: readonly Pin[]
  readonly bits: ActivationBits
  /** For the plan; trying changes takes at most as long again. */
  readonly seconds: number
}

/** Hears what is being done, for whoever waits. */
export type Say = (what: string) => void

/** The least of so many runs is the time of a node. */
const measuredRuns = 10
/** Devices that may share one layer. */
const maxParts = 4
/** Of the time for planning, what one change may take. */
const changeShare = 0.1

/** The model's work, timed on this machine. Throws what reading and preparing a model refuse. */
export async function measured({ model, data, dims, level }: MeasureOptions, say: Say): Promise<ModelWork> {
  const source = { ...(data !== undefined && { data }), ...(dims !== undefined && { dims }), level, json: false }
  say('reading and optimising the model …')
  const { engine, prepared, sample } = await prepareSource(await readSource(model, source), source)
  say(`timing ${prepared.nodes.length} nodes, ${measuredRuns} runs …`)
  return workOf(prepared, await profile(prepared, engine, sample, measuredRuns))
}

/** What there is to say about a model on a fleet. */
export interface Found {
  readonly plan: PlanBody
  readonly idle: readonly string[]
  readonly advice: readonly Advice[]
  /** Changes that there was no time to try. */
  readonly untried: number
  /** Of a batch: the trades between period and latency that no other beats, the shortest period first. */
  readonly front?: readonly Pick<Cost, 'periodUs' | 'latencyUs'>[]
  /** Why no layer is in parts, where that was allowed. */
  readonly parts?: string
}

/** Plans the work for the fleet, and tries what would make the plan better. Throws `Refusal('cannot-plan')`. */
export function plannedOn(work: ModelWork, fleet: Fleet, options: PlanOptions, say: Say): Found {
  const { objective, granularity, shape, bits, seconds } = options
  const clock = (): number => performance.now()
  const solve = (problem: Problem, share: number): Chosen => {
    const best = optimise(problem, objective, { clock, budgetMs: 1000 * seconds * share })
    const split = granularity === 'block' && !hasParts(best.placement) ? bestSplit(problem, objective) : undefined
    return split === undefined ? best : forced(best, split)
  }
  const maxReplicas = options.replicas
  const poseOptions: PoseOptions = {
    shape,
    maxReplicas,
    maxParts: granularity === 'layer' ? 1 : maxParts,
    pins: options.pin,
    bits,
  }
  const posed = pose(work, fleet, poseOptions)
  say(`planning for ${fleet.devices.length} devices, at most ${seconds} s …`)
  const { placement, certificate, front } = solve(posed.problem, 1)
  const split = hasParts(placement) ? undefined : bestSplit(posed.problem, objective)
  const load = loadOf(posed.problem, placement)
  const plan = draftPlan(
    work,
    fleet,
    posed,
    { placement, certificate, load, spares: spares(posed.problem, placement) },
    { modelName: options.name, madeAtMs: Date.now(), options: { granularity, shape, maxReplicas, bits } },
  )
  const changes = changesTo({ work, fleet, options: poseOptions, posed }, placement, load)
  const deadline = clock() + 1000 * seconds
  const advice = adviceFor(changes, {
    objective,
    value: certificate.value,
    solve: (problem) => solve(problem, changeShare),
    isLate: () => clock() > deadline,
    onDone: (done) => say(`trying changes: ${done} of ${changes.length} …`),
  })
  const used = new Set(plan.stages.flatMap(({ members }) => members.map(({ device }) => device)))
  const idle = fleet.devices.map(({ name }) => name).filter((name) => !used.has(name))
  const untried = changes.length - advice.length
  return {
    plan,
    idle,
    advice,
    untried,
    ...(front !== undefined && {
      front: front.map(({ cost }) => ({ periodUs: cost.periodUs, latencyUs: cost.latencyUs })),
    }),
    ...(split !== undefined && { parts: partsWords(posed, split, certificate) }),
  }
}

function hasParts({ stages }: Placement): boolean {
  return stages.some(({ holding }) => holding.kind === 'parts')
}

type Chosen = Pick<Optimum, 'placement' | 'certificate' | 'front'>

/** The plan in parts that was asked for, under the bound of all plans. */
function forced({ certificate }: Chosen, { placement, value }: Split): Chosen {
  const { objective, lowerBound, value: without } = certificate
  const gap = value / lowerBound - 1
  const less = `${showPercent(1 - without / value)} less ${objective.kind === 'memory' ? 'memory' : 'time'}`
  const remark = `a layer in parts was asked for, without which the best plan found takes ${less}`
  return { placement, certificate: { ...certificate, value, gap, remark } }
}

/** What the best plan with a layer in parts would be, where the best of all has none. */
function partsWords(
  { problem }: Posed,
  { placement, region, value }: Split,
  { objective, value: without }: Certificate,
): string {
  const { nodes } = problem.regions[region]!
  const stage = placement.stages.find(({ holding }) => holding.kind === 'parts')!
  const members = stage.holding.kind === 'parts' ? stage.holding.classes : []
  const layer = `${shorten(problem.nodes[nodes[0]!]!.name, 32)}${nodes.length === 1 ? '' : ` and ${nodes.length - 1} more`}`
  const devices = members.map((kind) => problem.classes[kind]!.name).join(', ')
  return `do not pay here: the best that was tried, ${layer} over ${devices}, takes ${showChange(value / without - 1)} ${objective.kind === 'memory' ? 'memory' : 'time'}`
}
