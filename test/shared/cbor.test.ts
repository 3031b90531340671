import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import t from 'tap'
import { concat, equal, toHex } from '#shared/bytes.js'
import { decodeCanonical, encodeCanonical } from '#shared/cbor.js'
import { Refusal } from '#shared/errors.js'
import { hex } from '#test/support/vectors.js'

const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.integer(),
    fc.double({ noNaN: true }).filter((number) => !Object.is(number, -0)),
    fc.string(),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(fc.string(), tie('value'), { maxKeys: 5, noNullPrototype: true }),
  ),
})).value

t.test('decoding inverts encoding', (t) => {
  fc.assert(fc.property(values, (value) => isDeepStrictEqual(decodeCanonical(encodeCanonical(value)), value)))
  t.pass('no counterexample')
  t.end()
})

t.test('whatever is accepted re-encodes to the same bytes; all else is refused as a bad message', (t) => {
  let accepted = 0
  const judge = (bytes: Uint8Array): void => {
    try {
      const again = encodeCanonical(decodeCanonical(bytes))
      if (!equal(again, bytes)) throw new Error(`${toHex(bytes)} was accepted, but is ${toHex(again)}`)
      accepted++
    } catch (error) {
      if (!(error instanceof Refusal && error.code === 'bad-message')) throw error
    }
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 12 }), judge), { numRuns: 3000 })
  fc.assert(
    fc.property(values, fc.nat(), fc.nat(255), (value, at, byte) => {
      const bytes = Uint8Array.from(encodeCanonical(value))
      bytes[at % bytes.length] = byte
      judge(bytes)
    }),
    { numRuns: 1000 },
  )
  t.ok(accepted > 100, `${accepted} accepted`)
  t.end()
})

t.test('keys of a map go in the order of their encodings, numbers in their shortest form', (t) => {
  t.equal(toHex(encodeCanonical({ bb: 1, a: 2, c: 3 })), 'a361610261630362626201')
  t.equal(
    toHex(
      encodeCanonical(
        new Map([
          [8, 1],
          [2, 2],
          [-1, 3],
        ]),
      ),
    ),
    'a3020208012003',
  )
  t.equal(toHex(encodeCanonical([1, 24, 256, 65536, 2 ** 32, 1.5])), '860118181901001a000100001b0000000100000000f93e00')
  t.end()
})

const refusals: Record<string, Uint8Array> = {
  'nothing at all': hex(''),
  'an integer in more bytes than it needs': hex('1801'),
  'a text whose length is in more bytes than it needs': hex('780161'),
  'a float that fits a shorter one': hex('fa3fc00000'),
  'an array of indefinite length': hex('9f01ff'),
  'a map with its keys out of order': hex('a2616201616101'),
  'a map with a key twice': hex('a2616101616102'),
  'a map with a key that is no text': hex('a10102'),
  undefined: hex('f7'),
  'a tag': hex('c000'),
  'text that is not UTF-8': hex('61ff'),
  'an array that promises more than there is': hex('9bffffffffffffffff01'),
  'bytes that promise more than there is': hex('5affffffff00'),
  'something after the value': hex('0101'),
  'arrays nested deeper than the stack': concat([new Uint8Array(200_000).fill(0x81), hex('01')]),
}
for (const [what, bytes] of Object.entries(refusals)) {
  t.test(`${what} is refused`, (t) => {
    t.throws(() => decodeCanonical(bytes), { code: 'bad-message' })
    t.end()
  })
}
