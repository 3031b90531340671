/** What must hold in a plan beyond the shape of its fields: so that nobody obeys one that contradicts itself. */

import type { PlanBody } from './plan-document.js'

export interface PlanMistake {
  readonly path: (string | number)[]
  /** As in "must be …". */
  readonly wanted: string
}

/** Rounding of sums that were added up in another order. */
const tolerance = 1e-6

type Say = (wanted: string, ...path: (string | number)[]) => void

export function planMistakes(plan: PlanBody): PlanMistake[] {
  const found: PlanMistake[] = []
  const say: Say = (wanted, ...path) => void found.push({ path, wanted })
  checkStages(plan, say)
  checkLinks(plan, say)
  checkFigures(plan, say)
  return found
}

function checkStages({ stages, model }: PlanBody, say: Say): void {
  const nodes = new Map<string, number>()
  const devices = new Map<string, number>()
  for (const [at, { nodes: own, kind, exact, members, spare }] of stages.entries()) {
    for (const [which, node] of own.entries()) {
      if (nodes.has(node))
        say(`a node that no other stage has: stage ${nodes.get(node)} has it`, 'stages', at, 'nodes', which)
      nodes.set(node, at)
    }
    if (kind === 'one' ? members.length !== 1 : members.length < 2)
      say(
        kind === 'one' ? 'one device, where kind is one' : `two devices or more, where kind is ${kind}`,
        'stages',
        at,
        'members',
      )
    if ((exact === undefined) === (kind === 'parts'))
      say(kind === 'parts' ? 'said of a stage in parts' : 'left out: the stage is not in parts', 'stages', at, 'exact')
    let channel = 0
    for (const [which, { device, channels, memoryBytes, memoryLimitBytes }] of members.entries()) {
      const path = ['stages', at, 'members', which] as const
      if (devices.has(device))
        say(`a device without another stage: it has stage ${devices.get(device)}`, ...path, 'device')
      devices.set(device, at)
      if (memoryBytes > memoryLimitBytes) say(`at most the limit of ${memoryLimitBytes}`, ...path, 'memoryBytes')
      if (kind !== 'parts') {
        if (channels !== undefined) say('left out: the stage is not in parts', ...path, 'channels')
      } else if (channels?.[0] !== channel || channels[1] <= channel) {
        say(`a range that begins with ${channel}, where the one before ends`, ...path, 'channels')
      } else channel = channels[1]
    }
    if (spare !== undefined && members.some(({ device }) => device === spare.device))
      say('a device that is not of the stage', 'stages', at, 'spare', 'device')
  }
  if (nodes.size !== model.nodes) say(`the number of nodes in the stages, ${nodes.size}`, 'model', 'nodes')
}

function checkLinks({ stages, links }: PlanBody, say: Say): void {
  for (const [at, { from, to, tensors, bytes }] of links.entries()) {
    for (const [side, end] of [
      ['from', from],
      ['to', to],
    ] as const) {
      if (end === 'client') continue
      const stage = stages[end.stage]
      const parts = stage?.kind === 'parts' ? stage.members.length : 1
      if (stage === undefined || end.part >= parts) say('a stage of the plan and a part of it', 'links', at, side)
    }
    const isForward = from === 'client' ? to !== 'client' : to === 'client' || from.stage < to.stage
    if (!isForward) say('from the client or an earlier stage to a later one or the client', 'links', at)
    const sum = tensors.reduce((total, tensor) => total + tensor.bytes, 0)
    if (!isNear(sum, bytes)) say(`the sum of its tensors, ${sum}`, 'links', at, 'bytes')
  }
}

function checkFigures({ stages, links, predicted, certificate, objective }: PlanBody, say: Say): void {
  const busiest = Math.max(
    ...stages.flatMap(({ kind, members }) =>
      members.map(
        ({ computeUs, openUs, sealUs }) => (computeUs + openUs + sealUs) / (kind === 'replicas' ? members.length : 1),
      ),
    ),
    ...links.map(({ busyUs, turns }) => busyUs / turns),
  )
  if (!isNear(busiest, predicted.periodUs))
    say(`the time of the busiest device or link, ${busiest}`, 'predicted', 'periodUs')
  const fullest = Math.max(
    ...stages.flatMap(({ members }) =>
      members.map(({ memoryBytes, memoryLimitBytes }) => memoryBytes / memoryLimitBytes),
    ),
  )
  if (!isNear(fullest, predicted.memoryShare))
    say(`the share of the fullest device, ${fullest}`, 'predicted', 'memoryShare')
  const { value, lowerBound, gap } = certificate
  if (JSON.stringify(certificate.objective) !== JSON.stringify(objective))
    say('the objective of the plan', 'certificate', 'objective')
  const reached = reachedBy({ objective, predicted })
  if (!isNear(value, reached)) say(`what the plan reaches, ${reached}`, 'certificate', 'value')
  if (lowerBound > value * (1 + tolerance)) say(`at most the value, ${value}`, 'certificate', 'lowerBound')
  if (lowerBound > 0 && !isNear(1 + gap, value / lowerBound))
    say(`value / lowerBound - 1, ${value / lowerBound - 1}`, 'certificate', 'gap')
}

/** What a plan reaches, in its objective's unit. */
export function reachedBy({ objective, predicted }: Pick<PlanBody, 'objective' | 'predicted'>): number {
  switch (objective.kind) {
    case 'throughput':
      return predicted.periodUs
    case 'latency':
      return predicted.latencyUs
    case 'batch':
      return predicted.latencyUs + (objective.requests - 1) * predicted.periodUs
    case 'memory':
      return predicted.memoryShare
  }
}

function isNear(a: number, b: number): boolean {
  return Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b))
}
