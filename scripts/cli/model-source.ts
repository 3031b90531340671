/** What the verbs of `tessera model` work on: a file, the data beside it, the signature they decide. */

import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Refusal } from '#shared/errors.js'
import type { Case } from '#shared/onnx/compare.js'
import { readGoldenSets } from '#shared/onnx/golden.js'
import { inspect } from '#shared/onnx/inspect.js'
import { maxModelBytes, parseModel } from '#shared/onnx/parse.js'
import { prepare, readCanonical, type Prepared } from '#shared/onnx/prepare.js'
import { inputPorts, makeSample } from '#shared/onnx/sample.js'
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
  /** The given data, in order; none where there are none. */
  readonly cases: readonly Case[]
}

export async function readSource(file: string, options: SourceOptions): Promise<Source> {
  const bytes = await readModelFile(file)
  const folder = dirname(file)
  const data = options.data ?? (existsSync(join(folder, 'test_data_set_0')) ? folder : undefined)
  return { file, bytes, folder, cases: data === undefined ? [] : await readCases(bytes, data) }
}

/** The prepared graph of a source, and the sample that decided its signature. */
export async function prepareSource(
  source: Source,
  options: SourceOptions,
): Promise<{ engine: Engine; prepared: Prepared; sample: Feeds }> {
  const engine = await loadEngine()
  const sample = await sampleOf(source, options)
  const prepared = await prepare(source.bytes, { engine, level: options.level, sample, folder: source.folder })
  return { engine, prepared, sample }
}

/** The cases of a source; one that is made up from the declared shapes where no data were given. */
export async function casesOf(source: Source, options: SourceOptions): Promise<readonly Case[]> {
  return source.cases.length > 0 ? source.cases : [{ name: 'made-up input', feeds: await sampleOf(source, options) }]
}

async function sampleOf({ bytes, folder, cases }: Source, { dims }: SourceOptions): Promise<Feeds> {
  const given = cases[0]?.feeds
  if (given !== undefined) return given
  const { graph } = await readCanonical(bytes, folder)
  return makeSample(inputPorts(graph, undefined, dims))
}

async function readModelFile(file: string): Promise<Uint8Array> {
  const found = await stat(file).catch(() => undefined)
  if (found === undefined) throw new Refusal('missing-file', `there is no file '${file}'`)
  if (!found.isFile()) throw new Refusal('not-onnx', `'${file}' is not a file; name the .onnx file in it`)
  if (found.size > maxModelBytes) {
    throw new Refusal(
      'bad-model',
      `'${file}' has more than the 2 GiB an ONNX file can have; keep its weights as external data`,
    )
  }
  const bytes = await readFile(file)
  try {
    parseModel(bytes)
  } catch (error) {
    // The core knows no file names: here the sentence gets its subject.
    if (error instanceof Refusal) throw new Refusal(error.code, `'${file}': ${error.message}`, { cause: error })
    throw error
  }
  return bytes
}

async function readCases(bytes: Uint8Array, data: string): Promise<Case[]> {
  const names = inspect(bytes).inputs.map(({ name }) => name)
  const sets = await readGoldenSets(data)
  return sets.map(({ folder, inputs, outputs }) => {
    if (inputs.length !== names.length) {
      throw new Refusal(
        'no-golden-data',
        `'${folder}' has ${inputs.length} inputs, the model ${names.length}: ${names.join(', ')}`,
      )
    }
    return {
      name: basename(folder),
      feeds: Object.fromEntries(inputs.map((tensor, index) => [names[index] as string, tensor])),
      expected: outputs,
    }
  })
}
