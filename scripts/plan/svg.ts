/** A plan drawn as a graph: its segments side by side, coloured by device, and the bytes on whatever crosses. */

import type { ModelWork } from '#broker/planner/model-work.js'
import type { PlanBody } from '#broker/planner/plan-document.js'
import { showBytes } from '../cli/model-table.js'
import { showPercent, showRate, showTime, shorten } from './figures.js'
import { box, gutter, layOut, type Box, type Layout } from './layout.js'

type Stage = PlanBody['stages'][number]
type End = PlanBody['links'][number]['from']

/** Colours that the colour-blind can tell apart as well (after Okabe and Ito); they come again when they run out. */
const palette = [
  '#0072b2',
  '#e69f00',
  '#009e73',
  '#cc79a7',
  '#56b4e9',
  '#d55e00',
  '#8a7a00',
  '#7b4fa3',
  '#4f8f2f',
  '#a0522d',
]
const alarm = '#c81e1e'
const left = 96
const headTop = 104
const memberLine = 15
/** From the heads of the stages to their first nodes. */
const belowHead = 26

/** The drawing, as the text of an SVG file. */
export function drawGraph(plan: PlanBody, work: ModelWork): string {
  const indexOf = new Map(work.nodes.map(({ name }, index) => [name, index]))
  const stages = plan.stages.map(({ nodes }) => nodes.map((name) => indexOf.get(name)!))
  const headHeight = 26 + memberLine * Math.max(...plan.stages.map((stage) => lineCount(stage)))
  const top = headTop + headHeight + belowHead
  const layout = layOut(work, stages, left + gutter, top)
  const width = Math.max(layout.width + left, 760)
  const height = layout.height + 24
  const pieces = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="11">`,
    `<defs>${arrowHead('tip', '#555')}${arrowHead('hot', alarm)}${plan.stages.map(partPattern).join('')}</defs>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...title(plan),
    ...layout.columns.map((column, at) =>
      rect(
        { x: column.x, y: headTop, width: column.width, height: layout.height - headTop, rx: 8 },
        `fill="${tint(colourOf(at))}" stroke="${colourOf(at)}"`,
      ),
    ),
    ...edges(work, stages, layout, top),
    ...layout.columns.flatMap(({ boxes }, at) => boxes.flatMap((one) => nodeBox(work, one, at, plan.stages[at]!))),
    ...layout.columns.flatMap((column, at) => head(plan, at, column.x, column.width)),
    ...links(plan, layout),
    ...[left / 2 + 6, layout.columns.at(-1)!.x + layout.columns.at(-1)!.width + gutter + left / 2 - 6].map(clientAt),
    '</svg>',
  ]
  return `${pieces.join('\n')}\n`
}

function title({ model, objective, options, predicted, certificate }: PlanBody): string[] {
  const what = objective.kind === 'batch' ? `a batch of ${objective.requests}` : objective.kind
  const proof = certificate.gap === 0 ? 'proven optimal' : `gap ${showPercent(certificate.gap)}`
  const facts = [
    `${showRate(predicted.periodUs)} at full load`,
    `${showTime(predicted.latencyUs)} for one request alone`,
    `planned for ${what} as a ${options.shape === 'dag' ? 'graph' : 'chain'} of stages, ${proof}`,
  ]
  return [
    label(24, 36, `${model.name}, ${model.nodes} nodes`, 'font-size="18" font-weight="600"'),
    label(24, 58, facts.join(' · '), 'font-size="12" fill="#444"'),
    label(
      24,
      76,
      'Darker nodes take longer. On what crosses stand its bytes; on links how long they are busy at full load.',
      'fill="#777"',
    ),
  ]
}

