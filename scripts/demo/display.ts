/** Shows the demo: redrawn in place on a terminal, plain lines elsewhere. */

import { every, systemClock, type Cancel } from '#shared/clock.js'
import { postsOf, waysOf, type RunningDemo } from './running.js'
import { clip, colourPaint, draw, type ScreenState } from './screen.js'
import type { Summary } from './summary.js'
import type { Workload } from './workload.js'

const redrawMs = 250
const lineMs = 1000

export class Display {
  readonly #out: NodeJS.WriteStream
  readonly #workload: Workload
  readonly #requests: number | undefined
  readonly #isLive: boolean
  #cancel: Cancel = () => {}
  #drawn = 0
  #startMs = 0
  #demo: RunningDemo | undefined

  constructor(out: NodeJS.WriteStream, workload: Workload, requests: number | undefined) {
    this.#out = out
    this.#workload = workload
    this.#requests = requests
    this.#isLive = out.isTTY && process.env['CI'] === undefined && process.env['TERM'] !== 'dumb'
  }

  step(text: string): void {
    this.#out.write(`${text}\n`)
  }

  /** Everything is up: from now on the picture is kept current. */
  live(demo: RunningDemo): void {
    this.#demo = demo
    this.#startMs = systemClock.monotonicMs()
    if (this.#isLive) {
      this.#out.write('\u001b[?25l\n') // the cursor would jump about
      this.#cancel = every(systemClock, redrawMs, () => this.#redraw())
    } else {
      this.#cancel = every(systemClock, lineMs, () => this.#line())
    }
  }

  end(summary: Summary): void {
    this.#cancel()
    if (this.#isLive) this.#redraw()
    else if (this.#demo !== undefined) {
      for (const { from, to, kind, bytes } of summary.links)
        this.step(`link ${from} -> ${to}: ${kind}, ${bytes} bytes sealed`)
      const labels = new Map(postsOf(this.#demo.deployment).map(({ stage, label }) => [stage, label]))
      summary.hopMs.forEach((ms, stage) => this.step(`stage ${labels.get(stage)}: ${ms.toFixed(2)} ms a request`))
    }
    const { requests, correct, accuracy, bitExact, throughputPerSecond, latencyMs, lost, duplicated, interrupted } =
      summary
    this.step(
      `${interrupted ? 'stopped' : 'done'}: ${requests} requests, ${throughputPerSecond.toFixed(1)}/s, p50 ${latencyMs.p50.toFixed(1)} ms, ` +
        `p99 ${latencyMs.p99.toFixed(1)} ms; ${correct} correct (${(100 * accuracy).toFixed(1)} %); ` +
        `${bitExact ? 'every result equals the unsplit model, bit for bit' : 'SOME RESULTS DIFFER from the unsplit model'}; lost ${lost}, twice ${duplicated}`,
    )
  }

  close(): void {
    this.#cancel()
    if (this.#isLive && this.#demo !== undefined) this.#out.write('\u001b[?25h')
  }

  #line(): void {
    const { tally, client } = this.#demo!
    const { p50, p99 } = tally.latencyMs
    this.step(
      `${tally.results} results${this.#requests === undefined ? '' : ` of ${this.#requests}`}, ${tally.throughput.toFixed(1)}/s, ` +
        `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, ${client.open} in flight, ` +
        `hops ${tally.hopMs.map((ms) => ms.toFixed(2)).join(' ')} ms, ${tally.exact === tally.results ? 'all equal to the unsplit model' : `${tally.results - tally.exact} DIFFER`}`,
    )
  }

  #redraw(): void {
    const { columns, rows } = this.#out
    const lines = draw(this.#state(), colourPaint, rows).map((line) => clip(line, columns - 1))
    const up = this.#drawn === 0 ? '' : `\u001b[${this.#drawn}A`
    this.#out.write(`${up}${lines.map((line) => `\u001b[2K${line}\n`).join('')}`)
    this.#drawn = lines.length
  }

  #state(): ScreenState {
    const { running, deployment, processes, client, tally } = this.#demo!
    const nowMs = systemClock.monotonicMs()
    const members = new Map(running.hub.members().map((member) => [member.id, member]))
    const ways = waysOf(deployment)
    return {
      title: this.#workload.name,
      hub: `${running.address.host}:${running.address.port}`,
      epoch: running.hub.epoch,
      upSeconds: (nowMs - this.#startMs) / 1000,
      stages: postsOf(deployment).map(({ stage, label, device, nodes, sealedBytes }) => {
        const { state, telemetry } = members.get(device)!
        const targets = new Set(ways.filter(({ from }) => from === device).map(({ to }) => to ?? client.id))
        const links = telemetry?.links.filter(({ peer }) => targets.has(peer)) ?? []
        return {
          label,
          device,
          pid: processes.find(({ id }) => id === device)!.pid,
          state,
          nodes,
          sealedBytes,
          computeMs: tally.hopMs[stage],
          queued: telemetry?.queued ?? 0,
          residentBytes: telemetry?.residentBytes ?? 0,
          link: [...new Set(links.map(({ kind }) => kind))].join('+') || 'none',
          linkBytes: links.reduce((sum, { sentBytes }) => sum + sentBytes, 0),
        }
      }),
      requests: { results: tally.results, of: this.#requests, inFlight: client.open },
      throughput: tally.throughput,
      rates: tally.rates(nowMs),
      latencyMs: tally.latencyMs,
      correct: tally.correct,
      exact: tally.exact,
      lost: this.#requests !== undefined && tally.results + tally.failed === this.#requests ? tally.lost : 0,
      duplicated: tally.duplicated,
      isLabelled: this.#workload.label(0) !== undefined,
      hint: 'Ctrl-C ends the demo and leaves nothing behind.',
    }
  }
}
