/** `tessera plan diff`: what changes from one plan document to another. */

import { diffPlans, type DeviceDiff, type PlanDiff } from '#broker/planner/plan-diff.js'
import { showChange, showPercent, showTime, shorten } from '../plan/figures.js'
import { printable, showBytes, table } from './model-table.js'
import { loadPlan } from './plan-explain.js'

export async function diffPlanFiles(
  before: string,
  after: string,
  { json }: { readonly json: boolean },
): Promise<void> {
  const found = diffPlans(await loadPlan(before), await loadPlan(after))
  process.stdout.write(json ? `${JSON.stringify(found)}\n` : describe(found))
}

function describe({ sameModel, settings, devices, unchanged, figures }: PlanDiff): string {
  const parts: string[] = []
  if (!sameModel) parts.push('The plans are for different models: every segment is new.\n')
  if (settings.length > 0) parts.push(table(settings.map((words) => [words])))
  if (devices.length === 0) parts.push('Every device keeps what it has.\n')
  else {
    const rows = devices.map((device) => [device.device, stagesOf(device), nodesOf(device), deliveryOf(device)])
    parts.push(table([['device', 'stage', 'nodes', 'to deliver'], ...rows], [3]))
    if (unchanged.length > 0) parts.push(printable(`unchanged: ${unchanged.join(', ')}\n`))
  }
  const rows = figures.map(({ name, before, after }) => {
    const show = name === 'gap' || name === 'memoryShare' ? showPercent : showTime
    const change = before > 0 && name !== 'gap' ? showChange(after / before - 1) : ''
    return [figureNames[name], show(before), '→', show(after), change]
  })
  parts.push(table(rows, [1, 3, 4]))
  return parts.join('\n')
}

const figureNames = {
  periodUs: 'time between results',
  latencyUs: 'latency',
  memoryShare: 'fullest memory',
  gap: 'gap',
}

function stagesOf({ before, after }: DeviceDiff): string {
  if (before === after) return String(before)
  return `${before ?? 'idle'} → ${after ?? 'idle'}`
}

function nodesOf({ gains, loses }: DeviceDiff): string {
  const some = (sign: string, nodes: readonly string[]): string[] => {
    if (nodes.length === 0) return []
    const range = nodes.length === 1 ? nodes[0]! : `${shorten(nodes[0]!, 18)} … ${shorten(nodes.at(-1)!, 18)}`
    return [`${sign}${nodes.length} (${range})`]
  }
  return [...some('+', gains), ...some('-', loses)].join(' ')
}

function deliveryOf({ after, deliverBytes }: DeviceDiff): string {
  return after === undefined ? '' : showBytes(deliverBytes)
}
