import * as fc from 'fast-check'
import t from 'tap'
import { recordLength, RecordReader } from '#device/link/records.js'
import { concat, equal } from '#shared/bytes.js'

const record = (...parts: Uint8Array[]): Uint8Array => concat([recordLength(parts), ...parts])

t.test('records come out as they went in, however the stream is cut', (t) => {
  const records = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 8 })
  fc.assert(
    fc.property(records, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), (records, cuts) => {
      const stream = concat(records.map((bytes) => record(bytes)))
      const got: Uint8Array[] = []
      const reader = new RecordReader(
        () => 40,
        (bytes) => got.push(bytes),
      )
      for (let at = 0, cut = 0; at < stream.length; cut++) {
        const length = cuts[cut % cuts.length]!
        reader.push(stream.subarray(at, at + length))
        at += length
      }
      return got.length === records.length && got.every((bytes, i) => equal(bytes, records[i]!))
    }),
  )
  t.pass('no counterexample')
  t.end()
})

t.test('a record is alone in its memory, which may be handed on', (t) => {
  const got: Uint8Array[] = []
  const reader = new RecordReader(
    () => 100,
    (bytes) => got.push(bytes),
  )
  reader.push(concat([record(Uint8Array.of(1, 2), Uint8Array.of(3)), record(Uint8Array.of(4))]))
  t.strictSame([...got[0]!], [1, 2, 3])
  for (const bytes of got) t.equal(bytes.buffer.byteLength, bytes.length)
  t.end()
})

t.test('a record over the limit, and an empty one, are refused before any memory is taken for them', (t) => {
  let limit = 10
  const reader = (): RecordReader =>
    new RecordReader(
      () => limit,
      () => {},
    )
  t.throws(() => reader().push(recordLength([new Uint8Array(11)])), { code: 'over-limit' })
  t.throws(() => reader().push(Uint8Array.of(0xff, 0xff, 0xff, 0xff)), { code: 'over-limit' })
  t.throws(() => reader().push(new Uint8Array(4)), { code: 'over-limit' })
  const slow = reader()
  for (const byte of [0, 0, 1]) slow.push(Uint8Array.of(byte))
  limit = 256 // the limit that counts is that of the moment when the length is there
  t.doesNotThrow(() => slow.push(Uint8Array.of(0)))
  t.end()
})
