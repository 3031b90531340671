/**
 * The plaintext of a frame of purpose 1: one request's tensors on their way from stage to stage, as plain msgpack that any
 * language reads: `{meta: {…}, pad: bin, body: bin}`. All tensors lie in `body` at 16-byte offsets, and `pad` puts the body
 * itself on one, so that where the plaintext is aligned every tensor is a view of it.
 */

import { lengthOf } from '../bytes.js'
import { Refusal, shown } from '../errors.js'
import { type DeviceId, deviceIdOf, idBytes } from '../ids.js'
import { frameOverhead, maxFrameBytes } from './frame.js'
import { alignment, prefixOf, sectionsOf } from './sections.js'
import { checkTensor, itemBytes, maxTensors, type WireTensor } from './wire-tensor.js'

export type { WireTensor } from './wire-tensor.js'

/** What one stage spent on the request, in whole microseconds (fractions are rounded when encoded). */
export interface Hop {
  readonly stage: number
  readonly queuedUs: number
  readonly computeUs: number
  readonly sealUs: number
}

export interface Activation {
  /** The plan epoch whose stages are meant. */
  readonly plan: number
  readonly client: DeviceId
  /** 8 bytes: the client's bootId; with `request` it names the request for good. */
  readonly run: Uint8Array
  /** From 0, below 2^48. */
  readonly request: number
  /** The lowest request id not yet settled: all below are done and may be forgotten. */
  readonly low: number
  /** The stage that is to take it; the number of stages for a result. */
  readonly stage: number
  readonly hops: readonly Hop[]
  readonly tensors: readonly WireTensor[]
  /** Why there is no result; the tensors are then of no account. Encoding cuts overlong texts. */
  readonly failure?: { readonly code: string; readonly message: string }
}

export const maxHops = 256
export const maxFailureCodeChars = 64
export const maxFailureMessageChars = 1024

const format = 1
const runBytes = 8
const maxInteger = 2 ** 48 - 1
const zeros = new Uint8Array(alignment)

/**
 * The plaintext in parts, tensors uncopied between them: do not change a tensor before the parts are used.
 * Throws `Refusal('bad-tensor')` for a tensor that a decoder would refuse, `Refusal('over-limit')` for too much of it,
 * `Refusal('bad-message')` for other fields out of range.
 */
export function encodeActivation(activation: Activation): Uint8Array[] {
  const body: Uint8Array[] = []
  let bodyLength = 0
  const tensors = activation.tensors.map(({ name, dtype, shape, data }) => {
    checkTensor(name, dtype, shape, data.length)
    if ((dtype === 'string') === data instanceof Uint8Array) {
      throw new Refusal('bad-tensor', `tensor '${name}' of type ${dtype} does not hold its data as that type is held`)
    }
    if (!(data instanceof Uint8Array)) return { n: name, d: dtype, s: shape, x: data }
    const padding = -bodyLength & (alignment - 1)
    if (padding > 0 && data.length > 0) body.push(zeros.subarray(0, padding))
    const offset = data.length > 0 ? bodyLength + padding : 0
    if (data.length > 0) {
      body.push(data)
      bodyLength = offset + data.length
    }
    return { n: name, d: dtype, s: shape, o: offset, l: data.length }
  })
  const parts = [prefixOf(metaOf(activation, tensors), bodyLength), ...body]
  const length = lengthOf(parts)
  if (length > maxFrameBytes - frameOverhead) {
    throw new Refusal(
      'over-limit',
      `tensors of ${length} bytes do not fit a frame of ${maxFrameBytes}: cut the model elsewhere`,
    )
  }
  return parts
}

function metaOf(activation: Activation, tensors: readonly object[]): object {
  const { plan, client, run, request, low, stage, hops, failure } = activation
  if (run.length !== runBytes) throw bad(`a run of ${run.length} bytes`)
  if (hops.length > maxHops) throw bad(`${hops.length} hops`)
  if (tensors.length > maxTensors) throw tooMany(tensors.length)
  return {
    v: format,
    plan: wide(integer(plan, 'plan')),
    client: idBytes(client),
    run,
    request: wide(integer(request, 'request')),
    low: wide(integer(low, 'low')),
    stage: wide(integer(stage, 'stage')),
    hops: hops.map(({ stage, queuedUs, computeUs, sealUs }) =>
      [stage, queuedUs, computeUs, sealUs].map((value) => wide(integer(Math.round(value), 'hop'))),
    ),
    tensors,
    ...(failure !== undefined && {
      failure: {
        code: failure.code.slice(0, maxFailureCodeChars),
        message: failure.message.slice(0, maxFailureMessageChars),
      },
    }),
  }
}

/**
 * The activation in a plaintext, tensors as views of it (copied only where misaligned for their type: never when the
 * plaintext's `byteOffset` is a multiple of 16). Throws `Refusal('bad-message')` or `Refusal('bad-tensor')`, nothing else.
 */
