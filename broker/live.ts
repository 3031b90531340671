/**
 * The plan that lives: has the fleet measured, chooses plans by it, watches them, and decides when another is worth the
 * move. The hub's part that `profiles` switch on.
 */

import { every, type Cancel } from '#shared/clock.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import type { Port } from '#shared/onnx/tensor.js'
import type { Assigned, Birth, Status, StageTelemetry } from '#shared/protocol/messages.js'
import type { Measured } from '#shared/protocol/measuring.js'
import type { SealedSegment } from './models/delivery.js'
import type { LiveModel } from './planner/live.js'
import type { Cost } from './planner/problem.js'
import type { Decision } from './planner/replan.js'
import { Planning, type Choice, type Goal, type PlanningOptions } from './planning.js'
import { Survey, type SurveyOptions } from './survey.js'

/** How often an uneasy plan is looked at again. */
const reconsiderMs = 5000

export type LiveOptions = Omit<SurveyOptions, 'onFigure'> & PlanningOptions

export class Live {
  readonly survey: Survey
  readonly #options: LiveOptions
  readonly #planning: Planning
  readonly #cancelReconsidering: Cancel
  #decision: Decision | undefined
  #next: Choice | undefined

  constructor(options: LiveOptions) {
    this.#options = options
    this.#planning = new Planning(options)
    this.survey = new Survey({ ...options, onFigure: (change) => this.#planning.changed(change) })
    this.#cancelReconsidering = every(options.clock, reconsiderMs, () => {
      if (this.#planning.isUneasy) void this.reconsider()
    })
  }

  /** The plan in force as it was chosen; `undefined` for one that was told. */
  get choice(): Choice | undefined {
    return this.#planning.choice
  }

  /** What the last decision would change over to. */
  get next(): Choice | undefined {
    return this.#next
  }

  /** What it costs by what is known now; `undefined` where a device of it is not here. */
  get predicted(): Cost | undefined {
    const { choice } = this
    return choice && this.#planning.value(choice.model, choice.stages)
  }

  get decision(): Decision | undefined {
    return this.#decision
  }

  born(id: DeviceId, role: Birth['role'], boot: 'new' | 'restarted' | 'known'): void {
    if (boot === 'restarted') this.survey.lost(id)
    if (boot !== 'known' && role === 'device') this.#planning.changed({ kind: 'join', device: id })
  }

  /** It was told all that there is for it, and can be asked. */
  welcomed(): void {
    this.survey.look()
  }

  /** A device has come back or gone. */
  changed(id: DeviceId, state: Status['state']): void {
    if (state !== 'online') this.survey.lost(id)
    this.#planning.changed({ kind: state === 'online' ? 'join' : 'leave', device: id })
  }

  told(id: DeviceId, telemetry: StageTelemetry): void {
    this.survey.told(id, telemetry)
    this.#planning.told(id, telemetry)
  }

  loaded(id: DeviceId, report: Assigned): void {
    this.#planning.loaded(id, report)
  }

  measured(id: DeviceId, report: Measured): void {
    this.survey.reported(id, report)
  }

  choose(model: LiveModel, goal: Goal): Promise<Choice> {
    return this.#planning.choose(model, goal)
  }

  /** A choice is in force; without one, a plan that was told. */
  adopted(choice: Choice | undefined): void {
    // It was a change by choice where the plan before could have gone on.
    const isChange = choice !== undefined && choice === this.#next && (this.#decision?.gain ?? 1) < 1
    if (choice === undefined) this.#planning.released()
    else this.#planning.adopted(choice, isChange)
    this.#next = undefined
  }

  /** Has the segments of a plan timed where they are, one after the other. Throws what `Survey.timeSegment` throws. */
  async timeStages(
    stages: readonly {
      readonly sealed: SealedSegment
      readonly runInputs: readonly Port[]
      readonly runOutputs: readonly Port[]
    }[],
  ): Promise<void> {
    for (const { sealed, ...ports } of stages) {
      const { computeNs, peakBytes } = await this.survey.timeSegment(sealed, ports)
      this.#planning.timed(sealed.device, computeNs / 1000, 'order', peakBytes)
    }
  }

  /** Looks whether another plan is worth changing over to; `undefined` where no plan was chosen. Changes nothing. */
  async reconsider(): Promise<Decision | undefined> {
    const looked = await this.#planning.reconsider()
    if (looked === undefined) return undefined
    const { decision, choice } = looked
    if (decision.because !== this.#decision?.because) {
      this.#options.log('plan reconsidered', { outcome: decision.do, because: decision.because })
    }
    this.#decision = decision
    this.#next = choice
    this.#options.onChange()
    return decision
  }

  close(): void {
    this.#cancelReconsidering()
    this.survey.close()
  }
}

/** A hub that measures nothing was asked for what needs measuring. */
export function notLive(): Refusal {
  return new Refusal('cannot-plan', 'this hub has nothing measured, so it cannot plan for an objective: give stages')
}
