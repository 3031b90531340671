import * as fc from 'fast-check'
import { Packr, unpack } from 'msgpackr'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { concat, toHex } from '#shared/bytes.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { frameOverhead, maxFrameBytes } from '#shared/protocol/frame.js'
import {
  type Activation,
  decodeActivation,
  encodeActivation,
  maxHops,
  type WireTensor,
} from '#shared/protocol/tensors.js'
import { maxMetaBytes } from '#shared/protocol/sections.js'
import { itemBytes, maxNameChars, maxRank, maxTensors } from '#shared/protocol/wire-tensor.js'

const client: DeviceId = 'd000102030405060708090a0b0c0d0e0f'
const small: Activation = {
  plan: 3,
  client,
  run: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
  request: 41,
  low: 40,
  stage: 1,
  hops: [{ stage: 0, queuedUs: 10, computeUs: 20, sealUs: 30 }],
  tensors: [
    { name: 'features', dtype: 'float32', shape: [1, 3], data: new Uint8Array(12).fill(1) },
    { name: 'labels', dtype: 'string', shape: [2], data: ['cat', 'naïve 🐕'] },
    { name: 'ids', dtype: 'int64', shape: [], data: new Uint8Array(8).fill(2) },
  ],
}

const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true })
const integer = fc.oneof(fc.nat(200), fc.nat(2 ** 48 - 1))
const shape = fc.array(fc.nat(4), { maxLength: 4 })
const tensorData = fc.tuple(fc.constantFrom(...itemBytes.keys(), 'string'), shape).chain(([dtype, shape]) => {
  const elements = shape.reduce((product, dimension) => product * dimension, 1)
  const bytes = (itemBytes.get(dtype) ?? 0) * elements
  const data =
    dtype === 'string'
      ? fc.array(fc.string({ unit: 'grapheme' }), { minLength: elements, maxLength: elements })
      : fc.uint8Array({ minLength: bytes, maxLength: bytes })
  return data.map((data) => ({ dtype, shape, data }))
})
const activations: fc.Arbitrary<Activation> = fc
  .record({
    plan: integer,
    client: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes): DeviceId => `d${toHex(bytes)}`),
    run: fc.uint8Array({ minLength: 8, maxLength: 8 }),
    request: integer,
    low: integer,
    stage: integer,
    hops: fc.array(plain({ stage: integer, queuedUs: integer, computeUs: integer, sealUs: integer }), {
      maxLength: 4,
    }),
    named: fc.uniqueArray(fc.tuple(fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' }), tensorData), {
      maxLength: 6,
      selector: ([name]) => name,
    }),
    failure: fc.option(plain({ code: fc.string({ maxLength: 64 }), message: fc.string() }), { nil: undefined }),
  })
  .map(({ named, failure, ...rest }) => ({
    ...rest,
    tensors: named.map(([name, tensor]): WireTensor => ({ name, ...tensor })),
    ...(failure !== undefined && { failure }),
  }))

const encoded = (activation: Activation): Uint8Array => concat(encodeActivation(activation))

t.test('decoding inverts encoding, at any place in a larger buffer', (t) => {
  fc.assert(
    fc.property(activations, fc.nat(16), (activation, at) => {
      const bytes = encoded(activation)
      const pooled = new Uint8Array(bytes.length + at)
      pooled.set(bytes, at)
      return isDeepStrictEqual(decodeActivation(pooled.subarray(at)), activation)
    }),
    { numRuns: 300 },
  )
  t.pass('no counterexample')
  t.end()
})

t.test('tensor bytes go into the parts and come out of the plaintext without a copy', (t) => {
  const parts = encodeActivation(small)
  const [features, , ids] = small.tensors
  t.ok(parts.includes(features!.data as Uint8Array))
  t.ok(parts.includes(ids!.data as Uint8Array))
  const plaintext = concat(parts)
  for (const { data, name } of decodeActivation(plaintext).tensors) {
    if (!(data instanceof Uint8Array)) continue
    t.equal(data.buffer, plaintext.buffer, `${name} is a view`)
    t.equal(data.byteOffset % 16, 0, `${name} is aligned`)
  }
  t.end()
})

t.test('a tensor is copied only where it is misaligned for its type', (t) => {
  const plaintext = encoded({
    ...small,
    tensors: ['uint8', 'float16', 'float32', 'float64'].map((dtype) => {
      const data = new Uint8Array(itemBytes.get(dtype)!)
      return { name: dtype, dtype, shape: [1], data }
    }),
  })
  const pooled = new Uint8Array(plaintext.length + 4)
  pooled.set(plaintext, 4)
  const views = decodeActivation(pooled.subarray(4)).tensors.map(
    ({ data }) => (data as Uint8Array).buffer === pooled.buffer,
  )
  t.strictSame(views, [true, true, true, false])
  t.end()
})

