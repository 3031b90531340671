/**
 * The inference engine behind an interface: ONNX Runtime, one thread, sequential, so that equal graphs give equal bits.
 * The only file that knows `onnxruntime-node`, which is loaded on first use (a program that runs no model pays nothing).
 */

import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node'
import { Refusal, reasonOf, type RefusalCode } from '../errors.js'
import { isDtype, itemBytes, type Dtype, type Tensor } from './tensor.js'

/**
 * The official binaries tell their maker of every session: names, shapes and hashes of models. Here they tell nobody. The
 * library looks once, when it is loaded, into the process's environment, of which a worker thread has only a copy: so this
 * stands where the main thread passes before it starts one.
 */
process.env['ORT_DISABLE_TELEMETRY'] = '1'

/** How far the engine rewrites a graph before running it. Cut graphs run at 'disabled', or bits move. */
export const levels = ['disabled', 'basic', 'extended', 'all'] as const
export type Level = (typeof levels)[number]

export type Feeds = Readonly<Record<string, Tensor>>

/** What the engine says of an input or output before it runs; unknown dimensions are strings, perhaps empty. */
export interface ValueInfo {
  /** Absent where the value is no tensor (a sequence, an optional) or of a type that may not cross. */
  readonly dtype?: Dtype
  /** `[]` for a scalar and for an unknown rank. */
  readonly shape: readonly (number | string)[]
}

export interface EngineSession {
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly inputInfo: Readonly<Record<string, ValueInfo>>
  readonly outputInfo: Readonly<Record<string, ValueInfo>>
  /**
   * Runs once, blocking this thread meanwhile. Inputs are read in place: leave their bytes alone until it settles.
   * Throws `Refusal('bad-tensor')` for feeds that do not fit and `Refusal('bad-model')` where a node fails.
   */
  run(feeds: Feeds, fetches?: readonly string[]): Promise<Record<string, Tensor>>
  /** Frees the engine's memory; writes the profile, if one was asked for. */
  release(): Promise<void>
}

export interface Engine {
  readonly version: string
  /**
   * Loads a model from bytes, which may be wiped afterwards. `optimizedModelPath`: where to save the graph as optimised.
   * `profilePrefix`: beginning of the path of the profile that `release` writes.
   * Throws `Refusal('bad-model' | 'unsupported-op' | 'unsupported-dtype')` with the engine's own words.
   */
  create(
    model: Uint8Array,
    options: { level: Level; optimizedModelPath?: string; profilePrefix?: string },
  ): Promise<EngineSession>
}

/** ONNX Runtime. Throws `Refusal('bad-config')` where this platform has no binary of it. */
export async function loadEngine(): Promise<Engine> {
  const ort = await import('onnxruntime-node').catch((error: unknown) => {
    throw new Refusal(
      'bad-config',
      `ONNX Runtime cannot be loaded on ${process.platform}-${process.arch}: ${reasonOf(error)}`,
      { cause: error },
    )
  })
  return {
    version: ort.env.versions.node ?? ort.env.versions.common,
    async create(model, { level, optimizedModelPath, profilePrefix }) {
      const options: InferenceSession.SessionOptions = {
        executionProviders: ['cpu'],
        graphOptimizationLevel: level,
        executionMode: 'sequential',
        intraOpNumThreads: 1,
        interOpNumThreads: 1,
        logSeverityLevel: 4, // fatal only: every error is thrown as well
        // x64 CPUs without VNNI saturate sums of uint8 x int8 products, silently: seen to cost 3 % of accuracy. This has
        // the optimiser turn int8 weights into uint8 there; it does nothing on other CPUs.
        extra: { session: { x64quantprecision: '1' } },
        ...(optimizedModelPath !== undefined && { optimizedModelFilePath: optimizedModelPath }),
        ...(profilePrefix !== undefined && { enableProfiling: true, profileFilePrefix: profilePrefix }),
      }
      try {
        const session = await ort.InferenceSession.create(unshared(model), options)
        return wrap(session, ort.Tensor, profilePrefix !== undefined)
      } catch (error) {
        throw refusalOf(error, 'ONNX Runtime refuses the model')
      }
    },
  }
}

