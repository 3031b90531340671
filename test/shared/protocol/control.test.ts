import * as fc from 'fast-check'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { encodeCanonical } from '#shared/cbor.js'
import { Refusal } from '#shared/errors.js'
import { controlType, decodeControl, encodeControl, type Control } from '#shared/protocol/control.js'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const uint = fc.maxSafeNat()
const epoch = fc.nat(0xffffffff)
const requests = fc.array(fc.tuple(bytes(16), bytes(8), fc.array(uint, { maxLength: 20 })), { maxLength: 5 })

const message: fc.Arbitrary<Control> = fc.oneof(
  fc.tuple(
    fc.constant(controlType.seed),
    epoch,
    uint,
    bytes(32),
    fc.array(fc.tuple(bytes(16), bytes(32)), { maxLength: 80 }),
  ),
  fc.tuple(fc.constant(controlType.dek), fc.string({ maxLength: 64 }), uint, bytes(32), bytes(32)),
  fc.tuple(fc.constant(controlType.ratchet), bytes(16), uint),
  fc.tuple(
    fc.constant(controlType.root),
    bytes(16),
    bytes(8),
    bytes(8),
    epoch,
    fc.nat(0xffff),
    fc.constantFrom(1 as const, 2 as const),
    bytes(32),
    bytes(32),
  ),
  fc.tuple(fc.constant(controlType.hello), bytes(8), uint),
  fc.tuple(fc.constant(controlType.flow), uint, uint, uint, requests),
  fc.tuple(fc.constant(controlType.relay), fc.string({ maxLength: 255 }), fc.nat(65535), bytes(32)),
  fc.tuple(fc.constant(controlType.probe), uint, fc.uint8Array({ maxLength: 100 })),
  fc.tuple(fc.constant(controlType.echo), uint, uint),
)

t.test('decoding inverts encoding, for every type', (t) => {
  const seen = new Set<number>()
  fc.assert(
    fc.property(message, (message) => {
      seen.add(message[0])
      return isDeepStrictEqual(decodeControl(encodeControl(message)), message)
    }),
    { numRuns: 300 },
  )
  t.equal(seen.size, Object.keys(controlType).length)
  t.end()
})

t.test('a field less, a field more, or a field of another kind is refused', (t) => {
  fc.assert(
    fc.property(message, fc.nat(8), fc.constantFrom('drop', 'add', 'change'), (message, at, how) => {
      const fields: unknown[] = [...message]
      const place = at % fields.length
      if (how === 'drop') fields.splice(place, 1)
      else if (how === 'add') fields.push(0)
      else fields[place] = fields[place] instanceof Uint8Array ? 'text' : new Uint8Array(3)
      try {
        decodeControl(encodeCanonical(fields))
        return false
      } catch (error) {
        return error instanceof Refusal && error.code === 'bad-message'
      }
    }),
    { numRuns: 300 },
  )
  t.pass('no counterexample')
  t.end()
})

t.test('values past their limits are refused', (t) => {
  const b = (length: number): Uint8Array => new Uint8Array(length)
  const wrong: unknown[] = [
    [controlType.flow, -1, 1, 1, []],
    [controlType.flow, 1.5, 1, 1, []],
    [controlType.flow, 2n ** 60n, 1, 1, []],
    [controlType.flow, 1, 1, 1, [[b(16), b(8), Array.from({ length: 1025 }, (_, i) => i)]]],
    [controlType.flow, 1, 1, 1, Array.from({ length: 257 }, () => [b(16), b(8), []])],
    [controlType.flow, 1, 1, 1, [[b(15), b(8), []]]],
    [controlType.hello, b(7), 0],
    [controlType.root, b(16), b(8), b(8), 2 ** 32, 0, 1, b(32), b(32)],
    [controlType.root, b(16), b(8), b(8), 0, 2 ** 16, 1, b(32), b(32)],
    [controlType.root, b(16), b(8), b(8), 0, 0, 3, b(32), b(32)],
    [controlType.dek, 'x'.repeat(65), 1, b(32), b(32)],
    [controlType.relay, 'h', 65536, b(32)],
    [controlType.seed, 1, 1, b(32), Array.from({ length: 81 }, () => [b(16), b(32)])],
    [99],
    ['65', b(8), 0],
    [],
    { 0: controlType.hello },
    controlType.hello,
    null,
  ]
  for (const value of wrong) t.throws(() => decodeControl(encodeCanonical(value)), { code: 'bad-message' })
  t.end()
})

t.test('whatever bytes come, only a refusal is thrown', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        decodeControl(bytes)
      } catch (error) {
        return error instanceof Refusal
      }
      return true
    }),
    { numRuns: 2000 },
  )
  t.pass('no counterexample')
  t.end()
})
