/**
 * Obeys the hub's orders to measure, one at a time, and never while requests flow: what runs would disturb the measurement,
 * and the measurement what runs.
 */

import { availableMemory } from 'node:process'
import type { Cancel, Clock } from '#shared/clock.js'
import type { Aeads } from '#shared/crypto/aead.js'
import { openFile } from '#shared/crypto/stream.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { loadEngine } from '#shared/onnx/session.js'
import { timeKernels, usualEffort, type Effort } from '#shared/onnx/workload.js'
import type { BlobGet } from '#shared/protocol/messages.js'
import type { Measure, Measured, MeasuredResult } from '#shared/protocol/measuring.js'
import type { Random } from '#shared/random.js'
import type { Channel } from '#shared/session/channel.js'
import { sealingCost, type CrossingCost } from '#shared/session/sealing-cost.js'
import { Loader } from './loader.js'
import { probeLink } from './link/probe.js'
import type { SegmentKey } from './link/hub-session.js'
import { checkRoom } from './room.js'
import { openEngine, type EngineMode } from './runtime/engine.js'
import { timeSegment } from './runtime/timing.js'
import { callCost } from './runtime/call-cost.js'
import type { SegmentStore } from './vault/store.js'

/** Orders that wait for the one at work. */
const maxWaiting = 8
/** For a link to come up before it is measured; and for the direct one, where the relay is up first. */
const linkWithinMs = 10_000
const directWithinMs = 1500
const lookAgainMs = 50
/** A segment is here sealed, in clear and in the engine while it is opened. */
const copiesInMemory = 3
/** Who is to answer probes does so for as long, unless told otherwise. */
export const answerForMs = 60_000

export interface MeasuringOptions {
  readonly self: DeviceId
  readonly clock: Clock
  readonly random: Random
  readonly aeads: Aeads
  readonly store: SegmentStore
  readonly engine: EngineMode
  readonly effort?: Effort
  /** What a segment may take of memory, where that is limited. */
  readonly memoryBytes?: number | undefined
  /** Whether requests are under way here, or a stage is being loaded. */
  readonly isBusy: () => boolean
  readonly ask: (asked: BlobGet) => Promise<void>
  readonly report: (measured: Measured) => void
  /** Makes a device our peer for the time being, or the last such one nobody's any more; gives the channel to it. */
  readonly invite: (peer: DeviceId, isDialled: boolean) => Channel
  readonly dismiss: (peer: DeviceId) => void
}

type What = Measure['what']
type Segment = Extract<What, { kind: 'segment' }>

export class Measuring {
  readonly #options: MeasuringOptions
  #waiting: Measure[] = []
  #isWorking = false
  #isClosed = false
  #loader: Loader | undefined
  #keys: SegmentKey[] = []
  #last: Measured | undefined
  /** Our peer for the time being, and the channel to it. */
  #guest: { readonly peer: DeviceId; readonly channel: Channel } | undefined
  #cancelAnswer: Cancel = () => {}

  constructor(options: MeasuringOptions) {
    this.#options = options
  }

  /** A segment's key has not come. */
  get isWaitingForKey(): boolean {
    return this.#loader?.isWaitingForKey === true
  }

  /** The hub's word; the same order again is answered again. */
  order(order: Measure): void {
    if (this.#isClosed || this.#waiting.some((other) => other.order === order.order)) return
    if (this.#last?.order === order.order) return this.#options.report(this.#last)
    if (this.#waiting.length >= maxWaiting) {
      this.#tell(order.order, refused(new Refusal('over-limit', `${maxWaiting} orders to measure wait already`), true))
      return
    }
    this.#waiting.push(order)
    void this.#work()
  }

  keyCame(key: SegmentKey): void {
    this.#keys = [...this.#keys.slice(-maxWaiting), key]
    this.#loader?.keyCame(key)
  }

  blockCame(file: string, block: number, content: Uint8Array): void {
    this.#loader?.blockCame(file, block, content)
  }

  close(): void {
    this.#isClosed = true
    this.#waiting = []
    this.#loader?.cancel()
    this.#dismiss()
  }

  async #work(): Promise<void> {
    if (this.#isWorking) return
    this.#isWorking = true
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      try {
        const result = await this.#measure(next.what)
        if (result !== undefined) this.#tell(next.order, result)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        this.#tell(next.order, refused(error, this.#options.isBusy() || error.code === 'cancelled'))
      }
    }
    this.#isWorking = false
  }

  #tell(order: number, result: MeasuredResult): void {
    if (this.#isClosed) return
    this.#last = { order, result }
    this.#options.report(this.#last)
  }

  async #measure(what: What): Promise<MeasuredResult | undefined> {
    if (what.kind === 'none') {
      this.#dismiss()
      return undefined
    }
    if (what.kind === 'link' && what.part === 'answer') {
      this.#answer(what.peer)
      return undefined
    }
    if (this.#options.isBusy()) {
      throw new Refusal(
        'not-allowed',
        'requests are under way here, or a stage is being loaded: nothing is measured now',
      )
    }
    switch (what.kind) {
      case 'device':
        return this.#device()
      case 'segment':
        return this.#segment(what)
      case 'link':
        return this.#link(what.peer)
    }
  }

