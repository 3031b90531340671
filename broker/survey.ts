/**
 * Has the fleet measured: every device when it joins and when what is known of it is old or wrong, every link between two
 * devices, segments as they are asked for. One measurement at a time, and none while requests flow.
 */

import { toHex } from '#shared/bytes.js'
import { every, type Cancel, type Clock } from '#shared/clock.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import type { Log } from '#shared/log.js'
import type { Port } from '#shared/onnx/tensor.js'
import type { KernelTimes } from '#shared/onnx/workload.js'
import type { StageTelemetry } from '#shared/protocol/messages.js'
import type { Measure, Measured, MeasuredResult } from '#shared/protocol/measuring.js'
import type { Briefing } from './briefing.js'
import type { Bus } from './bus/bus.js'
import type { ProfileStore } from './fleet/profiles.js'
import type { Registry } from './fleet/registry.js'
import type { Delivery, SealedSegment } from './models/delivery.js'
import { tolerance } from './planner/drift.js'
import {
  slowdown,
  staleDevices,
  stalePairs,
  usualLinkUs,
  withDevice,
  withLink,
  type Profiles,
} from './planner/profile.js'
import type { Change } from './planner/replan.js'

/** How often what is known is looked through for what is stale. */
const lookEveryMs = 30_000
/** A device answers an order within so long; a segment has to get there first. */
const answerWithinMs = 30_000
const segmentWithinMs = 180_000
/** After the last sign of requests, so long nothing is measured; telemetry comes every second. */
const quietMs = 3000
const lookAgainMs = 1000
/** What could not be measured is tried again after so long. */
const tryAgainAfterMs = 10 * 60_000
const busyAttempts = 5
/** All pairs of so many devices are probed; the links of more are taken to be as their others are. */
export const maxProbedDevices = 32

export interface SurveyOptions {
  readonly clock: Clock
  readonly term: number
  readonly bus: Bus
  readonly registry: Registry
  readonly briefing: Briefing
  readonly delivery: Delivery
  readonly store: ProfileStore<Profiles>
  /** The hub's own speed at the known work, measured as node times are: the least of several. */
  readonly timeHub: () => Promise<KernelTimes>
  /** Something became known. */
  readonly onChange: () => void
  /** What was measured is not what it was before. */
  readonly onFigure: (change: Change) => void
  readonly log: Log
}

interface Job {
  readonly name: string
  readonly run: () => Promise<void>
  /** Somebody waits for the outcome: it does not wait for quiet, and hears why it failed. */
  readonly failed?: (reason: Refusal) => void
}

/** Later it may work. */
class Busy extends Refusal {
  constructor(message: string) {
    super('not-allowed', message)
  }
}

type Result<K extends MeasuredResult['kind']> = Extract<MeasuredResult, { kind: K }>

/** Orders of one term: a hub that restarts counts on above all it has given. */
const ordersPerTerm = 2 ** 16

export class Survey {
  readonly #options: SurveyOptions
  readonly #pending = new Map<
    number,
    { device: DeviceId; resolve: (result: MeasuredResult) => void; reject: (reason: Refusal) => void }
  >()
  readonly #cancelLooking: Cancel
  readonly #failedAtMs = new Map<string, number>()
  readonly #frames = new Map<DeviceId, number>()
  readonly #jobs: Job[] = []
  #current: string | undefined
  #wake: () => void = () => {}
  #flowedAtMs = -Infinity
  #orders = 0
  /** By this process: the figures of an earlier one may be another machine's. */
  #isHubMeasured = false
  #isClosed = false

  constructor(options: SurveyOptions) {
    this.#options = options
    this.#cancelLooking = every(options.clock, lookEveryMs, () => this.look())
  }

  /** Whether nothing is being measured, or waits to be. */
  get isDone(): boolean {
    return this.#current === undefined && this.#jobs.length === 0
  }