function head(plan: PlanBody, at: number, x: number, width: number): string[] {
  const stage = plan.stages[at]!
  const period = Math.max(plan.predicted.periodUs, 1e-9)
  const turns = stage.kind === 'replicas' ? stage.members.length : 1
  const room = Math.floor((width - 16) / 5.6)
  const kinds = { one: '', replicas: ' · in turn', parts: ' · in parts' }
  const lines = membersShown(stage).map(({ device, channels, computeUs, openUs, sealUs, memoryBytes }) => {
    const busy = (computeUs + openUs + sealUs) / turns / period
    const part = channels === undefined ? '' : ` ch. ${channels.join('–')}`
    return {
      text: `${device}${part} · ${showTime(computeUs)} · ${showPercent(busy)} · ${showBytes(memoryBytes)}`,
      isHot: busy > 0.995,
    }
  })
  const more = stage.members.length - lines.length
  return [
    rect({ x, y: headTop, width, height: 20, rx: 8 }, `fill="${colourOf(at)}"`),
    label(
      x + 8,
      headTop + 14,
      shorten(
        `stage ${at}${kinds[stage.kind]} · ${stage.nodes.length} ${stage.nodes.length === 1 ? 'node' : 'nodes'}`,
        room,
      ),
      'fill="#fff" font-weight="600"',
    ),
    ...lines.map(({ text, isHot }, line) =>
      label(
        x + 8,
        headTop + 34 + line * memberLine,
        shorten(text, room),
        isHot ? `fill="${alarm}" font-weight="600"` : 'fill="#222"',
      ),
    ),
    ...(more > 0 ? [label(x + 8, headTop + 34 + lines.length * memberLine, `and ${more} more`, 'fill="#222"')] : []),
  ]
}

/** Devices named in the head of a stage. */
const namedMembers = 4

function membersShown({ members }: Stage): Stage['members'] {
  return members.slice(0, members.length > namedMembers ? namedMembers - 1 : namedMembers)
}

function lineCount(stage: Stage): number {
  return Math.min(stage.members.length, namedMembers)
}

function nodeBox({ nodes }: ModelWork, { node, x, y }: Box, at: number, stage: Stage): string[] {
  const { name, opType, us } = nodes[node]!
  const most = Math.max(...nodes.map((other) => other.us), 1e-9)
  const weight = 0.12 + 0.88 * Math.sqrt(us / most)
  const isDark = weight > 0.62 && stage.kind !== 'parts'
  const fill = stage.kind === 'parts' ? `url(#parts${at})` : colourOf(at)
  const time = us >= most / 200 ? showTime(us) : ''
  return [
    `<g><title>${escape(`${name}\n${opType}, ${showTime(us)} where it was measured`)}</title>`,
    rect({ x, y, width: box.width, height: box.height, rx: 4 }, 'fill="#fff"'),
    rect(
      { x, y, width: box.width, height: box.height, rx: 4 },
      `fill="${fill}" fill-opacity="${weight.toFixed(2)}" stroke="${colourOf(at)}"`,
    ),
    label(x + 6, y + 14, shorten(opType, time === '' ? 18 : 11), isDark ? 'fill="#fff"' : 'fill="#111"'),
    ...(time === ''
      ? []
      : [
          label(
            x + box.width - 6,
            y + 14,
            time,
            `text-anchor="end" font-size="10" ${isDark ? 'fill="#fff"' : 'fill="#333"'}`,
          ),
        ]),
    '</g>',
  ]
}

