/** The demo's picture of the fleet: a pure function from what is known to lines for a terminal of 80 columns or more. */

export interface ScreenStage {
  /** The stage's number, and a letter where it is a part of one. */
  readonly label: string
  readonly device: string
  readonly pid: number
  readonly state: string
  readonly nodes: string
  readonly sealedBytes: number
  readonly computeMs: number | undefined
  readonly queued: number
  readonly residentBytes: number
  readonly link: string
  readonly linkBytes: number
}

export interface ScreenState {
  readonly title: string
  readonly hub: string
  readonly epoch: number
  readonly upSeconds: number
  readonly stages: readonly ScreenStage[]
  readonly requests: { readonly results: number; readonly of: number | undefined; readonly inFlight: number }
  readonly throughput: number
  readonly rates: readonly number[]
  readonly latencyMs: { readonly p50: number; readonly p99: number }
  readonly correct: number
  readonly exact: number
  readonly lost: number
  readonly duplicated: number
  readonly isLabelled: boolean
  readonly hint: string
}

/** Paints one word; identity where colours are not wanted. */
export interface Paint {
  bold(text: string): string
  dim(text: string): string
  good(text: string): string
  bad(text: string): string
  accent(text: string): string
}

export const plainPaint: Paint = { bold: same, dim: same, good: same, bad: same, accent: same }
const sgr =
  (code: number, end: number) =>
  (text: string): string =>
    `\u001b[${code}m${text}\u001b[${end}m`
export const colourPaint: Paint = {
  bold: sgr(1, 22),
  dim: sgr(2, 22),
  good: sgr(32, 39),
  bad: sgr(31, 39),
  accent: sgr(36, 39),
}

function same(text: string): string {
  return text
}

const bars = ' ▁▂▃▄▅▆▇█'
/** Lines that are no stages. */
const frameLines = 11
const header = ' # device     pid     nodes     sealed  ms a hop     queue    rss  sends on'

/** The picture for a terminal of so many rows; stages that find no room are counted. */
export function draw(state: ScreenState, paint: Paint, rows = Infinity): string[] {
  const { stages, requests } = state
  const slowest = Math.max(...stages.map((stage) => stage.computeMs ?? 0), 1e-9)
  const most = Math.max(...state.rates, 1)
  const room = Math.max(1, rows - frameLines - 2)
  const shown = stages.length <= room ? stages : stages.slice(0, room - 1)
  const facts = [state.title, counted(stages.length, 'device'), `key epoch ${state.epoch}`, `hub ${state.hub}`]
  const lines = [
    `${paint.bold('tessera')} ${paint.dim(`· ${facts.join(' · ')} · ${state.upSeconds.toFixed(0)} s`)}`,
    paint.dim(header),
    ...shown.map((stage) => row(stage, slowest, paint)),
    ...(shown.length < stages.length ? [paint.dim(`    and ${stages.length - shown.length} more`)] : []),
    '',
    ` throughput ${paint.bold(`${state.throughput.toFixed(1)}/s`)}  ${paint.accent(state.rates.map((rate) => bars[Math.ceil((rate / most) * 8)]).join(''))}`,
    ` latency    p50 ${paint.bold(ms(state.latencyMs.p50))}  p99 ${paint.bold(ms(state.latencyMs.p99))}  ${paint.dim(`in flight ${requests.inFlight}`)}`,
    ` results    ${paint.bold(String(requests.results))}${requests.of === undefined ? '' : ` of ${requests.of}`}  lost ${count(state.lost, paint)}  twice ${count(state.duplicated, paint)}`,
    ` equal to the unsplit model, bit for bit: ${verdict(state.exact, requests.results, paint)}`,
  ]
  if (state.isLabelled) {
    const share = requests.results === 0 ? 0 : (100 * state.correct) / requests.results
    lines.push(
      ` digits recognised: ${paint.bold(`${share.toFixed(1)} %`)} ${paint.dim(`(${state.correct} of ${requests.results})`)}`,
    )
  }
  lines.push('', paint.dim(` ${state.hint}`))
  return lines
}

function row(stage: ScreenStage, slowest: number, paint: Paint): string {
  const { computeMs } = stage
  const time =
    computeMs === undefined
      ? stage.state.padEnd(13)
      : `${computeMs.toFixed(2).padStart(6)} ${paint.accent('█'.repeat(Math.max(1, Math.round((computeMs / slowest) * 6))).padEnd(6))}`
  return [
    `${stage.label.padStart(2)} ${stage.device.slice(0, 9)}`,
    `${String(stage.pid).padEnd(7)} ${short(stage.nodes, 9)} ${size(stage.sealedBytes).padStart(6)}`,
    `${time} ${String(stage.queued).padStart(4)} ${size(stage.residentBytes).padStart(6)}`,
    `${stage.link} ${paint.dim(size(stage.linkBytes))}`,
  ].join('  ')
}

/** The text in so many columns. */
function short(text: string, columns: number): string {
  return text.length <= columns ? text.padEnd(columns) : `${text.slice(0, columns - 1)}…`
}

function verdict(exact: number, results: number, paint: Paint): string {
  if (results === 0) return paint.dim('no result yet')
  return exact === results ? paint.good(`all ${exact} ✓`) : paint.bad(`${exact} of ${results} ✗`)
}

function count(value: number, paint: Paint): string {
  return value === 0 ? paint.good('0') : paint.bad(String(value))
}

function counted(value: number, noun: string): string {
  return `${value} ${noun}${value === 1 ? '' : 's'}`
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`
}

const units = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/** Bytes for people, in six columns: `812 kB`, `1.2 MB`. */
export function size(bytes: number): string {
  let value = bytes
  let unit = 0
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000
  return `${value.toFixed(unit === 0 || value >= 9.95 ? 0 : 1)} ${units[unit]}`
}

/** The line cut to `width` columns; escape sequences take no column and are kept. */
export function clip(line: string, width: number): string {
  let columns = 0
  // eslint-disable-next-line no-control-regex -- these are the sequences that `colourPaint` makes
  return line.replace(/\u001b\[\d+m|./gu, (piece) => (piece.startsWith('\u001b') || ++columns <= width ? piece : ''))
}
