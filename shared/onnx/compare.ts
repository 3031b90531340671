/** The unsplit graph against what it must be near to: the file as it was given, and outputs known beforehand. */

import { Refusal } from '../errors.js'
import { embedExternalData, hasExternalData } from './external.js'
import { inspect } from './inspect.js'
import { encodeModel, parseModel } from './parse.js'
import { readCanonical, type Prepared } from './prepare.js'
import type { Engine, Feeds, Level } from './session.js'
import { maxAbsDiff, type Tensor } from './tensor.js'
import { isWithin, toleranceOf, type Tolerance } from './tolerance.js'

/** One case: inputs by name, and the outputs known for them, in the graph's order, if any. */
export interface Case {
  readonly name: string
  readonly feeds: Feeds
  readonly expected?: readonly Tensor[]
}

export interface Failure {
  readonly kind: 'cut' | 'set' | 'original' | 'golden'
  /** The position of the cut, the number of the random set, or the case. */
  readonly where: string
  readonly reason: string
}

/** A run's outputs by name. */
export type Outputs = Readonly<Record<string, Tensor>>

/** Every case on one session of the unsplit model, at 'disabled'. */
export async function runWhole(engine: Engine, model: Uint8Array, cases: readonly Case[]): Promise<Outputs[]> {
  const session = await engine.create(model, { level: 'disabled' })
  try {
    const outputs: Outputs[] = []
    for (const { feeds } of cases) outputs.push(await session.run(feeds))
    return outputs
  } finally {
    await session.release()
  }
}

export interface Comparison {
  readonly failures: readonly Failure[]
  readonly differences: { readonly maxAbsDiffToOriginal: number; readonly maxAbsDiffToGolden?: number }
}

/** How far the prepared graph is from the file as given and from known outputs; what is out of tolerance fails. */
export async function compareWhole(
  model: Uint8Array,
  cases: readonly Case[],
  wholes: readonly Outputs[],
  prepared: Prepared,
  { engine, level, folder }: { engine: Engine; level: Level; folder?: string },
): Promise<Comparison> {
  const usesHalf = [...prepared.ports.values()].some((port) => port.dtype === 'float16')
  const ops = inspect(model).ops.map(({ op }) => op)
  const tolerance = toleranceOf(level, ops, usesHalf)
  const failures: Failure[] = []
  const originals = await runOriginal(engine, model, folder, cases)
  const names = prepared.outputs.map((port) => port.name)
  let toOriginal = 0
  let toGolden: number | undefined
  for (const [index, { name, expected }] of cases.entries()) {
    const whole = names.map((output) => wholes[index]?.[output] as Tensor)
    const original = names.map((output) => originals[index]?.[output] as Tensor)
    toOriginal = Math.max(toOriginal, compare('original', name, names, whole, original, tolerance, failures))
    if (expected !== undefined && expected.length > 0) {
      toGolden = Math.max(toGolden ?? 0, compare('golden', name, names, whole, expected, tolerance, failures))
    }
  }
  return {
    failures,
    differences: { maxAbsDiffToOriginal: toOriginal, ...(toGolden !== undefined && { maxAbsDiffToGolden: toGolden }) },
  }
}

/** The largest difference; what is out of tolerance joins `failures`. */
function compare(
  kind: 'original' | 'golden',
  where: string,
  names: readonly string[],
  actual: readonly Tensor[],
  expected: readonly Tensor[],
  tolerance: Tolerance,
  failures: Failure[],
): number {
  let worst = 0
  for (const [index, wanted] of expected.entries()) {
    const got = actual[index]
    const difference = got === undefined ? Infinity : maxAbsDiff(got, wanted)
    worst = Math.max(worst, difference)
    if (got === undefined || !isWithin(tolerance, got, wanted)) {
      failures.push({ kind, where, reason: `output '${names[index] ?? index}' differs by ${difference}` })
    }
  }
  return worst
}

/**
 * The file as given; with external data embedded where it has some, since the engine gets bytes and no folder. Where the
 * engine refuses what canonical form mends (two nodes of one name), that form stands in.
 */
async function runOriginal(
  engine: Engine,
  model: Uint8Array,
  folder: string | undefined,
  cases: readonly Case[],
): Promise<Outputs[]> {
  const parsed = parseModel(model)
  const isWhole = !hasExternalData(parsed)
  await embedExternalData(parsed, folder)
  try {
    return await runWhole(engine, isWhole ? model : encodeModel(parsed), cases)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return runWhole(engine, encodeModel(await readCanonical(model, folder)), cases)
  }
}