/** What nodes read of each other; with its bytes where it goes from one stage, or the client, to another. */
function edges(work: ModelWork, stages: readonly (readonly number[])[], { columns }: Layout, top: number): string[] {
  const stageOf = new Map(stages.flatMap((nodes, at) => nodes.map((node) => [node, at] as const)))
  const boxOf = new Map(columns.flatMap(({ boxes }) => boxes.map((one) => [one.node, one] as const)))
  const taken: Point[] = []
  const lines: string[] = []
  const labels: string[] = []
  const last = columns.at(-1)!
  let inputs = 0
  let outputs = 0
  /** Beside a stage or the client, where nothing else is written yet. */
  const write = (name: string, text: string, from: Point): void => {
    const at = { ...from }
    while (taken.some(({ x, y }) => Math.abs(x - at.x) < 60 && Math.abs(y - at.y) < 12)) at.y += 12
    taken.push(at)
    labels.push(`<g><title>${escape(name)}</title>${label(at.x, at.y, text, halo)}</g>`)
  }
  const isBeside = (one: Box, other: Box): boolean => one !== other && one.y === other.y
  /** From a node the edge goes straight out of its stage, below the nodes beside it, and turns only then. */
  const startOf = (from: number | undefined): Point[] => {
    if (from === undefined) return [{ x: left, y: top + 10 + 30 * inputs++ }]
    const own = boxOf.get(from)!
    const { x, boxes, width } = columns[stageOf.get(from)!]!
    const edge = x + width
    const bottom = own.y + box.height
    if (boxes.some((other) => isBeside(own, other) && other.x > own.x))
      return [
        [own.x + box.width - 12, bottom],
        [own.x + box.width - 12, bottom + 5],
        [edge, bottom + 5],
      ].map(pointAt)
    return [
      [own.x + box.width, own.y + box.height / 2],
      [edge, own.y + box.height / 2],
    ].map(pointAt)
  }
  /** Into a node it comes from the left, or from above where others stand there. */
  const endOf = (node: number): Point[] => {
    const own = boxOf.get(node)!
    const { x: edge, boxes } = columns[stageOf.get(node)!]!
    if (boxes.some((other) => isBeside(own, other) && other.x < own.x))
      return [
        [edge, own.y - 7],
        [own.x + 12, own.y - 7],
        [own.x + 12, own.y],
      ].map(pointAt)
    return [
      [edge, own.y + box.height / 2],
      [own.x, own.y + box.height / 2],
    ].map(pointAt)
  }
  for (const { name, bytes, from, to, isOutput } of work.values) {
    const leaving = to.filter((node) => from === undefined || stageOf.get(node) !== stageOf.get(from))
    for (const node of to) if (!leaving.includes(node)) lines.push(within(boxOf.get(from!)!, boxOf.get(node)!))
    if (leaving.length === 0 && !isOutput) continue
    const way = startOf(from)
    const turn = way.at(-1)!
    const text = from === undefined ? `${shorten(name, 14)} ${showBytes(bytes)}` : showBytes(bytes)
    if (leaving.length > 0) write(name, text, { x: turn.x + 6, y: turn.y - 5 })
    for (const node of leaving) lines.push(across(way, endOf(node)))
    if (!isOutput) continue
    const end = { x: last.x + last.width + gutter, y: top + 10 + 30 * outputs++ }
    lines.push(across(way, [end]))
    write(name, `${shorten(name, 14)} ${showBytes(bytes)}`, { x: end.x - 70, y: end.y + 14 })
  }
  return [...lines, ...labels]
}

const halo = 'font-weight="600" fill="#333" paint-order="stroke" stroke="#fff" stroke-width="3"'

interface Point {
  readonly x: number
  readonly y: number
}

function pointAt([x, y]: readonly number[]): Point {
  return { x: x!, y: y! }
}

/** Straight along `leaving`, in a curve to where `entering` begins, and straight on. */
function across(leaving: readonly Point[], entering: readonly Point[]): string {
  const [from, to] = [leaving.at(-1)!, entering[0]!]
  const bend = Math.max(30, Math.min(90, (to.x - from.x) / 2))
  const show = ({ x, y }: Point): string => `${round(x)} ${round(y)}`
  const controls = [{ x: from.x + bend, y: from.y }, { x: to.x - bend, y: to.y }, to].map(show).join(' ')
  const after = entering.slice(1).map((point) => `L${show(point)}`)
  const path = `M${leaving.map(show).join('L')}C${controls}${after.join('')}`
  return `<path d="${path}" fill="none" stroke="#555" stroke-width="1.3" marker-end="url(#tip)"/>`
}

function within(from: Box, to: Box): string {
  const start = { x: from.x + box.width / 2, y: from.y + box.height }
  const end = { x: to.x + box.width / 2, y: to.y }
  const bend = Math.max(6, Math.abs(end.y - start.y) / 2)
  return curve(start, end, { x: 0, y: Math.min(bend, 60) }, 'stroke="#999"')
}