t.test('the run outlives the plaintext, which may be transferred', (t) => {
  const plaintext = encoded(small)
  const { run } = decodeActivation(plaintext)
  structuredClone(plaintext, { transfer: [plaintext.buffer as ArrayBuffer] })
  t.strictSame([...run], [...small.run])
  t.end()
})

t.test('the plaintext is plain msgpack, which a decoder without our options reads', (t) => {
  const request = 2 ** 40 + 1
  const bytes = encoded({ ...small, request })
  const read = unpack(bytes) as { meta: Record<string, unknown>; pad: Uint8Array; body: Uint8Array }
  t.strictSame(Object.keys(read), ['meta', 'pad', 'body'])
  t.equal(read.meta['request'], BigInt(request), 'large numbers are integers')
  t.equal(bytes.length - read.body.length, Math.ceil((bytes.length - read.body.length) / 16) * 16)
  const [features, labels, ids] = read.meta['tensors'] as Record<string, unknown>[]
  t.strictSame(features, { n: 'features', d: 'float32', s: [1, 3], o: 0, l: 12 })
  t.strictSame(labels, { n: 'labels', d: 'string', s: [2], x: ['cat', 'naïve 🐕'] })
  t.strictSame(ids, { n: 'ids', d: 'int64', s: [], o: 16, l: 8 })
  t.equal(toHex(read.body.subarray(16, 24)), '02'.repeat(8))
  t.end()
})

t.test('what a foreign encoder writes in other widths is read as well', (t) => {
  const { meta, body } = unpack(encoded(small)) as { meta: object; body: Uint8Array }
  for (const variableMapSize of [true, false]) {
    const packr = new Packr({ useRecords: false, moreTypes: false, variableMapSize })
    const bytes = Uint8Array.from(packr.pack({ meta, pad: new Uint8Array(3), body }))
    t.strictSame(decodeActivation(bytes), small)
  }
  t.end()
})

t.test('times are rounded to whole microseconds, overlong failures cut', (t) => {
  const { hops, failure } = decodeActivation(
    encoded({
      ...small,
      hops: [{ stage: 0, queuedUs: 1.5, computeUs: 0.2, sealUs: 7.7 }],
      failure: { code: 'c'.repeat(100), message: 'm'.repeat(2000) },
    }),
  )
  t.strictSame(hops, [{ stage: 0, queuedUs: 2, computeUs: 0, sealUs: 8 }])
  t.equal(failure?.code.length, 64)
  t.equal(failure?.message.length, 1024)
  t.end()
})

const tensor = (changes: Partial<WireTensor>): Activation => ({
  ...small,
  tensors: [{ ...small.tensors[0]!, ...changes }],
})
const many = (count: number): WireTensor[] =>
  Array.from({ length: count }, (_, i) => ({ name: `t${i}`, dtype: 'bool', shape: [], data: new Uint8Array(1) }))

const unsendable: Record<string, [Activation, string]> = {
  'an unknown type': [tensor({ dtype: 'int4' }), 'bad-tensor'],
  'a type by the name of a property of objects': [tensor({ dtype: 'constructor' }), 'bad-tensor'],
  'a shape that needs more bytes': [tensor({ shape: [4] }), 'bad-tensor'],
  'a shape that needs fewer bytes': [tensor({ shape: [2] }), 'bad-tensor'],
  'a negative axis': [tensor({ shape: [-1, -3] }), 'bad-tensor'],
  'half an axis': [tensor({ shape: [1.5, 2] }), 'bad-tensor'],
  'an axis past all memory': [tensor({ shape: [0, 2 ** 40], data: new Uint8Array(0) }), 'bad-tensor'],
  'a shape whose product is past all precision': [
    tensor({ shape: Array.from({ length: 16 }, () => 2 ** 31 - 1) }),
    'bad-tensor',
  ],
  'too many axes': [tensor({ shape: [...Array.from({ length: maxRank }, () => 1), 3] }), 'bad-tensor'],
  'no name': [tensor({ name: '' }), 'bad-tensor'],
  'a name too long': [tensor({ name: 'n'.repeat(maxNameChars + 1) }), 'bad-tensor'],
  'numbers that are strings': [tensor({ data: Array.from({ length: 12 }, () => 'x') }), 'bad-tensor'],
  'strings that are bytes': [tensor({ dtype: 'string', shape: [12] }), 'bad-tensor'],
  'too many tensors': [{ ...small, tensors: many(maxTensors + 1) }, 'bad-tensor'],
  'too many hops': [{ ...small, hops: Array.from({ length: maxHops + 1 }, () => small.hops[0]!) }, 'bad-message'],
  'a run that is not 8 bytes': [{ ...small, run: new Uint8Array(7) }, 'bad-message'],
  'a client that is none': [{ ...small, client: 'd00' }, 'bad-message'],
  'a request past 48 bits': [{ ...small, request: 2 ** 48 }, 'bad-message'],
  'a negative low': [{ ...small, low: -1 }, 'bad-message'],
  'a stage that is no number': [{ ...small, stage: Number.NaN }, 'bad-message'],
  'a hop of negative time': [{ ...small, hops: [{ stage: 0, queuedUs: -5, computeUs: 0, sealUs: 0 }] }, 'bad-message'],
  'more strings than a frame describes': [
    tensor({ dtype: 'string', shape: [1], data: ['x'.repeat(maxMetaBytes)] }),
    'over-limit',
  ],
  'more bytes than a frame holds': [
    tensor({
      dtype: 'uint8',
      shape: [maxFrameBytes - frameOverhead],
      data: new Uint8Array(maxFrameBytes - frameOverhead),
    }),
    'over-limit',
  ],
}
for (const [what, [activation, code]] of Object.entries(unsendable)) {
  t.test(`${what} is not sent`, (t) => {
    t.throws(() => encodeActivation(activation), { code })
    t.end()
  })
}

