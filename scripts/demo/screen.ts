/** The demo's picture of the fleet: a pure function from what is known to lines of at most `width` columns. */

export interface ScreenStage {
  readonly stage: number
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
  /** Bytes of the tensors that go on to the next hop. */
  readonly boundaryBytes: number
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

export function draw(state: ScreenState, paint: Paint): string[] {
  const { stages, requests } = state
  const slowest = Math.max(...stages.map((stage) => stage.computeMs ?? 0), 1e-9)
  const most = Math.max(...state.rates, 1)
  const lines = [
    `${paint.bold('tessera')} ${paint.dim('·')} ${state.title} ${paint.dim('·')} ${stages.length} devices ${paint.dim('·')} key epoch ${state.epoch} ${paint.dim(`· hub ${state.hub} · up ${state.upSeconds.toFixed(0)} s`)}`,
    '',
    paint.dim(' stage  device     pid      nodes      sealed   ms/hop             queue     rss  sends on'),
    ...stages.map((stage) => row(stage, slowest, paint)),
    '',
    ` throughput ${paint.bold(`${state.throughput.toFixed(1)}/s`)}  ${paint.accent(state.rates.map((rate) => bars[Math.ceil((rate / most) * 8)]).join(''))}`,
    ` latency    p50 ${paint.bold(ms(state.latencyMs.p50))}  p99 ${paint.bold(ms(state.latencyMs.p99))}  ${paint.dim(`in flight ${requests.inFlight}`)}`,
    ` results    ${paint.bold(String(requests.results))}${requests.of === undefined ? '' : ` of ${requests.of}`}  lost ${count(state.lost, paint)}  twice ${count(state.duplicated, paint)}`,
    ` equal to the unsplit model, bit for bit: ${state.exact === requests.results ? paint.good(`all ${state.exact} ✓`) : paint.bad(`${state.exact} of ${requests.results} ✗`)}`,
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
  const share = stage.computeMs === undefined ? 0 : stage.computeMs / slowest
  const bar = '█'.repeat(Math.max(stage.computeMs === undefined ? 0 : 1, Math.round(share * 10))).padEnd(10)
  const time =
    stage.computeMs === undefined
      ? stage.state.padEnd(17)
      : `${stage.computeMs.toFixed(2).padStart(6)} ${paint.accent(bar)}`
  return [
    ` ${String(stage.stage).padStart(5)}`,
    stage.device.slice(0, 9),
    String(stage.pid).padEnd(7),
    stage.nodes.padEnd(9),
    size(stage.sealedBytes).padStart(8),
    time,
    String(stage.queued).padStart(5),
    size(stage.residentBytes).padStart(8),
    `${stage.link} ${paint.dim(size(stage.linkBytes))}`,
  ].join('  ')
}

function count(value: number, paint: Paint): string {
  return value === 0 ? paint.good('0') : paint.bad(String(value))
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`
}

/** Bytes for people: `812 kB`, `1.2 MB`. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(bytes < 1e4 ? 1 : 0)} kB`
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`
  return `${(bytes / 1e9).toFixed(1)} GB`
}