/** The links of the plan between the heads of the stages, with their bytes and load. */
function links(plan: PlanBody, { columns }: Layout): string[] {
  const period = Math.max(plan.predicted.periodUs, 1e-9)
  const last = columns.at(-1)!
  const drawn = new Map<string, number>()
  return plan.links.flatMap(({ from, to, bytes, busyUs, turns }) => {
    const key = `${stageAt(from, -1)} ${stageAt(to, columns.length)}`
    const count = drawn.get(key) ?? 0
    drawn.set(key, count + 1)
    const start = from === 'client' ? left : columns[from.stage]!.x + columns[from.stage]!.width
    const end = to === 'client' ? last.x + last.width + gutter : columns[to.stage]!.x
    const span = stageAt(to, columns.length) - stageAt(from, -1)
    const busy = busyUs / turns / period
    const isHot = busy > 0.995
    const look = `stroke="${isHot ? alarm : '#555'}" stroke-width="${(1.5 + 3 * Math.min(1, busy)).toFixed(1)}" marker-end="url(#${isHot ? 'hot' : 'tip'})"`
    const text = `${showBytes(bytes)} · ${showPercent(busy)}`
    const paint = `text-anchor="middle" ${isHot ? `fill="${alarm}" font-weight="600"` : 'fill="#333"'}`
    const y = headTop + 14 + 26 * count
    if (span === 1)
      return [line({ x: start, y }, { x: end - 8, y }, look), label((start + end) / 2 - 4, y - 6, text, paint)]
    // Past other stages: above their heads.
    const lift = headTop - 6
    const path = `<path d="M${start} ${y} C${start + 50} ${lift - 8}, ${end - 58} ${lift - 8}, ${end - 8} ${y}" fill="none" ${look}/>`
    return [path, label((start + end) / 2, lift - 4, text, paint)]
  })
}

function stageAt(end: End, client: number): number {
  return end === 'client' ? client : end.stage
}

function clientAt(x: number): string {
  return `<circle cx="${x}" cy="${headTop + 14}" r="34" fill="#f4f4f4" stroke="#888"/>${label(x, headTop + 18, 'client', 'text-anchor="middle" font-weight="600"')}`
}

/** Stripes in the widths of the parts. */
function partPattern({ kind, members }: Stage, at: number): string {
  if (kind !== 'parts') return ''
  const whole = members.at(-1)!.channels![1]
  const stops = members.flatMap(({ channels }, which) =>
    channels!.map((channel) => `<stop offset="${(channel / whole).toFixed(4)}" stop-color="${colourOf(at + which)}"/>`),
  )
  return `<linearGradient id="parts${at}">${stops.join('')}</linearGradient>`
}

function colourOf(stage: number): string {
  return palette[stage % palette.length]!
}

/** A colour thinned to a background. */
function tint(colour: string): string {
  const channel = (at: number): number => Number.parseInt(colour.slice(at, at + 2), 16)
  return `#${[1, 3, 5]
    .map((at) =>
      Math.round(255 - (255 - channel(at)) * 0.08)
        .toString(16)
        .padStart(2, '0'),
    )
    .join('')}`
}

function arrowHead(id: string, colour: string): string {
  return `<marker id="${id}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="${colour}"/></marker>`
}

function rect(of: { x: number; y: number; width: number; height: number; rx: number }, look: string): string {
  return `<rect ${Object.entries(of)
    .map(([name, value]) => `${name}="${round(value)}"`)
    .join(' ')} ${look}/>`
}

function line(from: Point, to: Point, look: string): string {
  return `<path d="M${round(from.x)} ${round(from.y)}L${round(to.x)} ${round(to.y)}" ${look}/>`
}

function curve(from: Point, to: Point, bend: Point, look: string): string {
  const points = [{ x: from.x + bend.x, y: from.y + bend.y }, { x: to.x - bend.x, y: to.y - bend.y }, to]
  return `<path d="M${round(from.x)} ${round(from.y)}C${points.map(({ x, y }) => `${round(x)} ${round(y)}`).join(' ')}" fill="none" ${look}/>`
}

function label(x: number, y: number, text: string, look: string): string {
  return `<text x="${round(x)}" y="${round(y)}" ${look}>${escape(text)}</text>`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

/** Names come out of strangers' files: no markup of theirs, and no character that XML does not have. */
function escape(text: string): string {
  return text.replace(/[&<>"]/g, (found) => entities[found]!).replace(/[^\P{C}\n]/gu, '\uFFFD')
}
