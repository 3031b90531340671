import * as fc from 'fast-check'
import t from 'tap'
import { concat, equal, fromHex, toHex } from '#shared/bytes.js'
import { encodeCanonical } from '#shared/cbor.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { sha256 } from '#shared/crypto/hash.js'
import { portableAeads } from '#shared/crypto/portable.js'
import { fileCommit, filePrk } from '#shared/crypto/schedule.js'
import {
  bodyBytes,
  chunkBytes,
  chunkCount,
  chunkRange,
  type FileFacts,
  maxPlainBytes,
  maxPrefixBytes,
  openFile,
  parseFileHeader,
  SealedFile,
  sealedBytes,
  sealFile,
} from '#shared/crypto/stream.js'
import type { DeviceId } from '#shared/ids.js'
import { seededRandom } from '#shared/random.js'
import { hex, ownVectors } from '#test/support/vectors.js'

const v = ownVectors('key-schedule.json') as {
  in: { devA: string; segment: string; version: number }
  bind_in: { dek: string }
  file: { salt: string; header: string; commit: string; ciphertextSha256: string; chunk0Tag: string; chunk1Tag: string }
}

const device: DeviceId = `d${v.in.devA}`
const facts: FileFacts = {
  model: hex('5d6aa7ef1f53cfebbb7f1a72752342fb'),
  segment: v.in.segment,
  version: v.in.version,
  device,
}
const dek = hex(v.bind_in.dek)
const random = seededRandom('stream')
const seal = (plain: Uint8Array, changed: Partial<FileFacts> = {}): Uint8Array =>
  sealFile(plain, { ...facts, ...changed, dek, random, aeads: nodeAeads })
const open = (file: Uint8Array): Uint8Array => openFile(file, dek, facts, nodeAeads)
const plainOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (7 * i + 1) % 256)

for (const [name, aeads] of Object.entries({ node: nodeAeads, portable: portableAeads })) {
  t.test(`known answer, ${name}: header, commitment, every chunk, and back`, (t) => {
    const plain = plainOf(100_000)
    const file = sealFile(plain, { ...facts, dek, random: () => hex(v.file.salt), aeads })
    const header = parseFileHeader(file)
    t.equal(toHex(file.subarray(0, 6)), '45444e57' + (v.file.header.length / 2).toString(16).padStart(4, '0'))
    t.equal(toHex(header.encoded), v.file.header)
    t.equal(toHex(header.commit), v.file.commit)
    const chunks = [0, 1].map((index) => file.subarray(...chunkRange(header, index)))
    t.equal(toHex(chunks[0]!.subarray(-16)), v.file.chunk0Tag)
    t.equal(toHex(chunks[1]!.subarray(-16)), v.file.chunk1Tag)
    t.equal(toHex(sha256(file.subarray(header.bodyOffset))), v.file.ciphertextSha256)
    t.ok(equal(openFile(file, dek, facts, aeads), plain))
    t.end()
  })
}

const edges = [0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 2 * chunkBytes, 3 * chunkBytes + 5]

t.test('opening inverts sealing at every edge of a chunk; sizes are as the arithmetic says', (t) => {
  for (const length of edges) {
    const plain = plainOf(length)
    const file = seal(plain)
    const opened = open(file)
    t.ok(equal(opened, plain), `${length} bytes`)
    t.equal(opened.byteOffset, 0)
    t.equal(opened.buffer.byteLength, length)
    const header = parseFileHeader(file)
    t.equal(file.length, sealedBytes(header))
    t.equal(file.length, header.bodyOffset + bodyBytes(length))
    t.equal(chunkRange(header, chunkCount(length) - 1)[1], file.length)
  }
  t.end()
})

t.test('any chunk opens alone, from the start of the file and its own bytes', (t) => {
  const plain = plainOf(3 * chunkBytes + 5)
  const file = seal(plain)
  const sealed = new SealedFile(file.subarray(0, maxPrefixBytes), dek, facts, nodeAeads)
  for (const index of [3, 0, 2, 1]) {
    const chunk = sealed.openChunk(index, file.subarray(...chunkRange(sealed.header, index)))
    t.ok(equal(chunk, plain.subarray(index * chunkBytes, (index + 1) * chunkBytes)), `chunk ${index}`)
  }
  const first = file.subarray(...chunkRange(sealed.header, 0))
  for (const index of [-1, 1, 3, 4, 0.5, Number.NaN]) {
    t.throws(() => sealed.openChunk(index, first), { code: 'forged' }, `as chunk ${index}`)
  }
  sealed.erase()
  t.throws(() => sealed.openChunk(0, first), { code: 'forged' }, 'after erasing')
  t.end()
})

