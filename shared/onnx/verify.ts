/**
 * Proof by trying: a model is cut everywhere, and each pair of parts must give the bits of the whole. The whole in turn
 * must be near to the file as it was given, and to known outputs.
 */

import { Refusal, reasonOf } from '../errors.js'
import { compareWhole, runWhole, type Case, type Failure, type Outputs } from './compare.js'
import { legalCuts } from './cuts.js'
import { chain, type Segment } from './extract.js'
import { prepare } from './prepare.js'
import { load, release, runChain } from './run.js'
import type { Engine, Level } from './session.js'
import { inTwo, randomSets, spread } from './sets.js'
import { maxAbsDiff, sameBits, type Tensor } from './tensor.js'

export interface VerifyOptions {
  readonly engine: Engine
  readonly level: Level
  /** Every prefix of the canonical order, or so many of them, evenly spread. */
  readonly cuts: 'all' | number
  /** Random sets closed under predecessors that are tried beside the prefixes. */
  readonly randomSets: number
  readonly seed: string | number
  readonly folder?: string
  readonly onProgress?: (done: number, total: number) => void
}

export interface Verdict {
  readonly nodes: number
  readonly cutsTried: number
  /** Of those tried, how many gave the bits of the whole in every case. */
  readonly exact: number
  /** The most tensors that crossed one. */
  readonly widestCut: number
  /** Parts against the whole: 0 where all are exact, Infinity (in JSON null) where something could not be compared. */
  readonly maxAbsDiff: number
  /** The whole against the file as given, at 'disabled'. */
  readonly maxAbsDiffToOriginal: number
  /** The whole against the known outputs; absent where there are none. */
  readonly maxAbsDiffToGolden?: number
  /** Positions left out because a tensor would cross that cannot be sent. */
  readonly illegal: number
  readonly failures: readonly Failure[]
}

/** Tries a model on its cases, which may be of several shape signatures: each signature is a graph of its own. */
export async function verify(model: Uint8Array, cases: readonly Case[], options: VerifyOptions): Promise<Verdict> {
  const verdicts: Verdict[] = []
  for (const group of bySignature(cases)) verdicts.push(await verifySignature(model, group, options))
  const [first] = verdicts
  if (first === undefined) throw new Refusal('no-golden-data', 'there is no case to try the model on; give sample data')
  return verdicts.slice(1).reduce(merge, first)
}

async function verifySignature(model: Uint8Array, cases: readonly Case[], options: VerifyOptions): Promise<Verdict> {
  const { engine, level, folder, onProgress } = options
  const sample = (cases[0] as Case).feeds
  const prepared = await prepare(model, { engine, level, sample, ...(folder !== undefined && { folder }) })
  const wholes = await runWhole(engine, prepared.bytes, cases)
  const comparison = await compareWhole(model, cases, wholes, prepared, options)
  const failures = [...comparison.failures]
  const legal = legalCuts(prepared).map((cut) => cut.at)
  const positions = options.cuts === 'all' ? legal : spread(legal, options.cuts)
  const sets = randomSets(prepared, options.randomSets, options.seed)
  const total = positions.length + sets.length
  let exact = 0
  let widestCut = 0
  let worst = 0
  let done = 0
  const attempt = async (kind: 'cut' | 'set', where: string, split: () => Segment[]): Promise<void> => {
    const { difference, width, reason } = await trySplit(engine, split, cases, wholes)
    if (reason === undefined) exact++
    else failures.push({ kind, where, reason })
    worst = Math.max(worst, difference)
    widestCut = Math.max(widestCut, width)
    onProgress?.(++done, total)
  }
  for (const at of positions) await attempt('cut', String(at), () => chain(prepared, [at]))
  for (const [index, set] of sets.entries()) await attempt('set', String(index), () => inTwo(prepared, set))
  return {
    nodes: prepared.nodes.length,
    cutsTried: total,
    exact,
    widestCut,
    maxAbsDiff: worst,
    ...comparison.differences,
    illegal: Math.max(0, prepared.nodes.length - 1 - legal.length),
    failures,
  }
}

/** Runs one split on every case. `reason` is absent where all outputs have the bits of the whole. */
async function trySplit(
  engine: Engine,
  split: () => Segment[],
  cases: readonly Case[],
  wholes: readonly Outputs[],
): Promise<{ difference: number; width: number; reason?: string }> {
  let difference = 0
  let width = 0
  try {
    const segments = split()
    width = segments[0]?.sends.length ?? 0
    const loaded = await load(engine, segments)
    try {
      for (const [index, { name, feeds }] of cases.entries()) {
        const outputs = await runChain(loaded, feeds)
        for (const [output, whole] of Object.entries(wholes[index] as Outputs)) {
          const part = outputs[output] as Tensor
          if (sameBits(part, whole)) continue
          difference = Math.max(difference, maxAbsDiff(part, whole))
          return { difference, width, reason: `output '${output}' differs by ${difference} in ${name}` }
        }
      }
    } finally {
      await release(loaded)
    }
    return { difference, width }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { difference: Infinity, width, reason: reasonOf(error) }
  }
}

function bySignature(cases: readonly Case[]): Case[][] {
  const groups = new Map<string, Case[]>()
  for (const one of cases) {
    const signature = JSON.stringify(Object.entries(one.feeds).map(([name, { shape }]) => [name, shape]))
    groups.set(signature, [...(groups.get(signature) ?? []), one])
  }
  return [...groups.values()]
}

function merge(a: Verdict, b: Verdict): Verdict {
  const golden = [a.maxAbsDiffToGolden, b.maxAbsDiffToGolden].filter((difference) => difference !== undefined)
  return {
    nodes: Math.max(a.nodes, b.nodes),
    cutsTried: a.cutsTried + b.cutsTried,
    exact: a.exact + b.exact,
    widestCut: Math.max(a.widestCut, b.widestCut),
    maxAbsDiff: Math.max(a.maxAbsDiff, b.maxAbsDiff),
    maxAbsDiffToOriginal: Math.max(a.maxAbsDiffToOriginal, b.maxAbsDiffToOriginal),
    ...(golden.length > 0 && { maxAbsDiffToGolden: Math.max(...golden) }),
    illegal: a.illegal + b.illegal,
    failures: [...a.failures, ...b.failures],
  }
}
