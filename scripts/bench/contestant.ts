/** Whatever is measured against something else: it takes inputs and gives results, at a pace that is to be found out. */

import type { Feeds } from '#shared/onnx/session.js'
import type { Tensor } from '#shared/onnx/tensor.js'
import { busyMs } from './machine.js'
import { percentile } from './statistics.js'

export interface Contestant {
  /** One request. */
  infer(inputs: Feeds): Promise<Readonly<Record<string, Tensor>>>
  /** CPU time of all its processes so far, in milliseconds. */
  cpuMs(): Promise<number>
  close(): Promise<void>
}

/** What one run at full load gave. */
export interface Run {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Of all processes of the contestant, per request. */
  readonly cpuMs: number
  /** Cores that others kept busy meanwhile. */
  readonly foreignCores: number
}

/** The first so much of a run warms up and counts for CPU time alone. */
const warmUpShare = 0.15

/** Keeps `window` requests under way for `forMs`, with `inputs` in turn. */
export async function drive(
  contestant: Contestant,
  inputs: readonly Feeds[],
  window: number,
  forMs: number,
): Promise<Run> {
  const watch = await watchCpu(() => contestant.cpuMs())
  const startMs = performance.now()
  const endTimes: number[] = []
  const latencies: number[] = []
  let requests = 0
  const serve = async (): Promise<void> => {
    while (performance.now() - startMs < forMs) {
      const sentMs = performance.now()
      await contestant.infer(inputs[requests++ % inputs.length]!)
      const nowMs = performance.now()
      if (nowMs - startMs < warmUpShare * forMs) continue
      endTimes.push(nowMs)
      latencies.push(nowMs - sentMs)
    }
  }
  await Promise.all(Array.from({ length: window }, serve))
  return {
    perSecond: rate(endTimes, window),
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    ...(await watch(requests)),
  }
}

/**
 * Requests per second from the times at which they ended. The last ones, which ended while no new ones were sent, do not
 * count: the pipeline was running empty.
 */
export function rate(endTimesMs: readonly number[], window: number): number {
  const full = endTimesMs.slice(0, Math.max(2, endTimesMs.length - window + 1))
  return ((full.length - 1) * 1000) / (full.at(-1)! - full[0]!)
}

/** Begins to count CPU time; call the result with the number of requests when the run is over. */
export async function watchCpu(
  cpuMs: () => Promise<number>,
): Promise<(requests: number) => Promise<{ cpuMs: number; foreignCores: number }>> {
  const before = { ownMs: await cpuMs(), busyMs: busyMs(), atMs: performance.now() }
  return async (requests) => {
    const ownMs = (await cpuMs()) - before.ownMs
    const foreignMs = busyMs() - before.busyMs - ownMs
    return { cpuMs: ownMs / requests, foreignCores: Math.max(0, foreignMs / (performance.now() - before.atMs)) }
  }
}