t.test('two seals of the same bytes under the same content key share no key', (t) => {
  const [one, two] = [seal(plainOf(100)), seal(plainOf(100))]
  const body = parseFileHeader(one).bodyOffset
  t.notOk(equal(one.subarray(body), two.subarray(body)))
  t.end()
})

t.test('truncation, also at a chunk edge, and what is appended are refused', (t) => {
  for (const length of [0, 5, chunkBytes, 2 * chunkBytes, 2 * chunkBytes + 9]) {
    const file = seal(plainOf(length))
    const { bodyOffset } = parseFileHeader(file)
    const sealedChunk = chunkBytes + 16
    const cuts = [file.length - 1, file.length - 16, bodyOffset, bodyOffset - 1, 5, 0]
    if (length > chunkBytes) cuts.push(bodyOffset + sealedChunk)
    for (const cut of cuts)
      t.throws(() => open(file.subarray(0, cut)), { code: 'bad-segment' }, `${length} cut at ${cut}`)
    t.throws(() => open(concat([file, Uint8Array.of(0)])), { code: 'bad-segment' })
    t.throws(() => open(concat([file, file.subarray(-16)])), { code: 'bad-segment' })
  }
  t.end()
})

t.test('a file cut at a chunk edge with its header made to match is forged', (t) => {
  const file = seal(plainOf(2 * chunkBytes))
  const header = parseFileHeader(file)
  const shorter = seal(plainOf(chunkBytes))
  const body = file.subarray(header.bodyOffset, header.bodyOffset + chunkBytes + 16)
  t.throws(() => open(concat([shorter.subarray(0, parseFileHeader(shorter).bodyOffset), body])), { code: 'forged' })
  t.end()
})

t.test('the last chunk is marked in its nonce: no other chunk can end a file', (t) => {
  // One key, two lengths: only a header of our own making, sealed under the right key, gets past the commitment.
  const salt = new Uint8Array(32).fill(3)
  const make = (length: number): Uint8Array =>
    sealFile(plainOf(length), { ...facts, dek, random: () => Uint8Array.from(salt), aeads: nodeAeads })
  const file = make(2 * chunkBytes)
  const sealed = new SealedFile(file, dek, facts, nodeAeads)
  const first = file.subarray(...chunkRange(sealed.header, 0))
  t.throws(() => sealed.openChunk(1, first), { code: 'forged' })
  t.throws(() => sealed.openChunk(0, file.subarray(...chunkRange(sealed.header, 1))), { code: 'forged' })
  t.end()
})

t.test('chunks that changed places are refused', (t) => {
  const file = seal(plainOf(3 * chunkBytes))
  const header = parseFileHeader(file)
  const [zero, one, two] = [0, 1, 2].map((index) => file.subarray(...chunkRange(header, index)))
  const start = file.subarray(0, header.bodyOffset)
  for (const order of [
    [one, zero, two],
    [zero, two, one],
    [zero, zero, two],
    [two, one, zero],
  ]) {
    t.throws(() => open(concat([start, ...order.map((chunk) => chunk!)])), { code: 'forged' })
  }
  t.end()
})

t.test('one changed bit anywhere in the file is refused', (t) => {
  const file = seal(plainOf(chunkBytes + 700))
  const header = parseFileHeader(file)
  const codes = new Set<string>()
  const flip = (at: number, bit: number): void => {
    const changed = Uint8Array.from(file)
    changed[at] = changed[at]! ^ (1 << bit)
    try {
      open(changed)
    } catch (error) {
      codes.add((error as { code: string }).code)
      return
    }
    throw new Error(`bit ${bit} of byte ${at} made no difference`)
  }
  for (let at = 0; at < header.bodyOffset; at++) flip(at, at % 8)
  fc.assert(fc.property(fc.nat(file.length - 1), fc.nat(7), flip), { numRuns: 200 })
  t.strictSame([...codes].sort(), ['bad-segment', 'forged'])
  t.end()
})

