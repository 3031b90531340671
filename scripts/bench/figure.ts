/** What a bench finds out: figures, each beside a peer of the same run, and how they are shown. */

import { table } from '../cli/model-table.js'
import { median } from './statistics.js'
import type { Environment } from './machine.js'

export interface Figure {
  readonly bench: string
  /** What was measured: a size, a model and its devices. */
  readonly case: string
  readonly figure: string
  /** Median over the repeats. */
  readonly value: number
  readonly unit: string
  /** What it is compared with, its median, and the median of the ratios within each repeat. */
  readonly peer?: string
  readonly peerValue?: number
  readonly ratio?: number
  readonly ratioMin?: number
  readonly ratioMax?: number
  readonly repeats: number
  readonly min: number
  readonly max: number
  /** CPU time of all processes per request or hop, in milliseconds. */
  readonly cpuMs?: number
  readonly peerCpuMs?: number
  /** Cores that others kept busy meanwhile. */
  readonly foreignCores?: number
  /** What DESIGN 5 asks of the ratio, or of the value where there is no ratio, and what it holds to be possible. */
  readonly bar?: Bar
}

export interface Bar {
  readonly atLeast?: number
  readonly atMost?: number
  readonly limit?: number
  readonly isMet: boolean
}

export interface BarSpec {
  readonly atLeast?: number
  readonly atMost?: number
  readonly limit?: number
}

/** Makes a figure of what the repeats gave; `peers` are the values of the peer in the same repeats. */
export function figureOf(
  what: { bench: string; case: string; figure: string; unit: string },
  values: readonly number[],
  more: {
    peer?: string
    peers?: readonly number[]
    cpuMs?: readonly number[]
    peerCpuMs?: readonly number[]
    foreignCores?: readonly number[]
    bar?: BarSpec
  } = {},
): Figure {
  const { peer, peers, bar } = more
  const ratios = peers === undefined ? [] : values.map((value, i) => value / peers[i]!)
  const value = median(values)
  const ratio = ratios.length > 0 ? median(ratios) : undefined
  return {
    ...what,
    value: rounded(value),
    ...(peer !== undefined && peers !== undefined && ratio !== undefined
      ? {
          peer,
          peerValue: rounded(median(peers)),
          ratio: rounded(ratio),
          ratioMin: rounded(Math.min(...ratios)),
          ratioMax: rounded(Math.max(...ratios)),
        }
      : {}),
    repeats: values.length,
    min: rounded(Math.min(...values)),
    max: rounded(Math.max(...values)),
    ...(more.cpuMs === undefined ? {} : { cpuMs: rounded(median(more.cpuMs)) }),
    ...(more.peerCpuMs === undefined ? {} : { peerCpuMs: rounded(median(more.peerCpuMs)) }),
    ...(more.foreignCores === undefined ? {} : { foreignCores: rounded(median(more.foreignCores)) }),
    ...(bar === undefined ? {} : { bar: { ...bar, isMet: meets(ratio ?? value, bar) } }),
  }
}

function meets(value: number, { atLeast = -Infinity, atMost = Infinity }: BarSpec): boolean {
  return value >= atLeast && value <= atMost
}

/** Four significant digits: more is noise. */
function rounded(value: number): number {
  return Number(value.toPrecision(4))
}

/** Where figures go. */
export interface Output {
  begin(environment: Environment): void
  figure(figure: Figure): void
  /** A peer that was not there to be compared with, and what would bring it in. */
  absent(peer: string, remedy: string): void
  end(): void
}

/** One JSON object a line on stdout: the environment, the figures as they come, at last their number. */
export function jsonOutput(): Output {
  const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
  let figures = 0
  let missed = 0
  return {
    begin: (environment) => say({ environment }),
    figure(figure) {
      figures++
      if (figure.bar?.isMet === false) missed++
      say(figure)
    },
    absent: (peer, remedy) => say({ absent: peer, remedy }),
    end: () => say({ figures, barsMissed: missed }),
  }
}

/** Tables for people on stdout, one a case, when all is done. */
export function tableOutput(): Output {
  const rows = new Map<string, string[][]>()
  const missing: string[] = []
  return {
    begin({ node, onnxRuntime, system, cpu, cores, load }) {
      process.stdout.write(`Node ${node}, ONNX Runtime ${onnxRuntime}, ${system}, ${cores} x ${cpu}, load ${load}\n`)
    },
    figure(figure) {
      const title = `${figure.bench}: ${figure.case}`
      rows.set(title, [...(rows.get(title) ?? []), rowOf(figure)])
    },
    absent: (peer, remedy) => void missing.push(`\nabsent: ${peer} (${remedy})\n`),
    end() {
      for (const [title, lines] of rows) {
        process.stdout.write(`\n${title}\n${table([heads, ...lines], [1, 3, 5, 6, 8, 9])}`)
      }
      process.stdout.write(missing.join(''))
    },
  }
}

const heads = ['figure', 'value', 'min-max', 'ratio', 'ratio min-max', 'cpu ms', 'peer cpu', 'peer', 'bar', 'limit', '']

function rowOf(figure: Figure): string[] {
  const { value, unit, min, max, ratio, ratioMin, ratioMax, cpuMs, peerCpuMs, peer, peerValue, bar } = figure
  const isRange = figure.repeats > 1
  return [
    figure.figure,
    `${value} ${unit}`,
    isRange ? `${min}-${max}` : '',
    ratio === undefined ? '' : ratio.toFixed(3),
    ratio === undefined || !isRange ? '' : `${ratioMin}-${ratioMax}`,
    cpuMs === undefined ? '' : String(cpuMs),
    peerCpuMs === undefined ? '' : String(peerCpuMs),
    peer === undefined ? '' : `${peer} ${peerValue}`,
    bar === undefined ? '' : bar.atLeast === undefined ? `<= ${bar.atMost}` : `>= ${bar.atLeast}`,
    bar?.limit === undefined ? '' : String(bar.limit),
    bar === undefined ? '' : bar.isMet ? 'met' : 'MISSED',
  ]
}
