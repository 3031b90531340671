/**
 * The plan by what was measured: chooses it, watches whether it does what was expected of it, and says whether the fleet
 * should change over to another one. Moves nothing itself.
 */

import type { Clock } from '#shared/clock.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import type { Log } from '#shared/log.js'
import type { Assigned, StageTelemetry } from '#shared/protocol/messages.js'
import type { ProfileStore } from './fleet/profiles.js'
import type { Registry } from './fleet/registry.js'
import { range } from '#shared/onnx/extract.js'
import { costOf } from './planner/cost.js'
import { isLasting, look, type Drift } from './planner/drift.js'
import type { Layout } from './planner/layout.js'
import { placementOf, poseLive, stagesOf, type LiveModel, type LiveProblem, type LiveStage } from './planner/live.js'
import { isLegal, valueOf } from './planner/objective.js'
import { search } from './planner/search.js'
import type { Certificate, Cost, Objective } from './planner/problem.js'
import { contradicted, expectedNodeUs, withSegment, type Profiles, type SegmentProfile } from './planner/profile.js'
import { decide, type Arrangement, type Change, type Decision, type Waiting } from './planner/replan.js'

/** Delivery and loading, until they are measured: 50 MB/s through the hub; opening and a session (DESIGN 5). */
const deliveryByteUs = 0.02
const loadUs = { fixed: 50_000, byte: 0.002 }
/** Frames between two reports that say something of the time of one. */
const fewestFrames = 4

export interface PlanningOptions {
  readonly clock: Clock
  readonly registry: Registry
  readonly store: ProfileStore<Profiles>
  readonly isInline: boolean
  readonly log: Log
}

/** What is asked of a plan. */
export interface Goal {
  readonly objective: Objective
  /** Devices that may hold one and the same stage, and take its requests in turn; 1 unless given: each has a piece of its own. */
  readonly maxReplicas?: number
}

/** A plan as it was chosen. */
export interface Choice {
  readonly model: LiveModel
  readonly goal: Goal
  readonly stages: readonly LiveStage[]
  readonly cost: Cost
  /** Absent for a plan that was told, not searched. */
  readonly certificate?: Certificate
}

interface Watched {
  readonly stage: LiveStage
  expectedUs: number
  seen: { plan: number; frames: number; computeUs: number } | undefined
  drift: Drift | undefined
}

export class Planning {
  readonly #options: PlanningOptions
  #choice: Choice | undefined
  #watched = new Map<DeviceId, Watched>()
  #held = new Map<string, Set<string>>()
  #changes: Change[] = []
  #waiting: Waiting | undefined
  #changedAtMs = 0
  #switchedAtMs: number[] = []

  constructor(options: PlanningOptions) {
    this.#options = options
  }

  get choice(): Choice | undefined {
    return this.#choice
  }

  /** Whether something has happened that may ask for another plan. */
  get isUneasy(): boolean {
    return this.#choice !== undefined && (this.#changes.length > 0 || this.#waiting !== undefined)
  }

