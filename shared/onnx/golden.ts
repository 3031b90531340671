/**
 * Known inputs and outputs beside a model: `test_data_set_K/{input_i,output_i}.pb`, `i` the position among the graph's
 * inputs that are not initializers, and among its outputs. The layout of the ONNX backend tests.
 */

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Refusal } from '../errors.js'
import { parseTensorFile } from './tensor-file.js'
import type { Tensor } from './tensor.js'

export interface GoldenSet {
  readonly folder: string
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
}

/** All data sets of a folder in the order of their number. Throws `Refusal('no-golden-data')` where there is none. */
export async function readGoldenSets(folder: string): Promise<GoldenSet[]> {
  const names = await readdir(folder).catch(() => [])
  const sets = numbered(names, /^test_data_set_(\d+)$/)
  if (sets.length === 0)
    throw new Refusal('no-golden-data', `'${folder}' holds no test_data_set_K folder with input_i.pb files`)
  return Promise.all(sets.map(async (name) => readGoldenSet(join(folder, name))))
}

/** One data set; throws `Refusal('no-golden-data' | 'bad-tensor' | 'unsupported-dtype')`, naming the file. */
export async function readGoldenSet(folder: string): Promise<GoldenSet> {
  const names = await readdir(folder).catch(() => [])
  const read = async (pattern: RegExp): Promise<Tensor[]> => {
    const found = numbered(names, pattern)
    const gap = found.findIndex((name, i) => Number(pattern.exec(name)?.[1]) !== i)
    if (gap !== -1) throw new Refusal('no-golden-data', `'${folder}' holds ${found[gap]} but not the file before it`)
    return Promise.all(found.map(async (name) => readTensorFile(join(folder, name))))
  }
  return { folder, inputs: await read(/^input_(\d+)\.pb$/), outputs: await read(/^output_(\d+)\.pb$/) }
}

/** The tensor of one `.pb` file, for labelled data and single inputs. */
export async function readTensorFile(path: string): Promise<Tensor> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw new Refusal('missing-file', `cannot read the tensor file '${path}'`, { cause: error })
  })
  return parseTensorFile(bytes, `'${path}'`).tensor
}

function numbered(names: readonly string[], pattern: RegExp): string[] {
  const number = (name: string): number => Number(pattern.exec(name)?.[1])
  return names.filter((name) => pattern.test(name)).sort((a, b) => number(a) - number(b))
}
