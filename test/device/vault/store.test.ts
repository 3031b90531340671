import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { folderStore, memoryStore, type SegmentStore } from '#device/vault/store.js'
import { toHex } from '#shared/bytes.js'

const hash = new Uint8Array(32).fill(0xab)
const other = new Uint8Array(32).fill(0xcd)
const name = toHex(hash)

for (const kind of ['folder', 'memory'] as const) {
  const storeOf = (path: string): SegmentStore => (kind === 'folder' ? folderStore(path) : memoryStore())

  t.test(`${kind}: a file begins as zeros, and what was written is there when it is opened again`, async (t) => {
    const store = storeOf(join(t.testdir(), 'segments'))
    const rest = await store.open(hash, 10)
    t.strictSame(rest.bytes, new Uint8Array(10))
    rest.bytes.set([1, 2, 3], 6)
    await rest.write(6, Uint8Array.of(1, 2, 3))
    t.strictSame([...(await store.open(hash, 10)).bytes], [0, 0, 0, 0, 0, 0, 1, 2, 3, 0])
    await rest.complete()
    t.strictSame([...(await store.open(hash, 10)).bytes], [0, 0, 0, 0, 0, 0, 1, 2, 3, 0])
  })

  t.test(`${kind}: of two files only the one to keep stays`, async (t) => {
    const store = storeOf(join(t.testdir(), 'segments'))
    await store.keep([hash])
    for (const one of [hash, other]) {
      const rest = await store.open(one, 4)
      rest.bytes.fill(7)
      await rest.write(0, rest.bytes)
      await rest.complete()
    }
    await store.keep([hash])
    t.strictSame([...(await store.open(hash, 4)).bytes], [7, 7, 7, 7])
    t.strictSame([...(await store.open(other, 4)).bytes], [0, 0, 0, 0])
  })

  t.test(`${kind}: a file of another length under the same name starts from its own bytes`, async (t) => {
    const store = storeOf(join(t.testdir(), 'segments'))
    const rest = await store.open(hash, 4)
    await rest.write(0, Uint8Array.of(1, 2, 3, 4))
    t.equal((await store.open(hash, 2)).bytes.length, 2)
    t.equal((await store.open(hash, 9)).bytes.length, 9)
  })
}

t.test('a process that starts again goes on with what is on the disk', async (t) => {
  const folder = join(t.testdir(), 'deep', 'segments')
  const before = await folderStore(folder).open(hash, 6)
  await before.write(4, Uint8Array.of(5, 6))
  t.strictSame(await readdir(folder), [`${name}.ednw.part`])
  const after = await folderStore(folder).open(hash, 6)
  t.strictSame([...after.bytes], [0, 0, 0, 0, 5, 6])
  await after.write(0, Uint8Array.of(1, 2, 3, 4))
  await after.complete()
  t.strictSame(await readdir(folder), [`${name}.ednw`])
  t.strictSame([...(await readFile(join(folder, `${name}.ednw`)))], [1, 2, 3, 4, 5, 6])
})

t.test('a whole file in which a block went bad is mended in its place', async (t) => {
  const folder = t.testdir({ [`${name}.ednw`]: 'abXXef' })
  const rest = await folderStore(folder).open(hash, 6)
  await rest.write(2, new TextEncoder().encode('cd'))
  await rest.complete()
  t.equal(await readFile(join(folder, `${name}.ednw`), 'utf8'), 'abcdef')
  t.strictSame(await readdir(folder), [`${name}.ednw`])
})

t.test('files and folder are for the owner only', async (t) => {
  const folder = join(t.testdir(), 'segments')
  await folderStore(folder).open(hash, 4)
  t.equal((await stat(folder)).mode & 0o777, 0o700)
  t.equal((await stat(join(folder, `${name}.ednw.part`))).mode & 0o777, 0o600)
})

t.test('what others keep in the folder is left alone', async (t) => {
  const folder = t.testdir({
    'notes.txt': 'mine',
    [`${toHex(other)}.ednw`]: 'x',
    [`${toHex(other)}.ednw.part`]: 'x',
    sub: {},
  })
  await folderStore(folder).keep([hash])
  t.strictSame(await readdir(folder), ['notes.txt', 'sub'])
})

t.test('what the disk does not let us do is refused by name', async (t) => {
  const folder = t.testdir({ file: 'no folder' })
  const refused = { code: 'bad-segment', message: /cannot keep the segment file/ }
  await t.rejects(folderStore(join(folder, 'file')).open(hash, 4), refused, 'the folder is a file')
  await t.rejects(folderStore(join(folder, 'file', 'deeper')).open(hash, 4), refused)

  const taken = join(folder, 'taken')
  await mkdir(join(taken, `${name}.ednw.part`), { recursive: true })
  await t.rejects(folderStore(taken).open(hash, 4), refused, 'the file is a folder')
  await mkdir(join(taken, `${toHex(other)}.ednw`))
  await t.rejects(folderStore(taken).keep([]), refused, 'a folder where a file should be removed')

  const vanishing = join(folder, 'vanishing')
  const rest = await folderStore(vanishing).open(hash, 4)
  await folderStore(vanishing).keep([])
  await t.rejects(rest.write(0, Uint8Array.of(1)), refused, 'the file was removed meanwhile')
  await t.rejects(rest.complete(), refused)
  await writeFile(join(vanishing, `${name}.ednw.part`), 'abcd')
  await t.resolves(rest.complete())
})
