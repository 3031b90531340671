/** What the verbs of `tessera model` work on: a file, the data beside it, the signature they decide. */

import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Refusal } from '#shared/errors.js'
import type { Case } from '#shared/onnx/compare.js'
import { readGoldenSets } from '#shared/onnx/golden.js'
import { readModelFile } from '#shared/onnx/model-file.js'
import { prepare, readCanonical, type Prepared } from '#shared/onnx/prepare.js'
import { declaredPort, inputPorts, makeSample } from '#shared/onnx/sample.js'
import { loadEngine, type Engine, type Feeds, type Level } from '#shared/onnx/session.js'

/** The options that all verbs share. */
export interface SourceOptions {
  readonly data?: string
  readonly dims?: Readonly<Record<string, number>>
  readonly level: Level
  readonly json: boolean
}

export interface Source {
  readonly file: string
  readonly bytes: Uint8Array
  readonly folder: string
  /** Where the data sets are, if there are any. */
  readonly data: string | undefined
}

export async function readSource(file: string, options: SourceOptions): Promise<Source> {
  const bytes = await readModelFile(file)
  const folder = dirname(file)
  const data = options.data ?? (existsSync(join(folder, 'test_data_set_0')) ? folder : undefined)
  return { file, bytes, folder, data }
}

/** The prepared graph of a source, and the sample that decided its signature. */
export async function prepareSource(
  source: Source,
  options: SourceOptions,
): Promise<{ engine: Engine; prepared: Prepared; sample: Feeds }> {
  const [first] = await casesOf(source, options)
  const sample = (first as Case).feeds
  const engine = await loadEngine()
  const prepared = await prepare(source.bytes, { engine, level: options.level, sample, folder: source.folder })
  return { engine, prepared, sample }
}

/** The given cases of a source, or one that is made up from the declared shapes: at least one. */
export async function casesOf({ bytes, folder, data }: Source, { dims }: SourceOptions): Promise<Case[]> {
  const { graph } = await readCanonical(bytes, folder)
  const names = graph.input.map((input) => declaredPort(input, 'input').name)
  if (data === undefined) return [{ name: 'made-up input', feeds: makeSample(inputPorts(graph, undefined, dims)) }]
  const sets = await readGoldenSets(data)
  return sets.map((set) => {
    if (set.inputs.length !== names.length) {
      throw new Refusal(
        'no-golden-data',
        `'${set.folder}' has ${set.inputs.length} inputs, the model ${names.length}: ${names.join(', ')}`,
      )
    }
    const feeds = Object.fromEntries(set.inputs.map((tensor, index) => [names[index] as string, tensor]))
    return { name: basename(set.folder), feeds, expected: set.outputs }
  })
}
