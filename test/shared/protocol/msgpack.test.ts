import * as fc from 'fast-check'
import { pack } from 'msgpackr'
import t from 'tap'
import { concat } from '#shared/bytes.js'
import { endOf } from '#shared/protocol/msgpack.js'
import { hex } from '#test/support/vectors.js'

const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.integer(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.double(),
    fc.string({ maxLength: 300 }),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(fc.string(), tie('value'), { maxKeys: 20, noNullPrototype: true }),
  ),
})).value

t.test('the end of any value is found, whatever follows; a shorter one is refused', (t) => {
  fc.assert(
    fc.property(values, fc.uint8Array({ maxLength: 5 }), fc.nat(), (value, rest, cut) => {
      const bytes = Uint8Array.from(pack(value))
      if (endOf(concat([bytes, rest]), 0) !== bytes.length) return false
      try {
        endOf(bytes.subarray(0, cut % bytes.length), 0)
        return false
      } catch (error) {
        return (error as { code: string }).code === 'bad-message'
      }
    }),
  )
  t.equal(endOf(Uint8Array.from(pack('x'.repeat(70_000))), 0), 70_005)
  t.equal(endOf(Uint8Array.from(pack(new Uint8Array(70_000))), 0), 70_005)
  t.equal(endOf(Uint8Array.from(pack(Array.from({ length: 70_000 }, () => 1))), 0), 70_005)
  t.end()
})

t.test('extension types and the unused byte are refused', (t) => {
  for (const bytes of ['c1', 'c70000', 'c8000000', 'c90000000000', 'd40000', 'd5000000', 'd472ff', 'd6ff00000000']) {
    t.throws(() => endOf(hex(bytes), 0), { code: 'bad-message' }, bytes)
  }
  t.end()
})

t.test('a promise of more values than there are bytes is refused at once', (t) => {
  for (const bytes of ['ddffffffff', 'dfffffffff', 'ddffffffffddffffffff', 'c6ffffffff', 'dbffffffff']) {
    t.throws(() => endOf(concat([hex(bytes), new Uint8Array(100)]), 0), { code: 'bad-message' }, bytes)
  }
  t.end()
})
