import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import t from 'tap'
import { blockCount, blocksPerAsk, Download } from '#device/vault/download.js'
import { concat, equal } from '#shared/bytes.js'
import { blocksAsked, maxSegmentBytes } from '#shared/protocol/blocks.js'
import type { SegmentFile } from '#shared/protocol/messages.js'
import { seededRandom } from '#shared/random.js'

const sha256 = (bytes: Uint8Array): Uint8Array => Uint8Array.from(createHash('sha256').update(bytes).digest())

/** The manifest of some content. */
function manifestOf(content: Uint8Array, blockBytes = 1024): SegmentFile {
  const hashes: Uint8Array[] = []
  for (let at = 0; at < content.length; at += blockBytes) hashes.push(sha256(content.subarray(at, at + blockBytes)))
  return {
    name: 'digits/seg-0',
    version: 1,
    modelId: new Uint8Array(16),
    fileBytes: content.length,
    fileHash: sha256(content),
    blockBytes,
    blockHashes: concat(hashes),
  }
}

const content = seededRandom('content')(10 * 1024 + 77)
const file = manifestOf(content)
const blockOf = (block: number, of = content): Uint8Array => of.subarray(block * 1024, (block + 1) * 1024)
const empty = (): Uint8Array<ArrayBuffer> => new Uint8Array(content.length)

type Delivery = { block: number; kind: 'good' | 'corrupt' | 'foreign' | 'short' | 'nowhere' }

t.test('in any order, with any corrupted, repeated and foreign blocks between, the file is whole or not yet', (t) => {
  const foreign = seededRandom('foreign')(content.length)
  const delivery: fc.Arbitrary<Delivery> = fc.record({
    block: fc.nat(10),
    kind: fc.constantFrom('good', 'good', 'good', 'corrupt', 'foreign', 'short', 'nowhere'),
  })
  fc.assert(
    fc.property(fc.array(delivery, { maxLength: 60 }), (deliveries) => {
      const download = new Download(file, empty())
      const here = new Set<number>()
      for (const { block, kind } of deliveries) {
        const bytes = Uint8Array.from(kind === 'foreign' ? blockOf(block, foreign) : blockOf(block))
        if (kind === 'corrupt') bytes[block]! ^= 1
        const verdict = download.accept(
          kind === 'nowhere' ? block + 11 : block,
          kind === 'short' ? bytes.subarray(1) : bytes,
        )
        const expected = kind !== 'good' ? 'bad' : here.has(block) ? 'repeated' : 'good'
        if (verdict !== expected) return false
        if (kind === 'good') here.add(block)
      }
      const asked = download.ask()
      const missing = Array.from({ length: 11 }, (_, block) => block).filter((block) => !here.has(block))
      return (
        download.have === here.size &&
        download.isComplete === (here.size === 11) &&
        JSON.stringify(asked === undefined ? [] : blocksAsked(asked)) === JSON.stringify(missing) &&
        (!download.isComplete || equal(download.bytes, content))
      )
    }),
  )
  t.pass('no counterexample')
  t.end()
})

t.test('block numbers that are none are bad, not fatal', (t) => {
  const download = new Download(file, empty())
  for (const block of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
    t.equal(download.accept(block, blockOf(0)), 'bad', String(block))
    t.equal(download.accept(block, new Uint8Array(0)), 'bad', String(block))
  }
  t.equal(download.have, 0)
  t.end()
})

t.test('a broken transfer is resumed from the blocks that are good, whatever lies in the others', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(10)),
      fc.uniqueArray(fc.nat(content.length - 1), { maxLength: 5 }),
      (here, flips) => {
        const bytes = empty()
        for (const block of here) bytes.set(blockOf(block), block * 1024)
        for (const at of flips) bytes[at]! ^= 255
        const download = new Download(file, bytes)
        const bad = new Set(flips.map((at) => at >> 10))
        const good = here.filter((block) => !bad.has(block))
        if (download.have !== good.length) return false
        for (let asked = download.ask(); asked !== undefined; asked = download.ask()) {
          for (const block of blocksAsked(asked)) if (download.accept(block, blockOf(block)) !== 'good') return false
        }
        return equal(download.bytes, content)
      },
    ),
  )
  t.pass('no counterexample')
  t.end()
})

t.test('so many blocks are asked for at once, and the last one may be short', (t) => {
  const large = seededRandom('large')(70 * 1024 + 5)
  const download = new Download(manifestOf(large), new Uint8Array(large.length))
  t.equal(download.of, 71)
  t.equal(blocksAsked(download.ask()!).length, blocksPerAsk)
  t.equal(download.offsetOf(70), 70 * 1024)
  t.equal(download.accept(70, large.subarray(70 * 1024)), 'good')
  t.end()
})

t.test('a manifest that contradicts itself, or is over the limit, is refused', (t) => {
  const wrong: Partial<SegmentFile>[] = [
    { fileBytes: 0, blockHashes: new Uint8Array(0) },
    { fileBytes: content.length + 1024 },
    { fileBytes: content.length - 1024 },
    { blockHashes: file.blockHashes.subarray(32) },
    { blockHashes: file.blockHashes.subarray(1) },
    { blockBytes: 2048 },
    { fileBytes: maxSegmentBytes + 1, blockBytes: 1 << 20, blockHashes: new Uint8Array(1025 * 32) },
  ]
  for (const changes of wrong) {
    t.throws(() => blockCount({ ...file, ...changes }), { code: 'bad-segment' }, Object.keys(changes).join())
    t.throws(() => new Download({ ...file, ...changes }, empty()), { code: 'bad-segment' })
  }
  t.throws(() => new Download(file, new Uint8Array(5)), RangeError, 'a bug of ours')
  t.end()
})
