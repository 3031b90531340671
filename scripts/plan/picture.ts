/** A plan drawn in characters: the way of a request from the client through the stages and back. */

import { nameOfEnd } from '#broker/planner/bottleneck.js'
import type { PlanBody } from '#broker/planner/plan-document.js'
import { bar, showBytes, table } from '../cli/model-table.js'
import { shorten, showPercent, showTime } from './figures.js'

type Stage = PlanBody['stages'][number]
type Member = Stage['members'][number]
type Link = PlanBody['links'][number]

const barWidth = 16
/** Devices named on a line; the others are counted. */
const namedDevices = 3
/** Tensors named on a line. */
const namedTensors = 2

/**
 * The picture, line by line. The bars are the share of the time that a device or link is busy at full load: the one that
 * always is holds all others back.
 */
export function drawPlan(plan: PlanBody): string[] {
  const rows: Row[] = [endRow]
  for (const [index, stage] of plan.stages.entries()) {
    rows.push(...linksTo(plan, index).map((link) => linkRow(plan, link, index - 1)), ...stageRows(stage, index))
  }
  rows.push(...linksTo(plan, undefined).map((link) => linkRow(plan, link, plan.stages.length - 1)), endRow)
  const busiest = Math.max(plan.predicted.periodUs, 1e-9)
  const cells = rows.map(({ mark, busyUs, what, times, detail }) => [
    mark,
    busyUs === undefined ? '' : gauge(busyUs / busiest),
    what,
    times,
    detail,
  ])
  return table(cells)
    .trimEnd()
    .split('\n')
    .map((line) => ` ${line}`)
}

interface Row {
  readonly mark: string
  readonly busyUs: number | undefined
  readonly what: string
  readonly times: string
  readonly detail: string
}

const endRow: Row = { mark: '○', busyUs: undefined, what: 'client', times: '', detail: '' }

function stageRows({ kind, members, nodes }: Stage, index: number): Row[] {
  const first = shorten(nodes[0]!, 22)
  const held = nodes.length === 1 ? first : `${nodes.length} nodes, ${first} … ${shorten(nodes.at(-1)!, 22)}`
  const rowOf = ({ computeUs, openUs, sealUs }: Member, what: string, turns: number, detail: string): Row => ({
    mark: String(index),
    busyUs: (computeUs + openUs + sealUs) / turns,
    what,
    times: `${showTime(computeUs)} + ${showTime(openUs + sealUs)}`,
    detail,
  })
  if (kind === 'parts') {
    return members.map((member, which) => {
      const channels = `channels ${member.channels?.join(' to ')}`
      return rowOf(member, member.device, 1, which === 0 ? `${channels} of ${held}` : channels)
    })
  }
  const shown = members.slice(0, namedDevices).map(({ device }) => device)
  if (members.length > shown.length) shown.push(`${members.length - shown.length} more`)
  const turns = kind === 'replicas' ? ' in turn' : ''
  return [rowOf(members[0]!, shown.join(', ') + turns, members.length, held)]
}

function linksTo({ links }: PlanBody, stage: number | undefined): Link[] {
  return links.filter(({ to }) => (to === 'client' ? stage === undefined : to.stage === stage))
}

/** A link; where it comes from is said only where that is not the stage drawn just above. */
function linkRow(plan: PlanBody, { from, to, tensors, bytes, busyUs, latencyUs, turns }: Link, before: number): Row {
  const isParted = (end: Link['from']): boolean => end !== 'client' && plan.stages[end.stage]!.kind === 'parts'
  const isNext = from === 'client' ? before === -1 : from.stage === before && before !== -1
  const way = [
    ...(isNext && !isParted(from) ? [] : [`from ${nameOfEnd(plan, from)}`]),
    ...(isParted(to) ? [`to ${nameOfEnd(plan, to)}`] : []),
  ]
  const names = tensors.slice(0, namedTensors).map(({ name }) => shorten(name, 22))
  if (tensors.length > names.length) names.push(`${tensors.length - names.length} more`)
  return {
    mark: '│',
    busyUs: busyUs / turns,
    what: [showBytes(bytes), ...way].join(' '),
    times: `${showTime(busyUs)} + ${showTime(latencyUs)}`,
    detail: names.join(', '),
  }
}

function gauge(share: number): string {
  return `${bar(Math.min(1, share), barWidth).padEnd(barWidth, '·')} ${showPercent(share).padStart(5)}`
}