t.test('the limits themselves are within the limits', (t) => {
  const widest: Activation = {
    ...small,
    hops: Array.from({ length: maxHops }, () => small.hops[0]!),
    tensors: [
      ...many(maxTensors - 1),
      {
        name: 'n'.repeat(maxNameChars),
        dtype: 'bool',
        shape: Array.from({ length: maxRank }, () => 1),
        data: new Uint8Array(1),
      },
    ],
  }
  t.strictSame(decodeActivation(encoded(widest)), widest)
  t.end()
})

// Frames of a sender that is authenticated but wrong: made with the same msgpack, one thing changed.
const packr = new Packr({ useRecords: false, moreTypes: false })
type Meta = Record<string, unknown> & { tensors: Record<string, unknown>[] }
const remade = (change: (meta: Meta) => unknown, rest: object = {}): Uint8Array => {
  const { meta, pad, body } = unpack(encoded(small)) as { meta: Meta; pad: Uint8Array; body: Uint8Array }
  change(meta)
  return Uint8Array.from(packr.pack({ meta, pad, body, ...rest }))
}
const patched = (index: number, fields: object): Uint8Array =>
  remade((meta) => Object.assign(meta.tensors[index]!, fields))
const unreadable: Record<string, [Uint8Array, string]> = {
  'another version': [remade((meta) => (meta['v'] = 2)), 'bad-message'],
  'a version that is an object with a false toString': [remade((meta) => (meta['v'] = { toString: 1 })), 'bad-message'],
  'an unknown field': [remade((meta) => (meta['extra'] = 1)), 'bad-message'],
  'a client of 15 bytes': [remade((meta) => (meta['client'] = new Uint8Array(15))), 'bad-message'],
  'a run that is text': [remade((meta) => (meta['run'] = '12345678')), 'bad-message'],
  'no plan': [remade((meta) => delete meta['plan']), 'bad-message'],
  'a request of 49 bits': [remade((meta) => (meta['request'] = 2n ** 48n)), 'bad-message'],
  'a fraction of a stage': [remade((meta) => (meta['stage'] = 0.5)), 'bad-message'],
  'hops that are a map': [remade((meta) => (meta['hops'] = {})), 'bad-message'],
  'a hop of three numbers': [remade((meta) => (meta['hops'] = [[1, 2, 3]])), 'bad-message'],
  'too many hops': [remade((meta) => (meta['hops'] = Array.from({ length: 257 }, () => [0, 0, 0, 0]))), 'bad-message'],
  'a failure without a message': [remade((meta) => (meta['failure'] = { code: 'x' })), 'bad-message'],
  'a failure with more in it': [remade((meta) => (meta['failure'] = { code: 'x', message: 'y', z: 1 })), 'bad-message'],
  'a failure too long': [remade((meta) => (meta['failure'] = { code: 'x', message: 'y'.repeat(1025) })), 'bad-message'],
  'tensors that are a map': [remade((meta) => ((meta as Record<string, unknown>)['tensors'] = {})), 'bad-message'],
  'a tensor that is a number': [remade((meta) => (meta['tensors'] = [7 as never])), 'bad-tensor'],
  'too many tensors': [remade((meta) => (meta['tensors'] = Array.from({ length: 1025 }, () => ({})))), 'bad-tensor'],
  'the same name twice': [patched(2, { n: 'features' }), 'bad-tensor'],
  'an unknown type': [patched(0, { d: 'bfloat16' }), 'bad-tensor'],
  'a shape that is text': [patched(0, { s: '13' }), 'bad-tensor'],
  'a shape with text in it': [patched(0, { s: [1, '3'] }), 'bad-tensor'],
  'a length other than the shape': [patched(0, { l: 11 }), 'bad-tensor'],
  'an offset beyond the body': [patched(2, { o: 32 }), 'bad-tensor'],
  'an offset that is misaligned': [patched(2, { o: 12 }), 'bad-tensor'],
  'an offset over another tensor': [patched(2, { o: 0 }), 'bad-tensor'],
  'a negative offset': [patched(0, { o: -16 }), 'bad-tensor'],
  'an endless offset': [patched(0, { o: Number.POSITIVE_INFINITY }), 'bad-tensor'],
  'an offset that is no number': [patched(0, { o: Number.NaN }), 'bad-tensor'],
  'strings beside bytes': [patched(0, { x: [] }), 'bad-tensor'],
  'bytes beside strings': [patched(1, { o: 0, l: 2 }), 'bad-tensor'],
  'strings that are numbers': [patched(1, { x: [1, 2] }), 'bad-tensor'],
  'fewer strings than elements': [patched(1, { x: ['one'] }), 'bad-tensor'],
  'a field unknown to tensors': [patched(0, { q: 1 }), 'bad-tensor'],
  'a fourth section': [remade(() => {}, { more: 1 }), 'bad-message'],
  'a pad of 16 bytes': [remade(() => {}, { pad: new Uint8Array(16) }), 'bad-message'],
  'a pad that is text': [remade(() => {}, { pad: 'pad' }), 'bad-message'],
  'a body that is text': [remade(() => {}, { body: 'body' }), 'bad-message'],
  'meta that is a list': [remade(() => {}, { meta: [] }), 'bad-message'],
  'an extension type in meta': [remade(() => {}, { meta: new Date(0) }), 'bad-message'],
  'a map with keys that are no text': [
    Uint8Array.from(packr.pack({ meta: new Map([[{}, 1]]), pad: new Uint8Array(0), body: new Uint8Array(0) })),
    'bad-message',
  ],
  'something after the body': [concat([encoded(small), Uint8Array.of(0)]), 'bad-message'],
  'a body cut short': [encoded(small).subarray(0, -1), 'bad-message'],
  'no bytes': [new Uint8Array(0), 'bad-message'],
  'another order of sections': [
    Uint8Array.from(packr.pack({ pad: new Uint8Array(0), meta: {}, body: new Uint8Array(0) })),
    'bad-message',
  ],
  'meta nested deeper than the stack': [
    concat([
      Uint8Array.of(0x83, 0xa4),
      Buffer.from('meta'),
      new Uint8Array(1_000_000).fill(0x91),
      Uint8Array.of(1, 0xa3),
      Buffer.from('pad'),
      Uint8Array.of(0xc4, 0, 0xa4),
      Buffer.from('body'),
      Uint8Array.of(0xc4, 0),
    ]),
    'bad-message',
  ],
  'meta above its limit': [remade((meta) => (meta['extra'] = 'x'.repeat(maxMetaBytes))), 'bad-message'],
}
for (const [what, [bytes, code]] of Object.entries(unreadable)) {
  t.test(`${what} is refused`, (t) => {
    t.throws(() => decodeActivation(bytes), { code })
    t.end()
  })
}