  /**
   * The best plan for the devices that are here, or those `among` them, by what is known of them. Throws
   * `Refusal('cannot-plan')`.
   */
  async choose(model: LiveModel, goal: Goal, among?: readonly DeviceId[]): Promise<Choice> {
    const posed = this.#posed(model, among, goal.maxReplicas)
    const asked = { problem: posed.problem, objective: goal.objective }
    const { placement, cost, certificate } = await search(asked, this.#options.isInline)
    const stages = stagesOf(
      posed,
      placement,
      (from, to) => nameOf(model, from, to),
      (from, to) => bytesOf(model, from, to),
      this.#held,
    )
    return { model, goal, stages, cost, certificate }
  }

  /** What these stages would cost by what is known now; `undefined` where one of their devices is not here or unknown. */
  value(model: LiveModel, stages: readonly LiveStage[]): Cost | undefined {
    const posed = this.#posed(model)
    const placement = placementOf(posed, stages)
    return placement && costOf(posed.problem, placement)
  }

  /** The choice is in force from now on. `isChange`: it took the place of one that could have gone on. */
  adopted(choice: Choice, isChange: boolean): void {
    const nowMs = this.#options.clock.nowMs()
    this.#choice = choice
    this.#changes = []
    this.#waiting = undefined
    if (isChange) this.#switchedAtMs.push(nowMs)
    if (this.#changedAtMs === 0) this.#changedAtMs = nowMs
    this.#watched = new Map(
      choice.stages.flatMap((stage) =>
        stage.devices.map((device): [DeviceId, Watched] => [
          device,
          { stage, expectedUs: this.#expectedUs(choice.model, stage, device), seen: undefined, drift: undefined },
        ]),
      ),
    )
    // Devices keep the file of their stage only, and the hub no other either.
    this.#held = new Map()
    for (const { from, to, devices } of choice.stages) {
      for (const device of devices) this.#held.set(device, new Set([nameOf(choice.model, from, to)]))
    }
  }

  /** There is another plan, not one of ours. */
  released(): void {
    this.#choice = undefined
    this.#watched.clear()
  }

  /** A device came or left. */
  changed(change: Change): void {
    if (this.#choice === undefined) return
    this.#changes.push(change)
    this.#changedAtMs = this.#options.clock.nowMs()
  }

  /** A stage was timed by order; or at load, which counts where nothing better is known. */
  timed(device: DeviceId, computeUs: number, by: SegmentProfile['by'], peakBytes?: number): void {
    const watched = this.#watched.get(device)
    const { choice } = this
    if (watched === undefined || choice === undefined || computeUs <= 0) return
    const { store, clock } = this.#options
    const { from, to } = watched.stage
    const { hash } = choice.model
    const isKnown = store.value.segments.some(
      (other) => other.device === device && other.model === hash && other.from === from && other.to === to,
    )
    if (by === 'load' && isKnown) return
    const timed = {
      hash,
      nodes: choice.model.nodes.map(({ opType }, i) => ({ opType, hubUs: choice.model.nodeUs[i]! })),
    }
    const expectedUs = (expectedNodeUs(store.value, device, timed) ?? [])
      .slice(from, to)
      .reduce((sum, us) => sum + us, 0)
    store.set(
      withSegment(store.value, {
        device,
        model: hash,
        from,
        to,
        computeUs,
        expectedUs,
        ...(peakBytes === undefined ? {} : { peakBytes }),
        by,
        atMs: clock.nowMs(),
      }),
    )
    watched.expectedUs = computeUs
  }

  /** What a device says of its stage when it has loaded it. */
  loaded(device: DeviceId, { state, computeUs }: Assigned): void {
    if (state === 'ready' && computeUs !== undefined) this.timed(device, computeUs, 'load')
  }

  /** What a device says of its stage while requests run: lasting differences contradict what is known of it. */
  told(device: DeviceId, { plan, frames, computeUs }: StageTelemetry): void {
    const watched = this.#watched.get(device)
    if (watched === undefined) return
    const { seen } = watched
    if (seen === undefined || seen.plan !== plan || frames < seen.frames) {
      watched.seen = { plan, frames, computeUs }
      return
    }
    if (frames - seen.frames < fewestFrames) return
    const { clock, store, log } = this.#options
    const nowMs = clock.monotonicMs()
    const seenUs = (computeUs - seen.computeUs) / (frames - seen.frames)
    watched.seen = { plan, frames, computeUs }
    watched.drift = look(watched.drift, watched.expectedUs, seenUs, nowMs)
    if (!isLasting(watched.drift, nowMs)) return
    const { expectedUs } = watched
    watched.drift = undefined
    this.timed(device, seenUs, 'work')
    store.set(contradicted(store.value, device))
    log('profile contradicted', { device, expectedUs: Math.round(expectedUs), seenUs: Math.round(seenUs) })
    this.changed({ kind: 'speed', device, factor: seenUs / expectedUs })
  }

  /** Whether to change over to another plan, and why; asked again after a while where a gain has to prove itself. */
  async reconsider(): Promise<{ readonly decision: Decision; readonly choice?: Choice } | undefined> {
    const { choice } = this
    if (choice === undefined) return undefined
    const { model, goal, stages } = choice
    const changes = this.#changes.splice(0)
    const candidates: { arrangement: Arrangement; choice: Choice }[] = []
    for (const devices of [undefined, stages.flatMap((stage) => stage.devices)]) {
      const other = await where(() => this.choose(model, goal, devices))
      if (other !== undefined) candidates.push({ arrangement: this.#arranged(model, other), choice: other })
    }
    const now = await where(() => this.value(model, stages))
    const { decision, waiting } = decide(
      {
        changes,
        current: this.#arranged(model, { stages, goal, ...(now === undefined ? {} : { cost: now }) }),
        candidates: candidates.map(({ arrangement }) => arrangement),
        held: this.#held,
        deliveryByteUs,
        changedAtMs: this.#changedAtMs,
        switchedAtMs: this.#switchedAtMs,
        nowMs: this.#options.clock.nowMs(),
        nameOf: (device) => this.#options.registry.get(device as DeviceId)?.birth.name ?? device,
      },
      this.#waiting,
    )
    this.#waiting = waiting
    const to = candidates.find(({ arrangement }) => arrangement === decision.to)?.choice
    return to === undefined ? { decision } : { decision, choice: to }
  }

  #posed(model: LiveModel, among?: readonly DeviceId[], maxReplicas = 1): LiveProblem {
    const { registry, store } = this.#options
    const here = registry.available().map(({ id }) => id)
    return poseLive(
      model,
      among === undefined ? here : here.filter((id) => among.includes(id)),
      store.value,
      maxReplicas,
    )
  }

  #arranged(
    model: LiveModel,
    { stages, goal: { objective }, cost }: { stages: readonly LiveStage[]; goal: Goal; cost?: Cost },
  ): Arrangement {
    const holdings = stages.flatMap(({ from, to, devices }) => {
      const bytes = bytesOf(model, from, to)
      const held = { segment: nameOf(model, from, to), bytes, loadUs: loadUs.fixed + loadUs.byte * bytes }
      return devices.map((device) => ({ device, ...held }))
    })
    if (cost === undefined || !isLegal(cost)) return { holdings, valueUs: Infinity }
    // A plan that was chosen to fit is left for what its requests take.
    return { holdings, valueUs: objective.kind === 'memory' ? cost.periodUs : valueOf(cost, objective) }
  }

  #expectedUs(model: LiveModel, { from, to }: LiveStage, device: DeviceId): number {
    const { problem, blocks, classes } = this.#posed(model, [device])
    const nodeUs = problem.classes[classes.findIndex((devices) => devices.includes(device))]?.nodeUs ?? []
    return nodeUs.reduce((sum, us, i) => sum + (blocks[i]!.from >= from && blocks[i]!.to <= to ? us : 0), 0)
  }
}

/** What the hub is to make of a choice. */
export function layoutOf({ model, stages }: Choice): Layout {
  const laid = stages.map(({ from, to, devices }) => ({ nodes: [...range(from, to)], devices }))
  return { shape: 'chain', graph: model.hash, stages: laid }
}

/** The same for the same nodes of the same graph. */
export function nameOf({ hash }: LiveModel, from: number, to: number): string {
  return `${hash.slice(0, 16)}/${from}-${to}`
}

function bytesOf({ nodes }: LiveModel, from: number, to: number): number {
  return nodes.slice(from, to).reduce((sum, { weightBytes }) => sum + weightBytes, 0)
}

/** What there is; `undefined` where no plan is possible. */
async function where<T>(given: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await given()
  } catch (error) {
    if (error instanceof Refusal && error.code === 'cannot-plan') return undefined
    throw error
  }
}