  /** Puts what is stale in the queue. */
  look(): void {
    const { registry, store, clock } = this.#options
    const here = registry.available()
    const boots = here.map(({ id, bootId }) => ({ device: id, boot: toHex(bootId) }))
    const nowMs = clock.nowMs()
    if (here.length > 0 && !this.#isHubMeasured) this.#add({ name: 'hub', run: () => this.#measureHub() })
    for (const id of staleDevices(store.value, boots, nowMs)) {
      this.#add({ name: `device ${id}`, run: () => this.#measureDevice(id) })
    }
    const probed = here.slice(0, maxProbedDevices).map(({ id }) => id)
    for (const [a, b] of stalePairs(store.value, probed, nowMs)) {
      this.#add({ name: `link ${a} ${b}`, run: () => this.#measureLink(a, b) })
    }
  }

  /** A device's report. */
  reported(from: DeviceId, { order, result }: Measured): void {
    const asked = this.#pending.get(order)
    if (asked?.device === from) asked.resolve(result)
  }

  /** A device has gone, or another process has come in its place: what was asked of it will not be answered. */
  lost(id: DeviceId): void {
    for (const { device, reject } of this.#pending.values()) {
      if (device === id) reject(new Refusal('device-lost', `device ${id} left before it had measured`))
    }
  }

  /** Takes note of requests that flow. */
  told(id: DeviceId, { frames, queued }: StageTelemetry): void {
    if (queued > 0 || frames > (this.#frames.get(id) ?? 0)) this.#flowedAtMs = this.#options.clock.monotonicMs()
    this.#frames.set(id, frames)
  }

  get isFlowing(): boolean {
    return this.#options.clock.monotonicMs() - this.#flowedAtMs < quietMs
  }

  /**
   * Has a segment timed on the device that it is sealed for, to which it is delivered as any is. Throws `Refusal`: what the
   * device says, `device-lost`, `timed-out`.
   */
  async timeSegment(
    segment: SealedSegment,
    ports: { readonly runInputs: readonly Port[]; readonly runOutputs: readonly Port[] },
  ): Promise<Result<'segment'>> {
    const { delivery, briefing } = this.#options
    delivery.lend(segment)
    try {
      return await new Promise((resolve, reject) => {
        const run = async (): Promise<void> => {
          await briefing.tellSegmentKey(segment)
          const what = {
            kind: 'segment' as const,
            segment: segment.file,
            runInputs: mutable(ports.runInputs),
            runOutputs: mutable(ports.runOutputs),
          }
          resolve(await this.#ask(segment.device, what, 'segment', segmentWithinMs))
        }
        this.#jobs.unshift({ name: `segment ${toHex(segment.file.fileHash)}`, run, failed: reject })
        this.#work()
      })
    } finally {
      delivery.takeBack(segment)
    }
  }

  close(): void {
    this.#isClosed = true
    this.#cancelLooking()
    const closed = closedRefusal()
    for (const { failed } of this.#jobs.splice(0)) failed?.(closed)
    for (const { reject } of this.#pending.values()) reject(closed)
    this.#wake()
  }

  #add(job: Job): void {
    const isKnown = this.#current === job.name || this.#jobs.some(({ name }) => name === job.name)
    const failedMs = this.#failedAtMs.get(job.name)
    const isTooSoon = failedMs !== undefined && this.#options.clock.monotonicMs() - failedMs < tryAgainAfterMs
    if (isKnown || isTooSoon || this.#isClosed) return
    this.#jobs.push(job)
    this.#work()
  }

  #work(): void {
    if (this.#current !== undefined) return
    const job = this.#jobs.shift()
    if (job === undefined || this.#isClosed) return
    this.#current = job.name
    void this.#do(job).finally(() => {
      this.#current = undefined
      this.#options.onChange()
      this.#work()
    })
  }

  async #do({ name, run, failed }: Job): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      while (failed === undefined && this.isFlowing && !this.#isClosed) await this.#pause()
      if (this.#isClosed) return failed?.(closedRefusal())
      try {
        await run()
        this.#failedAtMs.delete(name)
        return
      } catch (error) {
        // The hub has closed meanwhile: sessions and keys that a job counts on are gone.
        if (this.#isClosed) return failed?.(closedRefusal())
        if (!(error instanceof Refusal)) throw error
        if (!(error instanceof Busy) || attempt >= busyAttempts) {
          // Who was busy or has left is measured at the next look.
          const isPassing = error instanceof Busy || error.code === 'device-lost'
          if (!isPassing) this.#failedAtMs.set(name, this.#options.clock.monotonicMs())
          this.#options.log('not measured', { what: name, reason: error.message })
          return failed?.(error)
        }
        await this.#pause()
      }
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(lookAgainMs, resolve)
      this.#wake = () => {
        cancel()
        resolve()
      }
    })
  }

  async #measureHub(): Promise<void> {
    const { store, timeHub, clock } = this.#options
    const kernels = await timeHub()
    this.#isHubMeasured = true
    store.set({ ...store.value, hub: { kernels, atMs: clock.nowMs() } })
  }

  async #measureDevice(id: DeviceId): Promise<void> {
    const { store, registry, clock, log } = this.#options
    const { birth, bootId } = registry.get(id)!
    const { kernels, stageNs, seal, open, memoryBytes, sessionBytes } = await this.#ask(
      id,
      { kind: 'device' },
      'device',
      answerWithinMs,
    )
    const profile = {
      device: id,
      name: birth.name,
      boot: toHex(bootId),
      kernels: {
        conv: kernels.convNs / 1000,
        matmul: kernels.matmulNs / 1000,
        element: kernels.elementNs / 1000,
      },
      stageUs: stageNs / 1000,
      seal: { messageUs: seal.messageNs / 1000, byteUs: seal.bytePs / 1e6 },
      open: { messageUs: open.messageNs / 1000, byteUs: open.bytePs / 1e6 },
      memoryBytes,
      sessionBytes,
      atMs: clock.nowMs(),
    }
    const before = store.value.devices.find(({ device }) => device === id)
    store.set(withDevice(store.value, profile))
    if (before !== undefined) this.#compare(slowdown(before, profile), { kind: 'speed', device: id })
    log('device measured', { device: id, name: birth.name, kernels: profile.kernels })
  }

