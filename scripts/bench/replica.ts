/** Entry of a process that runs a model, whole or a part, on one thread and nothing else. */

import { loadEngine, type EngineSession, type Feeds } from '#shared/onnx/session.js'
import type { Tensor } from '#shared/onnx/tensor.js'
import { rate } from './contestant.js'
import { serve, type Handlers } from './processes.js'
import { percentile } from './statistics.js'

export interface ReplicaRun {
  readonly requests: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const sessions = new Map<string, EngineSession>()

const handlers = {
  /** Loads a model, already optimised, under a name. */
  async load({ name, model }: { name: string; model: Uint8Array }): Promise<void> {
    sessions.set(name, await (await loadEngine()).create(model, { level: 'disabled' }))
  },
  infer: ({ name, inputs }: { name: string; inputs: Feeds }): Promise<Record<string, Tensor>> =>
    sessions.get(name)!.run(inputs),
  /** Runs one request after the other for so long. */
  async run({ name, inputs, forMs }: { name: string; inputs: readonly Feeds[]; forMs: number }): Promise<ReplicaRun> {
    const session = sessions.get(name)!
    const startMs = performance.now()
    const endTimes: number[] = []
    const latencies: number[] = []
    while (endTimes.length < 3 || performance.now() - startMs < forMs) {
      const sentMs = performance.now()
      await session.run(inputs[endTimes.length % inputs.length]!)
      const nowMs = performance.now()
      endTimes.push(nowMs)
      latencies.push(nowMs - sentMs)
    }
    return {
      requests: endTimes.length,
      perSecond: rate(endTimes, 1),
      p50Ms: percentile(latencies, 0.5),
      p99Ms: percentile(latencies, 0.99),
    }
  },
} satisfies Handlers
export type Replica = typeof handlers

serve(handlers)
