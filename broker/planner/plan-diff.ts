/** What changes from one plan to another: which device gets and loses what, and what becomes of the figures. */

import type { PlanDocument } from './plan-document.js'

export interface DeviceDiff {
  readonly device: string
  /** The stage before and after; `undefined` where it has none. */
  readonly before: number | undefined
  readonly after: number | undefined
  /** Nodes that it gets and loses. Of a stage in parts all, where its channels change. */
  readonly gains: readonly string[]
  readonly loses: readonly string[]
  /** Weights to be delivered to it: all of its new segment, unless that is the old one. */
  readonly deliverBytes: number
}

export interface PlanDiff {
  readonly sameModel: boolean
  /** Settings that differ, as `bits 32 → 16`. */
  readonly settings: readonly string[]
  /** Devices whose work changes, by name. */
  readonly devices: readonly DeviceDiff[]
  readonly unchanged: readonly string[]
  readonly figures: readonly {
    readonly name: 'periodUs' | 'latencyUs' | 'memoryShare' | 'gap'
    readonly before: number
    readonly after: number
  }[]
}

interface Work {
  readonly stage: number
  readonly nodes: readonly string[]
  readonly channels: string
  readonly weightBytes: number
}

export function diffPlans(before: PlanDocument, after: PlanDocument): PlanDiff {
  const old = workByDevice(before)
  const now = workByDevice(after)
  const sameModel = before.model.hash === after.model.hash
  const devices: DeviceDiff[] = []
  const unchanged: string[] = []
  for (const device of [...new Set([...old.keys(), ...now.keys()])].sort()) {
    const was = old.get(device)
    const is = now.get(device)
    const sameChannels = was?.channels === is?.channels
    const gains = without(is, sameChannels ? was : undefined)
    const loses = without(was, sameChannels ? is : undefined)
    if (sameModel && gains.length === 0 && loses.length === 0) {
      unchanged.push(device)
      continue
    }
    const deliverBytes = is?.weightBytes ?? 0
    devices.push({ device, before: was?.stage, after: is?.stage, gains, loses, deliverBytes })
  }
  return { sameModel, settings: settingsOf(before, after), devices, unchanged, figures: figuresOf(before, after) }
}

function workByDevice({ stages }: PlanDocument): Map<string, Work> {
  return new Map(
    stages.flatMap(({ nodes, members }, stage) =>
      members.map(({ device, channels, weightBytes }) => [
        device,
        { stage, nodes, channels: channels?.join('-') ?? '', weightBytes },
      ]),
    ),
  )
}

function without(one: Work | undefined, other: Work | undefined): string[] {
  const known = new Set(other?.nodes)
  return (one?.nodes ?? []).filter((node) => !known.has(node))
}

function settingsOf(before: PlanDocument, after: PlanDocument): string[] {
  const flat = ({ model, objective, options }: PlanDocument): Record<string, string | number> => ({
    model: model.name,
    hash: model.hash.slice(0, 16),
    ...objective,
    ...options,
  })
  const [a, b] = [flat(before), flat(after)]
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((name) =>
    a[name] === b[name]
      ? []
      : [`${name === 'kind' ? 'objective' : name} ${String(a[name] ?? 'none')} → ${String(b[name] ?? 'none')}`],
  )
}

function figuresOf(before: PlanDocument, after: PlanDocument): PlanDiff['figures'] {
  const names = ['periodUs', 'latencyUs', 'memoryShare'] as const
  return [
    ...names.map((name) => ({ name, before: before.predicted[name], after: after.predicted[name] })),
    { name: 'gap', before: before.certificate.gap, after: after.certificate.gap },
  ]
}
