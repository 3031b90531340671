import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { prepare, type Prepared } from '#shared/onnx/prepare.js'
import { loadEngine } from '#shared/onnx/session.js'
import { sameBits } from '#shared/onnx/tensor.js'
import { buildModel, floats, node, port } from '#test/support/models.js'
import { refuses } from '#test/support/refusal.js'

const engine = await loadEngine()
const weight = floats([2], [3, 4])
const x = floats([2], [1, 2])

/** A model that adds a weight kept in another file. */
function modelWith(entries: Readonly<Record<string, string>>): Uint8Array {
  return buildModel({
    nodes: [node('Add', ['x', 'w'], ['y'])],
    inputs: [port('x', 'float32', [2])],
    outputs: [port('y', 'float32', [2])],
    storedTensors: [
      {
        name: 'w',
        dims: [2n],
        dataType: 1,
        dataLocation: 1,
        externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
      },
    ],
  })
}

async function prepared(folder: string | undefined, entries: Readonly<Record<string, string>>): Promise<Prepared> {
  return prepare(modelWith(entries), {
    engine,
    level: 'disabled',
    sample: { x },
    ...(folder !== undefined && { folder }),
  })
}

async function outside(t: Test): Promise<{ folder: string; secret: string }> {
  const root = t.testdir({ model: { sub: {} }, 'secret.bin': Buffer.from(weight.data as Uint8Array) })
  const folder = join(root, 'model')
  await writeFile(join(folder, 'w.bin'), Buffer.concat([Buffer.alloc(16), weight.data as Uint8Array]))
  return { folder, secret: join(root, 'secret.bin') }
}

t.test("weights in a file beside the model are embedded, from any folder below the model's", async (t) => {
  const { folder } = await outside(t)
  await mkdir(join(folder, 'sub', 'deep'))
  await writeFile(join(folder, 'sub', 'deep', 'w.bin'), weight.data as Uint8Array)
  await symlink(join(folder, 'w.bin'), join(folder, 'alias.bin'))
  for (const entries of [
    { location: 'w.bin', offset: '16', length: '8' },
    { location: 'w.bin', offset: '16' },
    { location: 'sub/deep/w.bin' },
    { location: 'alias.bin', offset: '16' },
  ]) {
    const { bytes } = await prepared(folder, entries)
    const session = await engine.create(bytes, { level: 'disabled' })
    const { y } = await session.run({ x })
    await session.release()
    t.ok(y !== undefined && sameBits(y, floats([2], [4, 6])), JSON.stringify(entries))
  }
})

t.test("a location that leaves the model's folder is refused, however it does", async (t) => {
  const { folder, secret } = await outside(t)
  await symlink(secret, join(folder, 'link.bin'))
  await symlink('..', join(folder, 'up'))
  for (const location of [
    '../secret.bin',
    'sub/../../secret.bin',
    secret,
    '',
    'C:\\secret.bin',
    '..\\secret.bin',
    'w.bin\0',
  ]) {
    await refuses(t, 'external-data', /outside the model's folder/, async () => prepared(folder, { location }))
  }
  for (const location of ['link.bin', 'up/secret.bin']) {
    await refuses(t, 'external-data', /symbolic link/, async () => prepared(folder, { location }))
  }
})

t.test('a location that cannot be read as said is refused', async (t) => {
  const { folder } = await outside(t)
  await refuses(t, 'external-data', /'gone\.bin' of tensor 'w' is missing/, async () =>
    prepared(folder, { location: 'gone.bin' }),
  )
  await refuses(t, 'external-data', /is no file/, async () => prepared(folder, { location: 'sub' }))
  await refuses(t, 'external-data', /ends at byte 32, but the file has 24/, async () =>
    prepared(folder, { location: 'w.bin', offset: '24', length: '8' }),
  )
  await refuses(t, 'external-data', /but the file has 24/, async () =>
    prepared(folder, { location: 'w.bin', offset: '99' }),
  )
  await refuses(t, 'external-data', /no number of bytes/, async () =>
    prepared(folder, { location: 'w.bin', offset: '-8' }),
  )
  await refuses(t, 'external-data', /without the model's folder/, async () =>
    prepared(undefined, { location: 'w.bin' }),
  )
  await refuses(t, 'external-data', /cannot be read/, async () =>
    prepared(join(folder, 'absent'), { location: 'w.bin' }),
  )
  await refuses(t, 'bad-model', /ONNX Runtime refuses/, async () =>
    prepared(folder, { location: 'w.bin', length: '4' }),
  )
})
