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
        (bytes) => got.push(Uint8Array.from(bytes)),
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

t.test('a record is good until the call returns: its memory serves the next one', (t) => {
  const got: Uint8Array[] = []
  const reader = new RecordReader(
    () => 1 << 26,
    (bytes) => got.push(bytes),
  )
  const push = (bytes: Uint8Array): void => {
    const whole = record(bytes)
    reader.push(whole.subarray(0, 10))
    reader.push(whole.subarray(10))
  }
  push(new Uint8Array(2000).fill(1))
  push(new Uint8Array(1000).fill(2))
  t.equal(got[0]!.buffer, got[1]!.buffer)
  t.strictSame([...got[1]!.subarray(0, 2)], [2, 2])
  t.equal(got[1]!.length, 1000)
  const chunk = record(Uint8Array.of(3))
  reader.push(chunk)
  t.equal(got[2]!.buffer, chunk.buffer, 'what came whole is not copied')
  push(new Uint8Array((16 << 20) + 1))
  push(new Uint8Array(1000))
  t.not(got[3]!.buffer, got[4]!.buffer, 'memory for the rare large ones is not kept')
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