  async #device(): Promise<MeasuredResult> {
    const { aeads, random, effort = usualEffort } = this.#options
    const engine = await loadEngine()
    const { conv, matmul, element } = (await timeKernels(engine, effort)).usual
    const { callUs, sessionBytes } = await callCost(this.#options.engine, effort)
    const { seal, open } = sealingCost(aeads, random)
    return {
      kind: 'device',
      kernels: { convNs: nanoseconds(conv), matmulNs: nanoseconds(matmul), elementNs: nanoseconds(element) },
      stageNs: nanoseconds(callUs),
      seal: whole(seal),
      open: whole(open),
      memoryBytes: Math.min(availableMemory(), this.#options.memoryBytes ?? Infinity),
      sessionBytes,
    }
  }

  async #segment({ segment, runInputs, runOutputs }: Segment): Promise<MeasuredResult> {
    const { self, aeads, store, clock, ask, effort, memoryBytes } = this.#options
    checkRoom(segment, [...runInputs, ...runOutputs], memoryBytes)
    // A stage that runs already has its own copy of all this.
    if (copiesInMemory * segment.fileBytes > availableMemory()) {
      throw new Refusal(
        'over-limit',
        `segment '${segment.name}' has ${segment.fileBytes} bytes: too little memory is free to time it`,
      )
    }
    const loader = new Loader({ file: segment, store, clock, ask, onProgress: () => {} })
    this.#loader = loader
    for (const key of this.#keys) loader.keyCame(key)
    try {
      const sealed = await loader.load()
      if (sealed === undefined) throw new Refusal('cancelled', 'the device is closing')
      const before = process.memoryUsage.rss()
      const startMs = performance.now()
      const place = { model: segment.modelId, segment: segment.name, version: segment.version, device: self }
      const engine = await openEngine(openFile(sealed.bytes, sealed.key.dek, place, aeads), this.#options.engine)
      try {
        const loadNs = nanoseconds((performance.now() - startMs) * 1000)
        const loaded = process.memoryUsage.rss()
        const { computeUs, runs } = await timeSegment(engine, { runInputs, runOutputs }, effort)
        return {
          kind: 'segment',
          fileHash: segment.fileHash,
          computeNs: nanoseconds(computeUs),
          runs,
          loadNs,
          loadedBytes: Math.max(0, loaded - before),
          peakBytes: Math.max(0, process.memoryUsage.rss() - before, loaded - before),
        }
      } finally {
        await engine.close()
      }
    } finally {
      this.#loader = undefined
    }
  }

  async #link(peer: DeviceId): Promise<MeasuredResult> {
    const { clock, isBusy } = this.#options
    const channel = this.#invite(peer, true)
    const startMs = clock.monotonicMs()
    const isUp = (): boolean =>
      channel.link === 'direct' || (channel.link === 'relay' && clock.monotonicMs() - startMs >= directWithinMs)
    while (!isUp()) {
      if (this.#guest?.channel !== channel || clock.monotonicMs() - startMs >= linkWithinMs) {
        throw new Refusal('link-failed', `no link to ${peer} within ${linkWithinMs / 1000} s`)
      }
      await new Promise<void>((resolve) => clock.after(lookAgainMs, resolve))
    }
    const cost = await probeLink(channel, clock, () => this.#guest?.channel === channel && !isBusy())
    return { kind: 'link', peer, ...cost }
  }

  #answer(peer: DeviceId): void {
    const channel = this.#invite(peer, false)
    channel.prober = { answers: true, onEcho: () => {} }
    this.#cancelAnswer()
    this.#cancelAnswer = this.#options.clock.after(answerForMs, () => this.#dismiss())
  }

  #invite(peer: DeviceId, isDialled: boolean): Channel {
    if (this.#guest?.peer !== peer) this.#dismiss()
    const channel = this.#options.invite(peer, isDialled)
    this.#guest = { peer, channel }
    return channel
  }

  #dismiss(): void {
    this.#cancelAnswer()
    const guest = this.#guest
    this.#guest = undefined
    if (guest === undefined) return
    guest.channel.prober = undefined
    this.#options.dismiss(guest.peer)
  }
}

function refused({ code, message }: Refusal, isBusy: boolean): MeasuredResult {
  return { kind: 'refused', isBusy, code, message: message.slice(0, 512) }
}

function nanoseconds(us: number): number {
  return Math.round(us * 1000)
}

function whole({ messageUs, byteUs }: CrossingCost): { messageNs: number; bytePs: number } {
  return { messageNs: nanoseconds(messageUs), bytePs: Math.round(byteUs * 1e6) }
}