function wrap(session: InferenceSession, TensorClass: typeof OrtTensor, profiled: boolean): EngineSession {
  const infoOf = (metadata: readonly InferenceSession.ValueMetadata[]): Record<string, ValueInfo> =>
    Object.fromEntries(metadata.map((value) => [value.name, valueInfo(value)]))
  return {
    inputs: session.inputNames,
    outputs: session.outputNames,
    inputInfo: infoOf(session.inputMetadata),
    outputInfo: infoOf(session.outputMetadata),
    async run(feeds, fetches) {
      try {
        const given: Record<string, OrtTensor> = {}
        for (const [name, tensor] of Object.entries(feeds)) given[name] = toOrt(TensorClass, tensor)
        const got = await (fetches === undefined ? session.run(given) : session.run(given, fetches))
        return Object.fromEntries(Object.entries(got).map(([name, tensor]) => [name, fromOrt(name, tensor)]))
      } catch (error) {
        throw refusalOf(error, 'ONNX Runtime cannot run the model')
      }
    },
    async release() {
      if (profiled) session.endProfiling()
      await session.release()
    },
  }
}

function valueInfo(value: InferenceSession.ValueMetadata): ValueInfo {
  if (!value.isTensor) return { shape: [] }
  return isDtype(value.type) ? { dtype: value.type, shape: value.shape } : { shape: value.shape }
}

type OrtArray = NodeJS.TypedArray<ArrayBuffer>
type ArrayMaker = new (buffer: ArrayBuffer, offset: number, length: number) => OrtArray

const arrays: Record<Exclude<Dtype, 'string'>, ArrayMaker> = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, int8: Int8Array, int16: Int16Array, int32: Int32Array,
  int64: BigInt64Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array, bool: Uint8Array,
} // prettier-ignore

/** A view of the bytes where they lie aligned, else of a copy. */
function toOrt(TensorClass: typeof OrtTensor, { dtype, shape, data }: Tensor): OrtTensor {
  // The class has one overload per type; the table above has already matched array and type.
  const Make = TensorClass as unknown as new (
    type: string,
    data: OrtArray | readonly string[],
    dims: readonly number[],
  ) => OrtTensor
  if (dtype === 'string' || !(data instanceof Uint8Array)) return new Make(dtype, data as readonly string[], shape)
  const size = itemBytes[dtype]
  const plain = unshared(data)
  const bytes = plain.byteOffset % size === 0 ? plain : Uint8Array.from(plain)
  return new Make(dtype, new arrays[dtype](bytes.buffer, bytes.byteOffset, Math.floor(bytes.byteLength / size)), shape)
}

function fromOrt(name: string, tensor: OrtTensor): Tensor {
  const { type, dims, data } = tensor
  if (!isDtype(type))
    throw new Refusal('unsupported-dtype', `output '${name}' is ${type}, which may not leave the engine`)
  if (Array.isArray(data)) return { dtype: type, shape: dims, data }
  const { buffer, byteOffset, byteLength } = data as OrtArray
  return { dtype: type, shape: dims, data: new Uint8Array(buffer, byteOffset, byteLength) }
}

/** ONNX Runtime refuses bytes that lie in a SharedArrayBuffer. */
function unshared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : Uint8Array.from(bytes)
}

/** Which refusal the engine's words amount to; the first that matches. */
const meanings: readonly (readonly [RegExp, RefusalCode])[] = [
  [
    /No Op registered|is not a registered function|No opset import|under development|implementation for/i,
    'unsupported-op',
  ],
  [/Unsupported data type|data type .*not supported/i, 'unsupported-dtype'],
  [
    /invalid dimensions|Invalid rank for input|Unexpected input data type|is missing in 'feeds'|Tensor's size/i,
    'bad-tensor',
  ],
]

function refusalOf(error: unknown, what: string): Refusal {
  if (error instanceof Refusal) return error
  // A message may open with "/source/file.cc:12 void signature(args) ", which helps nobody here.
  const words = reasonOf(error)
    .replace(/^\S+\.(?:cc|cpp|h):\d+ .*?\)(?: const)? (?=\S)/, '')
    .replace(/\s+/g, ' ')
    .trim()
  const code = meanings.find(([pattern]) => pattern.test(words))?.[1] ?? 'bad-model'
  return new Refusal(code, `${what}: ${words}`, { cause: error })
}
