/**
 * What the demo sends: labelled digits, or the golden data beside any model. No two requests are alike: beyond the given
 * inputs each gets a seeded perturbation of its own, so that a result that belongs to another request cannot pass.
 */

import { readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { Refusal } from '#shared/errors.js'
import { readGoldenSets, readTensorFile } from '#shared/onnx/golden.js'
import { readCanonical } from '#shared/onnx/prepare.js'
import type { Feeds } from '#shared/onnx/session.js'
import { elementCount, itemBytes, type Tensor } from '#shared/onnx/tensor.js'
import { seededRandom } from '#shared/random.js'

export interface Workload {
  /** For people: what is being recognised. */
  readonly name: string
  readonly model: Uint8Array
  /** Where external data of the model may lie. */
  readonly folder: string
  /** The inputs that decide the shape signature. */
  readonly sample: Feeds
  /** The inputs of request `index`; the same at each call. */
  request(index: number): Feeds
  /** The class that request `index` shows, where that is known. */
  label(index: number): number | undefined
}

/** Noise, as a share of the largest value of the tensor: seen in every bit pattern, but no digit changes its class. */
const noise = 0.001

/** Any model with `test_data_set_K/*.pb` in `folder`; those with the shapes of the first set are used. */
export async function goldenWorkload(modelPath: string, folder: string): Promise<Workload> {
  const model = await readModel(modelPath)
  const names = await inputNames(model, dirname(modelPath))
  const sets = await readGoldenSets(folder)
  const feeds = sets.map(({ inputs, folder: from }) => {
    if (inputs.length !== names.length) {
      throw new Refusal(
        'no-golden-data',
        `'${from}' holds ${inputs.length} inputs, but the model takes ${names.length} (${names.join(', ')})`,
      )
    }
    return Object.fromEntries(names.map((name, i) => [name, inputs[i]!]))
  })
  const first = feeds[0]!
  const alike = feeds.filter((set) => names.every((name) => sameShape(set[name]!, first[name]!)))
  return {
    name: basename(dirname(resolve(modelPath))),
    model,
    folder: dirname(modelPath),
    sample: first,
    request: (index) => varied(alike[index % alike.length]!, index < alike.length ? undefined : index),
    label: () => undefined,
  }
}

/** The bundled digits: `labelled/images.pb` holds all of them, one after the other along the first axis. */
export async function labelledWorkload(folder: string): Promise<Workload> {
  const model = await readModel(join(folder, 'model.onnx'))
  const [name] = await inputNames(model, folder)
  const images = await readTensorFile(join(folder, 'labelled', 'images.pb'))
  const labels = JSON.parse(await readFile(join(folder, 'labelled', 'labels.json'), 'utf8')) as number[]
  const shape = [1, ...images.shape.slice(1)]
  const bytes = elementCount(shape) * itemBytes[images.dtype as 'float32']
  const image = (index: number): Feeds => ({
    [name!]: {
      dtype: images.dtype,
      shape,
      data: Uint8Array.from((images.data as Uint8Array).subarray(index * bytes, (index + 1) * bytes)),
    },
  })
  return {
    name: 'digits-resnet',
    model,
    folder,
    sample: image(0),
    request: (index) => varied(image(index % labels.length), index < labels.length ? undefined : index),
    label: (index) => labels[index % labels.length]!,
  }
}

/** The model's inputs in their order, initializers left out. */
async function inputNames(model: Uint8Array, folder: string): Promise<string[]> {
  return (await readCanonical(model, folder)).graph.input.map((value) => value.name)
}

async function readModel(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path)
  } catch (error) {
    throw new Refusal('missing-file', `cannot read the model '${path}': give the path of an ONNX file`, {
      cause: error,
    })
  }
}

/** The feeds with noise on every float32 or float64 tensor; `seed` undefined = as they are. */
function varied(feeds: Feeds, seed: number | undefined): Feeds {
  if (seed === undefined) return feeds
  return Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, withNoise(tensor, `${seed}/${name}`)]))
}

function withNoise(tensor: Tensor, seed: string): Tensor {
  if (!(tensor.data instanceof Uint8Array) || (tensor.dtype !== 'float32' && tensor.dtype !== 'float64')) return tensor
  const data = Uint8Array.from(tensor.data)
  const values = tensor.dtype === 'float32' ? new Float32Array(data.buffer) : new Float64Array(data.buffer)
  let largest = 0
  for (const value of values) largest = Math.max(largest, Math.abs(value))
  const scale = noise * (largest || 1)
  // One short seeded pattern, repeated: distinct for every request, cheap for large inputs.
  const pattern = seededRandom(seed)(256)
  for (let i = 0; i < values.length; i++) values[i]! += scale * (pattern[i & 255]! / 255 - 0.5)
  return { ...tensor, data }
}

function sameShape(a: Tensor, b: Tensor): boolean {
  return a.dtype === b.dtype && a.shape.length === b.shape.length && a.shape.every((dim, i) => dim === b.shape[i])
}
