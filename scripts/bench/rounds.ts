/** Runs in rounds: what is compared ran right after its peer, and only rounds of a quiet machine count if there are enough. */

import type { Run } from './contestant.js'
import { figureOf, type BarSpec, type Output } from './figure.js'

/** A round is quiet while others keep less than so many cores busy; all rounds count where fewer than three are. */
const quietCores = 0.2
const fewestQuiet = 3

export interface Comparison {
  readonly figure: string
  readonly unit: string
  /** What of a run is looked at. */
  readonly of: (run: Run) => number
  readonly candidate: string
  readonly peer?: string
  readonly bar?: BarSpec | undefined
}

export class Rounds {
  readonly #output: Output
  readonly #case: string
  readonly #runs = new Map<string, Run[]>()

  constructor(output: Output, of: string) {
    this.#output = output
    this.#case = of
  }

  add(name: string, run: Run): void {
    this.#runs.set(name, [...(this.#runs.get(name) ?? []), run])
  }

  say({ figure, unit, of, candidate, peer, bar }: Comparison): void {
    const all = this.#of(candidate).map((run, i) => [run, peer === undefined ? run : this.#of(peer)[i]!] as const)
    const quiet = all.filter((pair) => pair.every((run) => run.foreignCores < quietCores))
    const pairs = quiet.length >= fewestQuiet ? quiet : all
    const runs = pairs.map(([run]) => run)
    const peers = pairs.map(([, run]) => run)
    this.#output.figure(
      figureOf({ bench: 'pipeline', case: this.#case, figure, unit }, runs.map(of), {
        ...(peer === undefined ? {} : { peer, peers: peers.map(of), peerCpuMs: peers.map(({ cpuMs }) => cpuMs) }),
        cpuMs: runs.map(({ cpuMs }) => cpuMs),
        foreignCores: runs.map(({ foreignCores }) => foreignCores),
        ...(bar === undefined ? {} : { bar }),
      }),
    )
  }

  #of(name: string): readonly Run[] {
    const runs = this.#runs.get(name)
    if (runs === undefined) throw new RangeError(`no run of '${name}'`)
    return runs
  }
}
