/**
 * What the demo sends: labelled digits, or the golden data beside any model. No two requests are alike: beyond the given
 * inputs each gets a seeded perturbation of its own, so that a result that belongs to another request cannot pass.
 */

import { readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { Refusal } from '#shared/errors.js'
import { readGoldenSets, readTensorFile } from '#shared/onnx/golden.js'
import { readModelFile } from '#shared/onnx/model-file.js'
import { readCanonical } from '#shared/onnx/prepare.js'
import type { Feeds } from '#shared/onnx/session.js'
import { elementCount, itemBytes, type Tensor } from '#shared/onnx/tensor.js'
import { seededRandom, type Random } from '#shared/random.js'

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
const digitNoise = 0.001
/** Where no class is told: so much that a tensor of one number tells thousands of requests apart. */
const goldenNoise = 0.02

/** Any model with `test_data_set_K/*.pb` in `folder`; those with the shapes of the first set are used. */
export async function goldenWorkload(modelPath: string, folder: string): Promise<Workload> {
  const model = await readModelFile(modelPath)
  const names = await inputNames(model, dirname(modelPath))
  const sets = await readGoldenSets(folder)
  const feeds = sets.map(({ inputs, folder: from }) => {
    if (inputs.length !== names.length) {
      throw new Refusal(
        'no-golden-data',
        `'${from}' holds ${inputs.length} inputs, but the model takes ${names.length} (${names.join(', ')}): put an input_i.pb there for each`,
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
    request: (index) => varied(alike[index % alike.length]!, index < alike.length ? undefined : index, goldenNoise),
    label: () => undefined,
  }
}

/** The bundled digits: `labelled/images.pb` holds all of them, one after the other along the first axis. */
export async function labelledWorkload(folder: string): Promise<Workload> {
  const model = await readModelFile(join(folder, 'model.onnx'))
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
    request: (index) => varied(image(index % labels.length), index < labels.length ? undefined : index, digitNoise),
    label: (index) => labels[index % labels.length]!,
  }
}

/** The model's inputs in their order, initializers left out. */
async function inputNames(model: Uint8Array, folder: string): Promise<string[]> {
  return (await readCanonical(model, folder)).graph.input.map((value) => value.name)
}

/**
 * The feeds with noise on every tensor of floats, a share of its largest value. Where there is none, integers, booleans and strings change places within
 * their tensor: each value stays one that the model was given. `seed` undefined = as they are.
 */
function varied(feeds: Feeds, seed: number | undefined, noise: number): Feeds {
  if (seed === undefined) return feeds
  const entries = Object.entries(feeds)
  const hasFloats = entries.some(([, tensor]) => isNoisy(tensor))
  return Object.fromEntries(
    entries.map(([name, tensor]) => {
      const random = seededRandom(`${seed}/${name}`)
      return [name, hasFloats ? withNoise(tensor, random, noise) : reordered(tensor, random)]
    }),
  )
}

function isNoisy({ dtype, data }: Tensor): boolean {
  return (dtype === 'float32' || dtype === 'float64' || dtype === 'float16') && data.length > 0
}

function withNoise(tensor: Tensor, random: Random, noise: number): Tensor {
  if (!isNoisy(tensor)) return tensor
  const data = Uint8Array.from(tensor.data as Uint8Array)
  // One short seeded pattern, repeated: distinct for every request, cheap for large inputs.
  const pattern = new Uint32Array(random(1024).buffer)
  if (tensor.dtype === 'float16') {
    // The two lowest bits of the fraction are less than the noise elsewhere, and never make a number another kind.
    const words = new Uint16Array(data.buffer)
    for (let i = 0; i < words.length; i++) if ((words[i]! & 0x7c00) < 0x7c00) words[i]! ^= pattern[i & 255]! & 3
    return { ...tensor, data }
  }
  const values = tensor.dtype === 'float32' ? new Float32Array(data.buffer) : new Float64Array(data.buffer)
  let largest = 0
  for (const value of values) if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value))
  const scale = noise * (largest || 1)
  for (let i = 0; i < values.length; i++) values[i]! += scale * (pattern[i & 255]! / 2 ** 32 - 0.5)
  return { ...tensor, data }
}

/** As many pairs of elements as a request can be told apart by have changed places. */
const swaps = 32

function reordered(tensor: Tensor, random: Random): Tensor {
  const count = elementCount(tensor.shape)
  if (count < 2) return tensor
  const places = new Uint32Array(random(8 * swaps).buffer)
  const order = Array.from({ length: count }, (_, i) => i)
  for (let i = 0; i < places.length; i += 2) {
    const [one, other] = [places[i]! % count, places[i + 1]! % count]
    ;[order[one], order[other]] = [order[other]!, order[one]!]
  }
  const { data } = tensor
  if (!(data instanceof Uint8Array)) return { ...tensor, data: order.map((from) => data[from]!) }
  const size = data.length / count
  const changed = new Uint8Array(data.length)
  for (const [to, from] of order.entries()) changed.set(data.subarray(from * size, (from + 1) * size), to * size)
  return { ...tensor, data: changed }
}

function sameShape(a: Tensor, b: Tensor): boolean {
  return a.dtype === b.dtype && a.shape.length === b.shape.length && a.shape.every((dim, i) => dim === b.shape[i])
}
