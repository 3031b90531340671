/** A plan in words and tables: what it predicts, what holds it back, and how good it is. */

import { bottleneckOf, type Bottleneck } from '#broker/planner/bottleneck.js'
import { unboundedGap } from '#broker/planner/plan-draft.js'
import type { PlanBody } from '#broker/planner/plan-document.js'
import { bar, showBytes, table } from '../cli/model-table.js'
import { showPercent, showRate, showTime } from './figures.js'
import { drawPlan } from './picture.js'

/** The whole report on a plan, and what only its maker knows: further facts, in two columns. */
export function describePlan(plan: PlanBody, more: readonly string[][] = []): string {
  const { periodUs, latencyUs } = plan.predicted
  const facts = [
    ['throughput', `${showRate(periodUs)}, a result every ${showTime(periodUs)} at full load`],
    ['latency', `${showTime(latencyUs)} for one request alone`],
    ...(plan.objective.kind === 'batch'
      ? [
          [
            'batch',
            `${showTime(latencyUs + (plan.objective.requests - 1) * periodUs)} for ${plan.objective.requests} requests at once`,
          ],
        ]
      : []),
    ['bottleneck', bottleneckWords(bottleneckOf(plan))],
    ['certificate', certificateWords(plan)],
    ...more,
  ]
  return `${stageTable(plan)}\n${legend}\n${drawPlan(plan).join('\n')}\n\n${table(facts)}`
}

const legend =
  ' Share of the time that each is busy at full load. Devices: to compute + to open and seal. Links: busy + latency.\n'

function stageTable(plan: PlanBody): string {
  const head = [
    'stage',
    'device',
    'nodes',
    'compute',
    'open, seal',
    'busy',
    'memory',
    'of',
    '',
    'receives',
    'sends',
    'spare',
  ]
  const { periodUs } = plan.predicted
  const rows = plan.stages.flatMap(({ kind, members, nodes, spare }, stage) => {
    const turns = kind === 'replicas' ? members.length : 1
    // Replicas are alike: one row says it for all.
    return members.slice(0, kind === 'replicas' ? 1 : members.length).map((member, which) => {
      const { device, computeUs, openUs, sealUs, memoryBytes, memoryLimitBytes } = member
      const part = kind === 'parts' ? which : 0
      const bytes = (side: 'from' | 'to'): number =>
        plan.links
          .filter(({ [side]: end }) => end !== 'client' && end.stage === stage && end.part === part)
          .reduce((sum, link) => sum + link.bytes, 0)
      return [
        which === 0 ? String(stage) : '',
        turns === 1 ? device : `${device} … ${members.at(-1)!.device} (${turns})`,
        String(nodes.length),
        showTime(computeUs),
        showTime(openUs + sealUs),
        showPercent((computeUs + openUs + sealUs) / turns / Math.max(periodUs, 1e-9)),
        showBytes(memoryBytes),
        showBytes(memoryLimitBytes),
        bar(memoryBytes / memoryLimitBytes, 8),
        showBytes(bytes('to')),
        showBytes(bytes('from')),
        spare === undefined || which > 0 ? '' : `${spare.device} (${showRate(spare.periodUs)})`,
      ]
    })
  })
  const hasSpare = plan.stages.some(({ spare }) => spare !== undefined)
  const shown = [head, ...rows].map((row) => (hasSpare ? row : row.slice(0, -1)))
  return table(shown, [0, 2, 3, 4, 5, 6, 7, 9, 10])
}

/** The bottleneck in one sentence. */
export function bottleneckWords(bottleneck: Bottleneck): string {
  switch (bottleneck.kind) {
    case 'device': {
      const { devices, stage, computeUs, crossingUs, nextShare } = bottleneck
      const who = devices.length === 1 ? devices[0]! : `the ${devices.length} devices in turn`
      const share = showPercent(crossingUs / Math.max(computeUs + crossingUs, 1e-9))
      return `${who} with stage ${stage}: always busy, ${share} of it with opening and sealing; the next busiest ${showPercent(nextShare)} of the time`
    }
    case 'link': {
      const { from, to, bytes, busyUs, nextShare } = bottleneck
      return `the link ${from} → ${to}: ${showBytes(bytes)} keep it busy for ${showTime(busyUs)}; the next busiest is so ${showPercent(nextShare)} of the time`
    }
    case 'path': {
      const { steps, latencyUs } = bottleneck
      const sum = (kind: 'compute' | 'link'): number =>
        steps.filter((step) => step.kind === kind).reduce((total, { us }) => total + us, 0)
      const longest = steps.reduce((a, b) => (b.us > a.us ? b : a))
      const what = longest.kind === 'compute' ? `the work on ${longest.where}` : `the link ${longest.where}`
      return `${what}: ${showTime(longest.us)} of the ${showTime(latencyUs)}; in all ${showTime(sum('compute'))} on devices, ${showTime(sum('link'))} on links`
    }
    case 'memory': {
      const { device, memoryBytes, memoryLimitBytes, weightBytes } = bottleneck
      return `the memory of ${device}: ${showBytes(memoryBytes)} of ${showBytes(memoryLimitBytes)}, ${showBytes(weightBytes)} of it weights`
    }
  }
}

/** The certificate in one sentence. */
export function certificateWords({ certificate, options, objective }: PlanBody): string {
  const { gap, proof, remark } = certificate
  const space = `${options.shape === 'chain' ? 'chain' : 'graph'} of stages on this fleet`
  if (gap === 0) return `no ${space} is better: proven (${proof})`
  if (gap >= unboundedGap) return `how much better another ${space} could be is not known (${proof})`
  const better = betterThan(objective.kind === 'throughput', gap)
  const words = `whether another ${space} is better is not known, but none is ${better} (${proof})`
  return remark === undefined ? words : `${words}; ${remark}`
}

/** The gap as a comparison: of rates for `throughput`, else of times or memory. */
function betterThan(isRate: boolean, gap: number): string {
  if (!isRate) return `better by more than ${showPercent(gap / (1 + gap))}`
  return gap < 1
    ? `faster by more than ${showPercent(gap)}`
    : `more than ${1 + gap < 9.5 ? (1 + gap).toFixed(1) : Math.round(1 + gap)} times as fast`
}