  /** Both directions, one after the other. */
  async #measureLink(a: DeviceId, b: DeviceId): Promise<void> {
    const { briefing, clock, store, log } = this.#options
    await briefing.introduce(a, b)
    try {
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const) {
        await this.#order(to, { kind: 'link', peer: from, part: 'answer' })
        const { link, messageNs, bytePs, roundTripNs } = await this.#ask(
          from,
          { kind: 'link', peer: to, part: 'ask' },
          'link',
          answerWithinMs,
        )
        if (this.isFlowing) throw new Busy(`requests began to flow while the link from ${from} to ${to} was measured`)
        const cost = { messageUs: messageNs / 1000, byteUs: bytePs / 1e6, roundTripUs: roundTripNs / 1000 }
        const before = store.value.links.find((other) => other.from === from && other.to === to)
        store.set(withLink(store.value, { from, to, kind: link, ...cost, atMs: clock.nowMs() }))
        if (before !== undefined) this.#compare(usualLinkUs(cost) / usualLinkUs(before), { kind: 'link', from, to })
        log('link measured', { from, to, link, ...cost })
      }
    } finally {
      for (const id of [a, b]) await this.#order(id, { kind: 'none' })
      briefing.part()
    }
  }

  #compare(
    factor: number,
    of:
      | { readonly kind: 'speed'; readonly device: DeviceId }
      | { readonly kind: 'link'; readonly from: DeviceId; readonly to: DeviceId },
  ): void {
    if (Math.abs(factor - 1) > tolerance) this.#options.onFigure({ ...of, factor })
  }

  async #ask<K extends MeasuredResult['kind']>(
    device: DeviceId,
    what: Measure['what'],
    kind: K,
    withinMs: number,
  ): Promise<Result<K>> {
    const { clock, registry } = this.#options
    if (registry.get(device)?.state !== 'online') throw new Refusal('device-lost', `device ${device} is not online`)
    const order = this.#next()
    let cancel: Cancel = () => {}
    try {
      const result = await new Promise<MeasuredResult>((resolve, reject) => {
        this.#pending.set(order, { device, resolve, reject })
        cancel = clock.after(withinMs, () =>
          reject(new Refusal('timed-out', `device ${device} has not measured within ${withinMs / 1000} s`)),
        )
        this.#options.bus.publish('measure', [device], { order, what }).catch(reject)
      })
      if (result.kind === kind) return result as Result<K>
      const why = result.kind === 'refused' ? result.message : `it answered with '${result.kind}'`
      if (result.kind === 'refused' && result.isBusy) throw new Busy(`device ${device} is busy: ${why}`)
      throw new Refusal('not-allowed', `device ${device} did not measure: ${why}`)
    } finally {
      cancel()
      this.#pending.delete(order)
    }
  }

  /** An order that is not answered. */
  #order(device: DeviceId, what: Measure['what']): Promise<void> {
    return this.#options.bus.publish('measure', [device], { order: this.#next(), what })
  }

  #next(): number {
    return this.#options.term * ordersPerTerm + ++this.#orders
  }
}

const mutable = (ports: readonly Port[]) => ports.map((port) => ({ ...port, shape: [...port.shape] }))

function closedRefusal(): Refusal {
  return new Refusal('cancelled', 'the hub was closed before this was measured')
}
