/**
 * Known work: three tiny models that every machine of a fleet runs, so that their times say how fast each is against the
 * others. Made here, the same bytes everywhere; a convolution, a matrix product and a sum stand for the nodes of their kind.
 */

import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { ModelSchema, type AttributeSchema, type TensorValueSchema, type ValueSchema } from './onnx_pb.js'
import { encodeModel } from './parse.js'
import { makeSample } from './sample.js'
import type { Engine, EngineSession, Feeds } from './session.js'
import { byteLength, elementCount, type Port, type Tensor } from './tensor.js'

export const kernels = ['conv', 'matmul', 'element'] as const
export type Kernel = (typeof kernels)[number]

/** Microseconds of one run of each. */
export type KernelTimes = Readonly<Record<Kernel, number>>

export interface Effort {
  /** Times are looked at in batches of so long, so that each has its share of what holds the process up now and then. */
  readonly batchMs: number
  readonly batches: number
}

/** A third of a second: enough that a process which gets every other 10 ms of a core is seen to be half as fast. */
export const usualEffort: Effort = { batchMs: 100, batches: 3 }

/** Which known work a node's time goes with. */
export function kernelOf(opType: string): Kernel {
  if (convLike.has(opType)) return 'conv'
  return matmulLike.has(opType) ? 'matmul' : 'element'
}

const convLike = new Set(['Conv', 'FusedConv', 'ConvTranspose', 'ConvInteger', 'QLinearConv', 'NhwcFusedConv'])
const matmulLike = new Set([
  'Gemm', 'FusedGemm', 'MatMul', 'FusedMatMul', 'MatMulInteger', 'QLinearMatMul', 'DynamicQuantizeMatMul', 'QGemm',
  'MatMulNBits', 'Attention', 'MultiHeadAttention', 'Einsum', 'LSTM', 'GRU', 'RNN',
]) // prettier-ignore

/**
 * The time of each kernel on this machine, in microseconds: the median over the batches of the mean of a batch. In turn, so
 * that all suffer alike from what else runs here. Gives the event loop its turn after every run, of a millisecond or so.
 */
export async function timeKernels(engine: Engine, { batchMs, batches }: Effort = usualEffort): Promise<KernelTimes> {
  const opened: { kernel: Kernel; session: EngineSession; feeds: Feeds }[] = []
  try {
    for (const kernel of kernels) {
      const { model, input } = works[kernel]()
      const session = await engine.create(model, { level: 'disabled' })
      const feeds = tiledSample([input])
      await session.run(feeds) // the first run takes memory
      opened.push({ kernel, session, feeds })
    }
    const means: Record<Kernel, number[]> = { conv: [], matmul: [], element: [] }
    for (let batch = 0; batch < batches; batch++) {
      const spentMs: Record<Kernel, number> = { conv: 0, matmul: 0, element: 0 }
      const startMs = performance.now()
      let runs = 0
      do {
        for (const { kernel, session, feeds } of opened) {
          const beganMs = performance.now()
          await session.run(feeds)
          spentMs[kernel] += performance.now() - beganMs
        }
        runs++
      } while (performance.now() - startMs < batchMs)
      for (const kernel of kernels) means[kernel].push((spentMs[kernel] * 1000) / runs)
    }
    return { conv: middle(means.conv), matmul: middle(means.matmul), element: middle(means.element) }
  } finally {
    for (const { session } of opened) await session.release()
  }
}

/** Values made up for `tiledSample` before they repeat. */
const tileElements = 1024

/** Values for a model's inputs that cost next to nothing to make: those of `makeSample`, again and again. */
export function tiledSample(ports: readonly Port[]): Feeds {
  const tiles = makeSample(
    ports.map((port) => ({ ...port, shape: [Math.min(elementCount(port.shape), tileElements)] })),
  )
  return Object.fromEntries(
    ports.map(({ name, dtype, shape }): [string, Tensor] => {
      const { data } = tiles[name]!
      const count = elementCount(shape)
      if (!(data instanceof Uint8Array)) {
        return [name, { dtype, shape, data: Array.from({ length: count }, (_, i) => data[i % data.length]!) }]
      }
      const bytes = new Uint8Array(byteLength({ name, dtype, shape }))
      for (let at = 0; at < bytes.length; at += data.length) bytes.set(data.subarray(0, bytes.length - at), at)
      return [name, { dtype, shape, data: bytes }]
    }),
  )
}

/** The value in the middle; the higher of two. */
export function middle(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!
}

interface Work {
  readonly model: Uint8Array
  readonly input: Port
}

/** ONNX's numbers for the type float, and for attributes that are a list of ints. */
const float32 = 1
const intsType = 7

const works: Record<Kernel, () => Work> = {
  conv: () => {
    const attribute: MessageInitShape<typeof AttributeSchema>[] = [
      { name: 'kernel_shape', type: intsType, ints: [3n, 3n] },
      { name: 'pads', type: intsType, ints: [1n, 1n, 1n, 1n] },
    ]
    return work('Conv', [1, 32, 28, 28], [1, 32, 28, 28], { w: [32, 32, 3, 3] }, attribute)
  },
  matmul: () => work('MatMul', [32, 384], [32, 384], { w: [384, 384] }),
  element: () => work('Add', [1, 64, 56, 56], [1, 64, 56, 56], { w: [1, 64, 56, 56] }),
}

function work(
  opType: string,
  from: readonly number[],
  to: readonly number[],
  weights: Readonly<Record<string, readonly number[]>>,
  attribute: MessageInitShape<typeof AttributeSchema>[] = [],
): Work {
  const initializer = Object.entries(weights).map(([name, shape]) => filled(name, shape))
  const model = encodeModel(
    create(ModelSchema, {
      irVersion: 8n,
      opsetImport: [{ domain: '', version: 13n }],
      graph: {
        name: opType,
        node: [{ opType, name: opType, input: ['x', ...Object.keys(weights)], output: ['y'], attribute }],
        initializer,
        input: [port('x', from)],
        output: [port('y', to)],
      },
    }),
  )
  return { model, input: { name: 'x', dtype: 'float32', shape: from } }
}

/** Weights that are no zeros and no denormals: some CPUs are slow or quick with those. */
function filled(name: string, shape: readonly number[]): MessageInitShape<typeof TensorValueSchema> {
  const values = Float32Array.from({ length: shape.reduce((count, size) => count * size, 1) }, (_, i) => {
    return ((i * 37) % 101) / 101 - 0.5
  })
  return { name, dims: shape.map(BigInt), dataType: float32, rawData: new Uint8Array(values.buffer) }
}

function port(name: string, shape: readonly number[]): MessageInitShape<typeof ValueSchema> {
  const dim = shape.map((size) => ({ size: { case: 'value' as const, value: BigInt(size) } }))
  return { name, type: { kind: { case: 'tensor', value: { elemType: float32, shape: { dim } } } } }
}
