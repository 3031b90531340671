import { createHash } from 'node:crypto'
import t from 'tap'
import { blockBytes, Delivery, maxBlocksPerAsk, sealSegment, type SealedSegment } from '#broker/models/delivery.js'
import { Download } from '#device/vault/download.js'
import { equal, toHex } from '#shared/bytes.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { openFile } from '#shared/crypto/stream.js'
import { newDeviceId, type DeviceId } from '#shared/ids.js'
import { maxSegmentBytes } from '#shared/protocol/blocks.js'
import { segmentFile } from '#shared/protocol/messages.js'
import { seededRandom } from '#shared/random.js'

const random = seededRandom('delivery')
const [a, b] = [newDeviceId(random), newDeviceId(random)]
const modelId = random(16)
const seal = (device: DeviceId, plain: Uint8Array, version = 1) =>
  sealSegment({ device, name: 'digits/seg-0', version, modelId, plain }, random, nodeAeads)

t.test('what was sealed arrives block by block, and opens for its device with its key only', (t) => {
  const plain = random(3 * blockBytes + 500)
  const sealed = seal(a, plain)
  t.ok(segmentFile.safeParse(sealed.file).success)
  t.equal(toHex(sealed.file.fileHash), createHash('sha256').update(sealed.bytes).digest('hex'))
  const delivery = new Delivery()
  delivery.offer([sealed])
  const download = new Download(sealed.file, new Uint8Array(sealed.file.fileBytes))
  for (let asked = download.ask(); asked !== undefined; asked = download.ask()) {
    for (const { block, content } of delivery.blocks(a, asked)) t.equal(download.accept(block, content), 'good')
  }
  const place = { model: modelId, segment: 'digits/seg-0', version: 1, device: a }
  t.ok(equal(openFile(download.bytes, sealed.dek, place, nodeAeads), plain))
  t.throws(() => openFile(download.bytes, random(32), place, nodeAeads), { name: 'Refusal' })
  t.throws(() => openFile(download.bytes, sealed.dek, { ...place, device: b }, nodeAeads), { name: 'Refusal' })
  t.notOk(Buffer.from(sealed.bytes).includes(Buffer.from(plain.subarray(0, 16))))
  t.end()
})

t.test('the same segment is sealed under another key each time', (t) => {
  const plain = random(100)
  const [one, two] = [seal(a, plain), seal(a, plain)]
  t.notOk(equal(one.dek, two.dek))
  t.notOk(equal(one.bytes, two.bytes))
  t.end()
})

t.test('a device gets blocks of its own file only, and no more at once than the limit', (t) => {
  const [own, other] = [seal(a, random(100 * blockBytes)), seal(b, random(10))]
  const delivery = new Delivery()
  delivery.offer([own, other])
  const all = { file: own.file.fileHash, first: 0, count: 8192, missing: new Uint8Array(1024).fill(255) }
  t.equal(delivery.blocks(a, all).length, maxBlocksPerAsk)
  t.strictSame(
    delivery.blocks(a, { ...all, first: 99 }).map(({ block }) => block),
    [99, 100],
    'blocks after the end are passed over',
  )
  t.strictSame(delivery.blocks(a, { ...all, first: 2 ** 52 }), [])
  t.strictSame(delivery.blocks(a, { ...all, missing: new Uint8Array(0) }), [])
  t.throws(() => delivery.blocks(b, all), { code: 'not-allowed' })
  t.throws(() => delivery.blocks(a, { ...all, file: random(32) }), { code: 'not-allowed' })
  t.strictSame(delivery.segmentsOf(a), [own])
  t.strictSame(delivery.segmentsOf(b), [other])
  t.strictSame(delivery.segmentsOf(newDeviceId(random)), [])
  t.end()
})

t.test('a key is wiped when its file is offered no longer, and stays while it is', (t) => {
  const [old, kept] = [seal(a, random(10)), seal(b, random(10))]
  const delivery = new Delivery()
  delivery.offer([old, kept])
  delivery.offer([kept])
  t.ok(old.dek.every((byte) => byte === 0))
  t.notOk(kept.dek.every((byte) => byte === 0))
  t.throws(() => delivery.blocks(a, { file: old.file.fileHash, first: 0, count: 1, missing: Uint8Array.of(128) }), {
    code: 'not-allowed',
  })
  delivery.close()
  t.ok(kept.dek.every((byte) => byte === 0))
  t.end()
})

t.test(
  'a file that is lent is offered beside those of the plan until it is taken back, and its key lives as long',
  (t) => {
    const [planned, lent, both] = [seal(a, random(10)), seal(a, random(20)), seal(a, random(30))]
    const delivery = new Delivery()
    delivery.offer([planned])
    delivery.lend(lent)
    delivery.lend(both)
    t.strictSame(delivery.segmentsOf(a), [planned, lent, both])
    const ask = (segment: SealedSegment) => () =>
      delivery.blocks(a, { file: segment.file.fileHash, first: 0, count: 1, missing: Uint8Array.of(128) })
    t.equal(ask(lent)().length, 1)
    delivery.offer([both])
    t.equal(ask(lent)().length, 1, 'another plan takes nothing back')
    delivery.takeBack(lent)
    t.throws(ask(lent), { code: 'not-allowed' })
    t.ok(lent.dek.every((byte) => byte === 0))
    delivery.takeBack(both)
    t.equal(ask(both)().length, 1, 'it is the plan that has it now')
    t.notOk(both.dek.every((byte) => byte === 0))
    delivery.close()
    t.ok(both.dek.every((byte) => byte === 0))
    t.end()
  },
)

t.test('a segment that no device would take is refused before it is sealed', (t) => {
  const huge = Object.defineProperty(new Uint8Array(0), 'length', { value: maxSegmentBytes })
  t.throws(() => seal(a, huge), { code: 'bad-segment', message: /more segments/ })
  t.end()
})
