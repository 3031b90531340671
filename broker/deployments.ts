/** Models on their way to the devices: cut by a layout, each segment sealed for those who hold it, and the plan of it. */

import { fromHex, toHex } from '#shared/bytes.js'
import type { Aeads } from '#shared/crypto/aead.js'
import { sha256 } from '#shared/crypto/hash.js'
import { Refusal } from '#shared/errors.js'
import type { Feeds, Level } from '#shared/onnx/session.js'
import { maxClients } from '#shared/protocol/messages.js'
import type { Random } from '#shared/random.js'
import type { Registry } from './fleet/registry.js'
import { cutModel, cutModelInWorker, type CutModel, type ModelFacts } from './models/catalogue.js'
import { sealSegment, type Delivery, type SealedSegment } from './models/delivery.js'
import { checkLayout, holdersOf, inARow, type Layout } from './planner/layout.js'
import { partition } from './planner/partition.js'
import { roomForClients, type Plan } from './planner/plan.js'
import type { Objective } from './planner/problem.js'

/**
 * Plans of one term: a hub that restarts counts on above all it has made. A member tells by the number which of two plans is
 * the later one. Below 2^48 in all.
 */
const plansPerTerm = 2 ** 14

export interface DeployRequest {
  /** The model's name, for people; part of the segments' names. At most 48 characters. */
  readonly name: string
  readonly model: Uint8Array
  /** Inputs that give the shape signature; needed for models with dynamic shapes. */
  readonly sample?: Feeds
  /** Where external data of the model may lie. */
  readonly folder?: string
  readonly level?: Level
  /** Into so many stages in a row, one for each of the first devices that are here. */
  readonly stages?: number
  /** In place of `stages`: the best plan for the devices that are here, by what was measured of them. */
  readonly objective?: Objective
  /** For an objective: devices that may hold one and the same stage, and take its requests in turn. 1 unless given. */
  readonly maxReplicas?: number
  /** Cuts before these nodes of the canonical order, `stages - 1` of them, in place of the planner's choice. */
  readonly at?: readonly number[]
  /** In place of `stages`: who does what, decided when the graph is known. */
  readonly layout?: (facts: ModelFacts) => Layout | Promise<Layout>
}

export interface Deployment {
  readonly plan: Plan
  readonly cut: CutModel
  /** Sizes of the sealed segment files, in order. */
  readonly segmentBytes: readonly number[]
}

export interface DeploymentsOptions {
  readonly term: number
  readonly random: Random
  readonly aeads: Aeads
  readonly registry: Registry
  readonly delivery: Delivery
  readonly maxClients?: number
  readonly cutsInline?: boolean
}

export class Deployments {
  readonly #options: DeploymentsOptions
  /** Of the last plan, by device and the segment's SHA-256. */
  #sealed = new Map<string, SealedSegment>()
  #plans = 0

  constructor(options: DeploymentsOptions) {
    this.#options = options
  }

  /**
   * Cuts a model for the devices that are here, seals the segments and offers them; `choose` decides where the request names
   * an objective. Throws `Refusal`: what the model refuses, `cannot-cut`, `device-lost` for too few devices, what `choose`
   * throws.
   */
  async make(
    request: DeployRequest,
    choose: (facts: ModelFacts, objective: Objective) => Promise<Layout>,
  ): Promise<Deployment> {
    const { term, delivery } = this.#options
    const { cut, layout } = await this.#cut(request, choose)
    const number = term * plansPerTerm + ++this.#plans
    const sealed = this.#seal(cut, layout, request.name, number)
    const plan: Plan = {
      plan: number,
      model: request.name,
      inputs: cut.inputs,
      outputs: cut.outputs,
      clients: [],
      stages: cut.stages.map(({ runInputs, runOutputs }, index) => ({
        runInputs,
        runOutputs,
        holders: sealed[index]!.map(({ device, file }) => ({ device, segment: file })),
      })),
      edges: cut.edges,
    }
    const clients = this.#clientsFor(plan)
    delivery.offer(sealed.flat())
    return { plan: { ...plan, clients }, cut, segmentBytes: sealed.map(([first]) => first!.bytes.length) }
  }

  async #cut(
    request: DeployRequest,
    choose: (facts: ModelFacts, objective: Objective) => Promise<Layout>,
  ): Promise<{ cut: CutModel; layout: Layout }> {
    const { registry, cutsInline } = this.#options
    const { model, sample, folder, level = 'all', stages = 1, at, objective } = request
    const online = registry.available().map(({ id }) => id)
    const isInARow = request.layout === undefined && objective === undefined
    if (isInARow && online.length < stages) {
      throw new Refusal(
        'device-lost',
        `${stages} devices are needed for ${stages} segments, ${online.length} are online: start more or ask for fewer`,
      )
    }
    const decide =
      request.layout ??
      ((facts: ModelFacts) =>
        objective === undefined ? inARow(facts, at ?? partition(facts, stages), online) : choose(facts, objective))
    let layout: Layout | undefined
    const cut = await (cutsInline === true ? cutModel : cutModelInWorker)(
      {
        model,
        level,
        timed: !isInARow || (at === undefined && stages > 1),
        ...(sample === undefined ? {} : { sample }),
        ...(folder === undefined ? {} : { folder }),
      },
      async (facts) => {
        layout = await decide(facts)
        checkLayout(layout, facts.hash, new Set(registry.available().map(({ id }) => id)))
        return layout
      },
    )
    return { cut, layout: layout! }
  }

  /** The sealed files of each stage, one for each device that holds it. The segments are wiped. */
  #seal(cut: CutModel, layout: Layout, name: string, version: number): SealedSegment[][] {
    const { random, aeads } = this.#options
    const modelId = fromHex(cut.hash).subarray(0, 16)
    const holders = holdersOf(layout, cut.stages)
    const kept = new Map<string, SealedSegment>()
    const sealed = cut.stages.map((segment, index) => {
      const of = { name: `${name}/seg-${index}`, version, modelId, plain: segment.model }
      const bytes = toHex(sha256(segment.model))
      const made = holders[index]!.map((device) => {
        // A device that keeps its nodes keeps its file: nothing is delivered.
        const which = `${device} ${bytes}`
        const file = this.#sealed.get(which) ?? sealSegment({ device, ...of }, random, aeads)
        kept.set(which, file)
        return file
      })
      segment.model.fill(0)
      return made
    })
    this.#sealed = kept
    return sealed
  }

  /** The clients that are here, as many as the plan has room for. */
  #clientsFor(plan: Plan): Plan['clients'] {
    const { registry, maxClients: limit = maxClients } = this.#options
    return registry
      .clients()
      .filter(({ state }) => state === 'online')
      .slice(0, Math.min(limit, roomForClients(plan)))
      .map(({ id, bootId }) => ({ device: id, run: bootId }))
  }
}