export function decodeActivation(plaintext: Uint8Array): Activation {
  const { meta, body } = sectionsOf(plaintext)
  const { v, plan, client, run, request, low, stage, hops, tensors, failure, ...unknown } = meta
  if (v !== format) throw bad(`format ${shown(v)}`)
  if (Object.keys(unknown).length > 0) throw bad(`an unknown field '${shown(Object.keys(unknown)[0])}'`)
  if (!(client instanceof Uint8Array && client.length === 16)) throw bad('no client id of 16 bytes')
  if (!(run instanceof Uint8Array && run.length === runBytes)) throw bad(`no run of ${runBytes} bytes`)
  if (!Array.isArray(hops) || hops.length > maxHops) throw bad(`hops that are no list of at most ${maxHops}`)
  if (!Array.isArray(tensors)) throw bad('tensors that are no list')
  if (tensors.length > maxTensors) throw tooMany(tensors.length)
  return {
    plan: integer(plan, 'plan'),
    client: deviceIdOf(client),
    // A copy: the plaintext may be handed to another thread while the request is still being tracked by this.
    run: Uint8Array.from(run),
    request: integer(request, 'request'),
    low: integer(low, 'low'),
    stage: integer(stage, 'stage'),
    hops: hops.map(hopOf),
    tensors: tensorsOf(tensors, body),
    ...(failure !== undefined && { failure: failureOf(failure) }),
  }
}

function hopOf(hop: unknown): Hop {
  if (!Array.isArray(hop) || hop.length !== 4) throw bad('a hop that is not four numbers')
  const [stage, queuedUs, computeUs, sealUs] = hop.map((value: unknown) => integer(value, 'hop'))
  return { stage: stage!, queuedUs: queuedUs!, computeUs: computeUs!, sealUs: sealUs! }
}

function failureOf(failure: unknown): { code: string; message: string } {
  if (typeof failure !== 'object' || failure === null) throw bad('a failure that is no map')
  const { code, message, ...unknown } = failure as Record<string, unknown>
  if (typeof code !== 'string' || code.length > maxFailureCodeChars) throw bad('a failure without its code')
  if (typeof message !== 'string' || message.length > maxFailureMessageChars) throw bad('a failure without its message')
  if (Object.keys(unknown).length > 0) throw bad('a failure with an unknown field')
  return { code, message }
}

function tensorsOf(entries: readonly unknown[], body: Uint8Array): WireTensor[] {
  const names = new Set<string>()
  let end = 0
  return entries.map((entry) => {
    if (typeof entry !== 'object' || entry === null) throw badTensor('is no map')
    const {
      n: name,
      d: dtype,
      s: shape,
      o: offset,
      l: length,
      x: strings,
      ...unknown
    } = entry as Record<string, unknown>
    if (typeof name !== 'string' || typeof dtype !== 'string' || Object.keys(unknown).length > 0) {
      throw badTensor('is not described by name, type, shape and place')
    }
    if (names.has(name)) throw badTensor(`has a name that another has: '${shown(name)}'`)
    names.add(name)
    if (!Array.isArray(shape) || !shape.every((dimension) => typeof dimension === 'number')) {
      throw badTensor(`'${shown(name)}' has no shape`)
    }
    if (dtype === 'string') {
      if (!Array.isArray(strings) || !strings.every((text) => typeof text === 'string')) {
        throw badTensor(`'${shown(name)}' has no strings`)
      }
      if (offset !== undefined || length !== undefined) throw badTensor(`'${shown(name)}' has strings and bytes`)
      checkTensor(name, dtype, shape, strings.length)
      return { name, dtype, shape, data: strings }
    }
    if (strings !== undefined || typeof offset !== 'number' || typeof length !== 'number') {
      throw badTensor(`'${shown(name)}' has no place in the body`)
    }
    checkTensor(name, dtype, shape, length)
    if (length === 0) return { name, dtype, shape, data: new Uint8Array(0) }
    // In order and apart, so that no byte serves two tensors.
    if (!(Number.isInteger(offset) && offset >= end && offset % alignment === 0 && offset + length <= body.length)) {
      throw badTensor(`'${shown(name)}' lies outside the body, over another, or between 16-byte offsets`)
    }
    end = offset + length
    return { name, dtype, shape, data: aligned(body.subarray(offset, end), itemBytes.get(dtype) ?? 1) }
  })
}

function aligned(bytes: Uint8Array, itemBytes: number): Uint8Array {
  return bytes.byteOffset % itemBytes === 0 ? bytes : Uint8Array.from(bytes)
}

function integer(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= maxInteger) return value
  throw bad(`a ${what} that is no whole number below 2^48`)
}

/** msgpackr writes numbers of more than 32 bits as floats, bigints as integers. */
function wide(value: number): number | bigint {
  return value > 0xffff_ffff ? BigInt(value) : value
}

function bad(what: string): Refusal {
  return new Refusal('bad-message', `an activation has ${what}`)
}

function badTensor(what: string): Refusal {
  return new Refusal('bad-tensor', `a tensor of an activation ${what}`)
}

function tooMany(tensors: number): Refusal {
  return new Refusal('bad-tensor', `an activation has ${tensors} tensors, the limit is ${maxTensors}`)
}
