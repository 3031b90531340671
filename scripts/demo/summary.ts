/** What the demo has seen, as one object for programs (`--json`). */

import type { DeviceId } from '#shared/ids.js'
import { boundaryBytes, type RunningDemo } from './running.js'
import type { Workload } from './workload.js'

export interface Summary {
  readonly model: string
  readonly requests: number
  readonly results: number
  readonly correct: number
  /** Share of correct results: of the right class where there are labels, else equal to the unsplit model's. */
  readonly accuracy: number
  readonly bitExact: boolean
  readonly devices: number
  readonly pids: readonly number[]
  readonly stages: number
  readonly epoch: number
  readonly segmentBytes: readonly number[]
  /** Every edge of the plan with the sealed bytes that went over it; `client` at the ends. */
  readonly links: readonly {
    readonly from: string
    readonly to: string
    readonly kind: string
    readonly bytes: number
  }[]
  /** Bytes of the tensors at each cut. */
  readonly boundaryBytes: readonly number[]
  readonly throughputPerSecond: number
  readonly latencyMs: { readonly p50: number; readonly p99: number }
  /** Median time that each stage computes. */
  readonly hopMs: readonly number[]
  readonly lost: number
  /** Requests answered more than once to the caller. */
  readonly duplicated: number
  /** Ended by hand before all requests were sent. */
  readonly interrupted: boolean
}

export function summaryOf(demo: RunningDemo, workload: Workload, interrupted: boolean): Summary {
  const { tally, deployment, processes, running } = demo
  return {
    model: workload.name,
    requests: tally.sent,
    results: tally.results,
    correct: tally.correct,
    accuracy: tally.results === 0 ? 0 : tally.correct / tally.results,
    bitExact: tally.results > 0 && tally.exact === tally.results,
    devices: processes.length,
    pids: processes.map(({ pid }) => pid),
    stages: deployment.plan.stages.length,
    epoch: running.hub.epoch,
    segmentBytes: deployment.segmentBytes,
    links: linksOf(demo),
    boundaryBytes: boundaryBytes(deployment),
    throughputPerSecond: tally.throughput,
    latencyMs: tally.latencyMs,
    hopMs: tally.hopMs,
    lost: interrupted ? 0 : tally.lost,
    duplicated: tally.duplicated,
    interrupted,
  }
}

/** The edges of the chain, from the client through every stage and back. */
function linksOf({ deployment, client, running }: RunningDemo): Summary['links'] {
  const stages = deployment.plan.stages.map(({ device }) => device)
  const own = client.links.find(({ peer }) => peer === stages[0])
  const first = { from: 'client', to: stages[0]!, kind: own?.kind ?? 'none', bytes: own?.sentBytes ?? 0 }
  const rest = stages.map((from, i) => {
    const to = stages[i + 1]
    const link = sentBy(running.hub.members().find(({ id }) => id === from)?.telemetry?.links, to, stages)
    return { from, to: to ?? 'client', kind: link?.kind ?? 'none', bytes: link?.sentBytes ?? 0 }
  })
  return [first, ...rest]
}

type Links = readonly { readonly peer: DeviceId; readonly kind: string; readonly sentBytes: number }[] | undefined

/** The link of a stage to the next one; to the client after the last. */
function sentBy(links: Links, to: DeviceId | undefined, stages: readonly DeviceId[]) {
  return links?.find(({ peer }) => (to === undefined ? !stages.includes(peer) : peer === to))
}
