/** What the demo has seen, as one object for programs (`--json`). */

import type { DeviceId } from '#shared/ids.js'
import { devicesIn } from '#broker/planner/plan.js'
import type { Granularity } from './layouts.js'
import type { DemoOptions } from './run.js'
import { boundaryBytes, waysOf, type RunningDemo } from './running.js'

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
  readonly granularity: Granularity
  readonly replicas: number
  /** Stages; of a layer in parts each part counts. */
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
  /** Bytes of the tensors on each edge between two stages. */
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

export function summaryOf(
  demo: RunningDemo,
  { workload, granularity, replicas }: Pick<DemoOptions, 'workload' | 'granularity' | 'replicas'>,
  interrupted: boolean,
): Summary {
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
    granularity,
    replicas,
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

/** The edges of the plan, with what its own end says of each. */
function linksOf({ deployment, client, running }: RunningDemo): Summary['links'] {
  const members = new Map(running.hub.members().map((member) => [member.id, member]))
  const devices = new Set(devicesIn(deployment.plan))
  return waysOf(deployment).map(({ from, to }) => {
    const links: Links = from === undefined ? client.links : members.get(from)?.telemetry?.links
    const link = links?.find(({ peer }) => (to === undefined ? !devices.has(peer) : peer === to))
    return { from: from ?? 'client', to: to ?? 'client', kind: link?.kind ?? 'none', bytes: link?.sentBytes ?? 0 }
  })
}

type Links = readonly { readonly peer: DeviceId; readonly kind: string; readonly sentBytes: number }[] | undefined
