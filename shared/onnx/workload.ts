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
 * The time of each kernel on this machine, in microseconds. `usual`: the median over the batches of the mean of a batch,
 * with all that holds this process up. `least`: of any run, which says how fast the machine is whatever else it does: the
 * measure for node times that are the least of several as well. In turn, so that all suffer alike from what else runs here.
 * Gives the event loop its turn after every run, of a millisecond or so.
 */
export async function timeKernels(
  engine: Engine,
  { batchMs, batches }: Effort = usualEffort,
): Promise<{ usual: KernelTimes; least: KernelTimes }> {
  const opened: { kernel: Kernel; session: EngineSession; feeds: Feeds }[] = []
  try {
    for (const kernel of kernels) {
      const { model, input } = works[kernel]()
      const session = await engine.create(model, { level: 'disabled' })
      opened.push({ kernel, session, feeds: tiledSample([input]) })
      await session.run(opened.at(-1)!.feeds) // the first run takes memory
    }
    const means: Record<Kernel, number[]> = { conv: [], matmul: [], element: [] }
    const leastMs: Record<Kernel, number> = { conv: Infinity, matmul: Infinity, element: Infinity }
    for (let batch = 0; batch < batches; batch++) {
      const spentMs: Record<Kernel, number> = { conv: 0, matmul: 0, element: 0 }
      const startMs = performance.now()
      let runs = 0
      do {
        for (const { kernel, session, feeds } of opened) {
          const beganMs = performance.now()
          await session.run(feeds)
          const runMs = performance.now() - beganMs
          spentMs[kernel] += runMs
          leastMs[kernel] = Math.min(leastMs[kernel], runMs)
        }
        runs++
      } while (performance.now() - startMs < batchMs)
      for (const kernel of kernels) means[kernel].push((spentMs[kernel] * 1000) / runs)
    }
    const each = (of: (kernel: Kernel) => number): KernelTimes => ({
      conv: of('conv'),
      matmul: of('matmul'),
      element: of('element'),
    })
    return { usual: each((kernel) => middle(means[kernel])), least: each((kernel) => leastMs[kernel] * 1000) }
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
    return work('Conv', 2, [1, 32, 28, 28], [32, 32, 3, 3], attribute)
  },
  matmul: () => work('MatMul', 4, [32, 384], [384, 384]),
  element: () => work('Add', 16, [1, 32, 28, 28], [1, 32, 28, 28]),
}

/**
 * The operator so many times in a row, under one weight, and the largest value of the result: what comes out is small, as
 * to take memory for it would cost more than some of the work.
 */
function work(
  opType: string,
  times: number,
  shape: readonly number[],
  weightShape: readonly number[],
  attribute: MessageInitShape<typeof AttributeSchema>[] = [],
): Work {
  const node = Array.from({ length: times }, (_, i) => ({
    opType,
    name: `${opType}${i}`,
    input: [i === 0 ? 'x' : `y${i - 1}`, 'w'],
    output: [`y${i}`],
    attribute,
  }))
  const model = encodeModel(
    create(ModelSchema, {
      irVersion: 8n,
      opsetImport: [{ domain: '', version: 13n }],
      graph: {
        name: opType,
        node: [...node, { opType: 'ReduceMax', name: 'end', input: [`y${times - 1}`], output: ['end'] }],
        initializer: [filled('w', weightShape)],
        input: [port('x', shape)],
        output: [
          port(
            'end',
            shape.map(() => 1),
          ),
        ],
      },
    }),
  )
  return { model, input: { name: 'x', dtype: 'float32', shape } }
}

/** Weights that are no zeros, and make no denormals or infinities of what they meet: some CPUs are slow or quick with those. */
function filled(name: string, shape: readonly number[]): MessageInitShape<typeof TensorValueSchema> {
  const values = Float32Array.from({ length: elementCount(shape) }, (_, i) => (((i * 37) % 101) / 101 - 0.5) / 8)
  return { name, dims: shape.map(BigInt), dataType: float32, rawData: new Uint8Array(values.buffer) }
}

function port(name: string, shape: readonly number[]): MessageInitShape<typeof ValueSchema> {
  const dim = shape.map((size) => ({ size: { case: 'value' as const, value: BigInt(size) } }))
  return { name, type: { kind: { case: 'tensor', value: { elemType: float32, shape: { dim } } } } }
}
