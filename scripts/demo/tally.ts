/** What the demo has seen so far: counts, latencies, rates. Pure: time comes in as an argument. */

import type { Hop } from '#shared/protocol/tensors.js'

/** Latencies and hop times are kept for so many of the last requests. */
const kept = 4096
/** Throughput is shown over the last so many seconds, one bar each. */
const seconds = 32

export interface Outcome {
  /** Equal to the unsplit model's result on its own input, bit for bit. */
  readonly isExact: boolean
  /** The right class; where there are no labels, the same as `isExact`. */
  readonly isCorrect: boolean
  readonly latencyMs: number
  readonly hops: readonly Hop[]
}

export class Tally {
  sent = 0
  results = 0
  correct = 0
  exact = 0
  failed = 0
  /** Requests answered more than once to the caller. */
  duplicated = 0
  readonly #startMs: number
  #endMs: number
  readonly #latencies: number[] = []
  readonly #hops: number[][] = []
  readonly #perSecond = new Map<number, number>()

  constructor(nowMs: number) {
    this.#startMs = nowMs
    this.#endMs = nowMs
  }

  add({ isExact, isCorrect, latencyMs, hops }: Outcome, nowMs: number): void {
    this.results++
    if (isExact) this.exact++
    if (isCorrect) this.correct++
    this.#endMs = nowMs
    push(this.#latencies, latencyMs)
    for (const { stage, computeUs } of hops) push((this.#hops[stage] ??= []), computeUs / 1000)
    const second = Math.floor((nowMs - this.#startMs) / 1000)
    this.#perSecond.set(second, (this.#perSecond.get(second) ?? 0) + 1)
    for (const old of this.#perSecond.keys()) {
      if (old >= second - seconds) break
      this.#perSecond.delete(old)
    }
  }

  get lost(): number {
    return this.sent - this.results - this.failed
  }

  /** Results per second from the start to the last result. */
  get throughput(): number {
    return this.#endMs === this.#startMs ? 0 : (this.results * 1000) / (this.#endMs - this.#startMs)
  }

  get latencyMs(): { p50: number; p99: number } {
    return { p50: percentile(this.#latencies, 0.5), p99: percentile(this.#latencies, 0.99) }
  }

  /** Median time that each stage computes, in milliseconds. */
  get hopMs(): number[] {
    return this.#hops.map((times) => percentile(times, 0.5))
  }

  /** Results in each of the last seconds, the running one left out. */
  rates(nowMs: number): number[] {
    const now = Math.floor((nowMs - this.#startMs) / 1000)
    const first = Math.max(0, now - seconds)
    return Array.from({ length: now - first }, (_, i) => this.#perSecond.get(first + i) ?? 0)
  }
}

function push(values: number[], value: number): void {
  values.push(value)
  if (values.length > kept) values.shift()
}

/** The value below which a share of the values lies; 0 for none. */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) return 0
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!
}
