import * as fc from 'fast-check'
import t from 'tap'
import { concat, toHex } from '#shared/bytes.js'
import {
  decodeHeader,
  encodeHeader,
  type FrameHeader,
  frameOverhead,
  headerBytes,
  maxFrameBytes,
} from '#shared/protocol/frame.js'
import { hex, ownVectors } from '#test/support/vectors.js'

const { frame } = ownVectors('key-schedule.json') as {
  frame: { header: string; seq: number; wire: string; plaintext: string }
}

const headers: fc.Arbitrary<FrameHeader> = fc.record({
  purpose: fc.constantFrom(1, 2, 3),
  alg: fc.constantFrom(1, 2),
  ratchet: fc.nat(255),
  epoch: fc.nat(2 ** 32 - 1),
  ordinal: fc.nat(2 ** 16 - 1),
  counter: fc.nat(2 ** 48 - 1),
})
const withTag = (header: Uint8Array): Uint8Array => concat([header, new Uint8Array(16)])

t.test('the known frame: header, and overhead', (t) => {
  const header: FrameHeader = { purpose: 1, alg: 1, ratchet: 0, epoch: 7, ordinal: 0, counter: frame.seq }
  t.equal(toHex(encodeHeader(header)), frame.header)
  t.strictSame(decodeHeader(hex(frame.wire)), header)
  t.equal(hex(frame.wire).length, hex(frame.plaintext).length + frameOverhead)
  t.end()
})

t.test('decoding inverts encoding, and what decodes re-encodes to the same bytes', (t) => {
  fc.assert(
    fc.property(headers, (header) => {
      const bytes = encodeHeader(header)
      const decoded = decodeHeader(withTag(bytes))
      return (
        bytes.length === headerBytes && Object.entries(header).every(([k, v]) => decoded[k as keyof FrameHeader] === v)
      )
    }),
  )
  const sixteen = fc.uint8Array({ minLength: 12, maxLength: 12 })
  fc.assert(
    fc.property(fc.constantFrom(1, 2, 3), fc.constantFrom(1, 2), fc.nat(255), sixteen, (purpose, alg, r, rest) => {
      const bytes = concat([Uint8Array.of(0xe1, purpose, alg, r), rest])
      return toHex(encodeHeader(decodeHeader(withTag(bytes)))) === toHex(bytes)
    }),
  )
  t.pass('no counterexample')
  t.end()
})

t.test('the ordinal is the top of seq, the counter its lower 48 bits', (t) => {
  const header: FrameHeader = {
    purpose: 3,
    alg: 2,
    ratchet: 255,
    epoch: 2 ** 32 - 1,
    ordinal: 0xabcd,
    counter: 2 ** 48 - 2,
  }
  t.equal(toHex(encodeHeader(header)), 'e10302ffffffffffabcdfffffffffffe')
  t.end()
})

const known = withTag(hex(frame.header))
const changed = (at: number, byte: number): Uint8Array => known.map((old, i) => (i === at ? byte : old))
const refusals: Record<string, Uint8Array> = {
  'no bytes': new Uint8Array(0),
  'a header without a tag': known.subarray(0, frameOverhead - 1),
  'another mark': changed(0, 0xe0),
  'purpose 0': changed(1, 0),
  'purpose 4': changed(1, 4),
  'algorithm 0': changed(2, 0),
  'algorithm 3': changed(2, 3),
}
for (const [what, bytes] of Object.entries(refusals)) {
  t.test(`${what} is no frame`, (t) => {
    t.throws(() => decodeHeader(bytes), { code: 'bad-message' })
    t.end()
  })
}

t.test('a frame above the limit is refused, one at the limit is not', (t) => {
  const bytes = new Uint8Array(maxFrameBytes + 1)
  bytes.set(hex(frame.header))
  t.throws(() => decodeHeader(bytes), { code: 'over-limit' })
  t.equal(decodeHeader(bytes.subarray(0, maxFrameBytes)).epoch, 7)
  t.end()
})

t.test('fields out of range are a bug of the sender', (t) => {
  const header: FrameHeader = { purpose: 1, alg: 1, ratchet: 0, epoch: 0, ordinal: 0, counter: 0 }
  const wrong: Record<string, number>[] = [
    { purpose: 0 },
    { alg: 3 },
    { ratchet: 256 },
    { ratchet: -1 },
    { epoch: 2 ** 32 },
    { ordinal: 2 ** 16 },
    { counter: 2 ** 48 },
    { counter: 0.5 },
    { counter: Number.NaN },
  ]
  for (const fields of wrong) t.throws(() => encodeHeader({ ...header, ...fields }), RangeError, JSON.stringify(fields))
  t.end()
})
