/** `tessera model verify`: cuts a model everywhere and compares bits. */

import { Refusal } from '#shared/errors.js'
import { loadEngine } from '#shared/onnx/session.js'
import { verify, type Verdict } from '#shared/onnx/verify.js'
import { casesOf, readSource, type SourceOptions } from './model-source.js'
import { progressBar, table } from './model-table.js'

export interface VerifyModelOptions extends SourceOptions {
  readonly cuts: 'all' | number
  readonly seed: string
}

/** Random sets closed under predecessors that are tried beside the prefixes. */
const randomSets = 50

export async function verifyModel(file: string, options: VerifyModelOptions): Promise<void> {
  const source = await readSource(file, options)
  const cases = await casesOf(source, options)
  const { level, cuts, seed } = options
  const progress = progressBar('cutting')
  const engine = await loadEngine()
  const verdict = await verify(source.bytes, cases, {
    engine,
    level,
    cuts,
    randomSets,
    seed,
    folder: source.folder,
    onProgress: (done, total) => progress.show(done, total),
  }).finally(() => progress.clear())
  process.stdout.write(options.json ? `${JSON.stringify(verdict)}\n` : describe(verdict, cases.length, options))
  const [first] = verdict.failures
  if (first !== undefined) {
    const what = {
      cut: `the cut at ${first.where}`,
      set: `random set ${first.where}`,
      original: first.where,
      golden: first.where,
    }[first.kind]
    throw new Refusal(
      'cannot-cut',
      `'${file}' fails ${verdict.failures.length} comparisons, first (${first.kind}) ${what}: ${first.reason}`,
    )
  }
}

function describe(verdict: Verdict, cases: number, { level, seed }: VerifyModelOptions): string {
  const rows = [
    ['graph', `${verdict.nodes} nodes at level ${level}, ${cases} ${cases === 1 ? 'case' : 'cases'}`],
    [
      'cuts tried',
      `${verdict.cutsTried}, random ones included (seed ${seed})${verdict.illegal > 0 ? `; ${verdict.illegal} not legal` : ''}`,
    ],
    ['exact', `${verdict.exact}`],
    ['widest', `${verdict.widestCut} tensors`],
    ['parts to whole', `${verdict.maxAbsDiff}`],
    ['whole to file', verdict.maxAbsDiffToOriginal.toPrecision(3)],
    ...(verdict.maxAbsDiffToGolden === undefined
      ? []
      : [['whole to goldens', verdict.maxAbsDiffToGolden.toPrecision(3)]]),
  ]
  const failures = verdict.failures.map(({ kind, where, reason }) => [`${kind} ${where}`, reason])
  return table(rows) + (failures.length > 0 ? `\n${table(failures)}` : '')
}