const wrong: Record<string, Partial<FileFacts>> = {
  'another device': { device: 'd00000000000000000000000000000001' },
  'another segment': { segment: 'vision/seg-4' },
  'another version': { version: v.in.version + 1 },
  'another model': { model: new Uint8Array(16) },
}
for (const [what, changed] of Object.entries(wrong)) {
  t.test(`a file for ${what} is refused by name`, (t) => {
    t.throws(() => open(seal(plainOf(10), changed)), { code: 'bad-segment', message: new RegExp(what.split(' ')[1]!) })
    t.end()
  })
}

t.test('another content key is refused by the commitment, before any chunk is opened', (t) => {
  const file = seal(plainOf(10))
  const other = Uint8Array.from(dek)
  other[0] = other[0]! ^ 1
  t.throws(() => new SealedFile(file, other, facts, nodeAeads), { code: 'forged' })
  t.throws(() => openFile(file, other, facts, nodeAeads), { code: 'forged' })
  t.end()
})

t.test('every field of the header is checked, even where the commitment holds', (t) => {
  const salt = new Uint8Array(32)
  const right: unknown[] = [1, 1, 16, facts.model, facts.segment, facts.version, fromHex(v.in.devA), 10, salt]
  const withField = (index: number, value: unknown): Uint8Array => {
    const encoded = encodeCanonical(right.map((field, i) => (i === index ? value : field)))
    const commit = fileCommit(filePrk(salt, dek), encoded)
    return concat([hex('45444e57'), Uint8Array.of(encoded.length >> 8, encoded.length), encoded, commit])
  }
  t.equal(parseFileHeader(withField(0, 1)).plainLength, 10, 'the right one is accepted')
  const wrongFields: [number, unknown][] = [
    [0, 2],
    [1, 2],
    [1, 0],
    [2, 15],
    [2, 17],
    [3, new Uint8Array(15)],
    [3, 'model'],
    [4, ''],
    [4, 'x'.repeat(65)],
    [4, 7],
    [5, -1],
    [5, 1.5],
    [5, 2n ** 60n],
    [6, new Uint8Array(17)],
    [7, -1],
    [7, maxPlainBytes + 1],
    [7, 2n ** 63n],
    [7, null],
    [7, { toString: 1, valueOf: 1 }],
    [0, [{ toString: 1 }]],
    [8, new Uint8Array(31)],
  ]
  for (const [index, value] of wrongFields) {
    t.throws(() => parseFileHeader(withField(index, value)), { code: 'bad-segment' }, `field ${index}`)
  }
  const nested = encodeCanonical({ not: 'an array' })
  t.throws(
    () => parseFileHeader(concat([hex('45444e57'), Uint8Array.of(0, nested.length), nested, new Uint8Array(32)])),
    { code: 'bad-segment' },
  )
  t.throws(() => parseFileHeader(concat([hex('45444e57ffff'), new Uint8Array(70_000)])), { code: 'bad-segment' })
  t.throws(() => parseFileHeader(concat([hex('45444e580000'), new Uint8Array(100)])), { code: 'bad-segment' })
  t.end()
})

t.test('a header that promises 2 GiB is refused before anything is allocated for it', (t) => {
  const salt = new Uint8Array(32)
  const fields = [1, 1, 16, facts.model, facts.segment, facts.version, fromHex(v.in.devA), maxPlainBytes, salt]
  const encoded = encodeCanonical(fields)
  const prefix = concat([
    hex('45444e57'),
    Uint8Array.of(0, encoded.length),
    encoded,
    fileCommit(filePrk(salt, dek), encoded),
  ])
  t.throws(() => open(concat([prefix, new Uint8Array(1000)])), { code: 'bad-segment', message: /long/ })
  t.end()
})

t.test('what no reader would accept is not sealed', (t) => {
  for (const changed of [{ segment: '' }, { segment: 'é'.repeat(33) }, { version: -1 }, { model: new Uint8Array(3) }]) {
    t.throws(() => seal(plainOf(1), changed), { code: 'bad-segment' })
  }
  t.end()
})

t.test('arbitrary bytes are refused by name, nothing else is thrown', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, marked) => {
      const file = marked ? concat([hex('45444e5700'), bytes]) : bytes
      try {
        open(file)
        return false
      } catch (error) {
        return ['bad-segment', 'forged'].includes((error as { code: string }).code)
      }
    }),
    { numRuns: 500 },
  )
  t.pass('no counterexample')
  t.end()
})
