import { createHash } from 'node:crypto'
import t from 'tap'
import { Loader, shortHash } from '#device/loader.js'
import { folderStore, memoryStore, type SegmentStore } from '#device/vault/store.js'
import { concat } from '#shared/bytes.js'
import { Refusal } from '#shared/errors.js'
import { blocksAsked } from '#shared/protocol/blocks.js'
import type { BlobGet, SegmentFile } from '#shared/protocol/messages.js'
import { seededRandom } from '#shared/random.js'
import { WatchedClock } from '#test/support/pipeline-world.js'

const sha256 = (bytes: Uint8Array): Uint8Array => Uint8Array.from(createHash('sha256').update(bytes).digest())
const content = seededRandom('loader')(100 * 1024 + 9)
const hashes = Array.from({ length: 101 }, (_, block) => sha256(content.subarray(block * 1024, (block + 1) * 1024)))
const file: SegmentFile = {
  name: 'digits/seg-0',
  version: 1,
  modelId: new Uint8Array(16),
  fileBytes: content.length,
  fileHash: sha256(content),
  blockBytes: 1024,
  blockHashes: concat(hashes),
}
const key = { name: file.name, version: 1, dek: new Uint8Array(32).fill(1), fileHash: file.fileHash }
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** A loader whose questions are noted; `deliver` answers one of them. */
function started(store: SegmentStore = memoryStore(), changes: Partial<SegmentFile> = {}) {
  const clock = new WatchedClock()
  const asked: BlobGet[] = []
  const progress: number[] = []
  const loader = new Loader({
    file: { ...file, ...changes },
    store,
    clock,
    ask: (question) => {
      asked.push(question)
      return asked.length === 1 ? Promise.reject(new Refusal('cancelled', 'offline')) : Promise.resolve()
    },
    onProgress: (have) => progress.push(have),
  })
  const deliver = (blocks: readonly number[], change = (bytes: Uint8Array): Uint8Array => bytes): void => {
    for (const block of blocks) {
      const bytes = Uint8Array.from(content.subarray(block * 1024, (block + 1) * 1024))
      loader.blockCame(shortHash(file.fileHash), block, change(bytes))
    }
  }
  return { clock, asked, progress, loader, deliver, loading: loader.load() }
}

t.test('blocks are asked for in portions until all are good and the key is there', async (t) => {
  const { clock, asked, progress, loader, deliver, loading } = started()
  await turns()
  for (let i = 0; asked.length > i; i++) {
    deliver(blocksAsked(asked[i]!))
    await turns()
  }
  t.equal(asked.length, 4)
  t.strictSame(progress, [0, 32, 64, 96, 101])
  t.ok(loader.isWaitingForKey)
  loader.keyCame({ ...key, fileHash: new Uint8Array(32) }) // of another file
  loader.keyCame(key)
  const loaded = await loading
  t.strictSame(loaded!.bytes, content)
  t.equal(loaded!.key, key)
  t.equal(clock.pending, 0)
})

t.test('what does not come, or comes broken, is asked for again after a while, and only that', async (t) => {
  const { clock, asked, loader, deliver, loading } = started()
  loader.keyCame(key)
  await turns()
  const first = blocksAsked(asked[0]!)
  deliver(first.filter((block) => block !== 5 && block !== 9))
  deliver([9], (bytes) => bytes.map((byte) => byte ^ 1))
  loader.blockCame('0000000000000000', 5, content.subarray(5 * 1024, 6 * 1024)) // of another file
  clock.step(499)
  t.equal(asked.length, 1)
  clock.step(1)
  t.strictSame(blocksAsked(asked[1]!).slice(0, 2), [5, 9])
  for (let i = 1; asked.length > i; i++) {
    deliver(blocksAsked(asked[i]!))
    await turns()
  }
  t.strictSame((await loading)!.bytes, content)
  t.equal(clock.pending, 0)
})

t.test('a process that starts again asks for what is not on its disk', async (t) => {
  const folder = t.testdir()
  const before = started(folderStore(folder))
  await turns()
  while (before.asked.length === 0) await turns()
  before.deliver([3, 4, 5, 6, 7, 100])
  before.loader.cancel()
  t.equal(await before.loading, undefined)
  t.equal(before.clock.pending, 0)

  const after = started(folderStore(folder))
  after.loader.keyCame(key)
  while (after.asked.length === 0) await turns()
  t.strictSame(after.progress, [6])
  t.strictSame(blocksAsked(after.asked[0]!).slice(0, 5), [0, 1, 2, 8, 9])
  for (let i = 0; after.asked.length > i; i++) {
    after.deliver(blocksAsked(after.asked[i]!))
    await turns()
  }
  t.strictSame((await after.loading)!.bytes, content)

  const whole = started(folderStore(folder))
  whole.loader.keyCame(key)
  t.strictSame((await whole.loading)!.bytes, content)
  t.strictSame(whole.asked, [], 'all is here')
})

t.test('cancelled, it ends without an outcome and asks nothing more, at whatever moment', async (t) => {
  const early = started()
  early.loader.cancel()
  t.equal(await early.loading, undefined)
  t.strictSame(early.asked, [])
  t.strictSame(early.progress, [])

  const late = started()
  await turns()
  late.loader.cancel()
  late.deliver([0, 1, 2])
  late.loader.keyCame(key)
  t.equal(await late.loading, undefined)
  late.clock.step(10_000)
  t.equal(late.asked.length, 1)
  t.equal(late.clock.pending, 0)
})

t.test('a manifest that cannot be is refused before memory is taken for it', async (t) => {
  const { loading } = started(memoryStore(), { fileBytes: 2 ** 50 })
  await t.rejects(loading, { code: 'bad-segment' })
})

t.test('a disk that fails ends the loading with its reason', async (t) => {
  const failing: SegmentStore = {
    open: (_, fileBytes) =>
      Promise.resolve({
        bytes: new Uint8Array(fileBytes),
        write: () => Promise.reject(new Refusal('bad-segment', 'the disk is full')),
        complete: () => Promise.resolve(),
      }),
    keep: () => Promise.resolve(),
  }
  const { clock, deliver, loading } = started(failing)
  await turns()
  deliver([0])
  await t.rejects(loading, { code: 'bad-segment', message: /full/ })
  t.equal(clock.pending, 0)
})
