/** What holds a plan back, from the plan itself: the busiest device or link, the way of one request, the fullest device. */

import type { PlanBody } from './plan-document.js'

export type End = PlanBody['links'][number]['from']

/** One step on the way of one request alone. */
export interface PathStep {
  readonly kind: 'compute' | 'link'
  /** The device, or the two ends of the link. */
  readonly where: string
  readonly us: number
}

export type Bottleneck =
  | {
      readonly kind: 'device'
      readonly stage: number
      readonly devices: readonly string[]
      readonly computeUs: number
      readonly crossingUs: number
      /** Share of the time that the next busiest device or link is busy. */
      readonly nextShare: number
    }
  | {
      readonly kind: 'link'
      readonly from: string
      readonly to: string
      readonly bytes: number
      readonly busyUs: number
      readonly nextShare: number
    }
  /** The way whose length is the latency, in order. */
  | { readonly kind: 'path'; readonly steps: readonly PathStep[]; readonly latencyUs: number }
  | {
      readonly kind: 'memory'
      readonly device: string
      readonly memoryBytes: number
      readonly memoryLimitBytes: number
      readonly weightBytes: number
    }

/** What is to be improved first for the plan's own objective. */
export function bottleneckOf(plan: PlanBody): Bottleneck {
  const { objective, predicted } = plan
  switch (objective.kind) {
    case 'throughput':
      return busiestOf(plan)
    case 'latency':
      return longestWay(plan)
    case 'batch':
      return (objective.requests - 1) * predicted.periodUs > predicted.latencyUs ? busiestOf(plan) : longestWay(plan)
    case 'memory':
      return fullestOf(plan)
  }
}

/** Who is at an end of a link, for people: a device, or the first of the replicas and how many there are. */
export function nameOfEnd({ stages }: PlanBody, end: End): string {
  if (end === 'client') return 'client'
  const { kind, members } = stages[end.stage]!
  const { device } = members[kind === 'parts' ? end.part : 0]!
  return kind === 'replicas' ? `${device} (of ${members.length})` : device
}

function busiestOf(plan: PlanBody): Bottleneck {
  const busy: { us: number; found: (nextShare: number) => Bottleneck }[] = []
  for (const [stage, { kind, members }] of plan.stages.entries()) {
    const turns = kind === 'replicas' ? members.length : 1
    for (const { device, computeUs, openUs, sealUs } of members) {
      const devices = kind === 'replicas' ? members.map((member) => member.device) : [device]
      busy.push({
        us: (computeUs + openUs + sealUs) / turns,
        found: (nextShare) => ({ kind: 'device', stage, devices, computeUs, crossingUs: openUs + sealUs, nextShare }),
      })
      if (kind === 'replicas') break // they are alike
    }
  }
  for (const { from, to, bytes, busyUs, turns } of plan.links) {
    const ends = { from: nameOfEnd(plan, from), to: nameOfEnd(plan, to) }
    busy.push({ us: busyUs / turns, found: (nextShare) => ({ kind: 'link', ...ends, bytes, busyUs, nextShare }) })
  }
  busy.sort((a, b) => b.us - a.us)
  const [first, second] = busy
  return first!.found(second === undefined || first!.us === 0 ? 0 : second.us / first!.us)
}

function longestWay(plan: PlanBody): Bottleneck {
  const known = new Map<string, { us: number; steps: PathStep[] }>()
  const doneAt = (end: End): { us: number; steps: PathStep[] } => {
    if (end === 'client') return { us: 0, steps: [] }
    const name = `${end.stage} ${end.part}`
    const before = known.get(name)
    if (before !== undefined) return before
    const { device, computeUs, openUs, sealUs } = plan.stages[end.stage]!.members[end.part]!
    const start = comeTo(end)
    const own = computeUs + openUs + sealUs
    const done = { us: start.us + own, steps: [...start.steps, { kind: 'compute' as const, where: device, us: own }] }
    known.set(name, done)
    return done
  }
  /** When all has come that goes to an end, and the way of what comes last. */
  const comeTo = (end: End): { us: number; steps: PathStep[] } => {
    let last: { us: number; steps: PathStep[] } = { us: 0, steps: [] }
    for (const { from, to, busyUs, latencyUs } of plan.links) {
      if (!isSameEnd(to, end)) continue
      const sent = doneAt(from)
      const us = sent.us + busyUs + latencyUs
      if (us <= last.us) continue
      const where = `${nameOfEnd(plan, from)} → ${nameOfEnd(plan, to)}`
      last = { us, steps: [...sent.steps, { kind: 'link', where, us: busyUs + latencyUs }] }
    }
    return last
  }
  const way = comeTo('client')
  return { kind: 'path', steps: way.steps, latencyUs: way.us }
}

function fullestOf({ stages }: PlanBody): Bottleneck {
  const members = stages.flatMap((stage) => stage.members)
  const fullest = members.reduce((a, b) =>
    b.memoryBytes / b.memoryLimitBytes > a.memoryBytes / a.memoryLimitBytes ? b : a,
  )
  const { device, memoryBytes, memoryLimitBytes, weightBytes } = fullest
  return { kind: 'memory', device, memoryBytes, memoryLimitBytes, weightBytes }
}

function isSameEnd(a: End, b: End): boolean {
  if (a === 'client' || b === 'client') return a === b
  return a.stage === b.stage && a.part === b.part
}