t.test('a valid frame with bytes changed, cut or added is read or refused, and nothing else is thrown', (t) => {
  const edit = fc.record({ at: fc.nat(), how: fc.constantFrom('set', 'cut', 'insert'), byte: fc.nat(255) })
  let refused = 0
  fc.assert(
    fc.property(activations, fc.array(edit, { minLength: 1, maxLength: 4 }), (activation, edits) => {
      const bytes = [...encoded(activation)]
      for (const { at, how, byte } of edits) {
        // Half of the edits fall into the first bytes, where the structure is.
        const index = at % (at % 2 === 0 ? Math.min(64, bytes.length) : bytes.length)
        if (how === 'set') bytes[index] = byte
        else if (how === 'cut') bytes.splice(index, 1)
        else bytes.splice(index, 0, byte)
      }
      try {
        decodeActivation(Uint8Array.from(bytes))
      } catch (error) {
        if (!(error instanceof Refusal && ['bad-message', 'bad-tensor'].includes(error.code))) throw error
        refused++
      }
    }),
    { numRuns: 5000 },
  )
  t.ok(refused > 1000, `${refused} refused`)
  t.end()
})

t.test('arbitrary bytes are refused, and nothing else is thrown', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      try {
        decodeActivation(bytes)
        return false
      } catch (error) {
        return error instanceof Refusal && error.code === 'bad-message'
      }
    }),
    { numRuns: 2000 },
  )
  t.pass('no counterexample')
  t.end()
})
