import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { z } from 'zod'
import { ProfileStore, readProfiles } from '#broker/fleet/profiles.js'
import { SteppedClock } from '#shared/clock.js'

const schema = z.strictObject({ version: z.literal(1), speed: z.number() })

async function folder(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'tessera-test-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

t.test('profiles survive a restart, and changes in a row are written once', async (t) => {
  const path = await folder(t)
  t.equal(await readProfiles(path, schema), undefined, 'there are none yet')
  const clock = new SteppedClock()
  const store = new ProfileStore({ value: { version: 1 as const, speed: 1 }, clock, folder: path })
  store.set({ version: 1, speed: 2 })
  store.set({ version: 1, speed: 3 })
  t.equal(store.value.speed, 3)
  t.strictSame(await readdir(path), [])
  clock.step(500)
  await store.close()
  t.strictSame(await readdir(path), ['profiles.json'])
  t.strictSame(await readProfiles(path, schema), { version: 1, speed: 3 })
  store.set({ version: 1, speed: 4 })
  await store.close()
  t.strictSame(await readProfiles(path, schema), { version: 1, speed: 4 }, 'what is not written is written at the end')
})

t.test('a file that is none, or of another version, is refused with the remedy', async (t) => {
  const path = await folder(t)
  for (const text of ['', 'x', '{}', '{"version":2,"speed":1}', '{"version":1,"speed":1,"more":1}', 'null']) {
    await writeFile(join(path, 'profiles.json'), text)
    await t.rejects(readProfiles(path, schema), { code: 'bad-config', message: /profiles\.json.*remove it/ }, text)
  }
  await t.rejects(readProfiles(join(path, 'profiles.json'), schema), { code: 'bad-config' })
})

t.test('a folder that takes no file is told of, and ends nothing', async (t) => {
  const path = join(await folder(t), 'gone')
  const said: string[] = []
  const store = new ProfileStore({
    value: 1,
    clock: new SteppedClock(),
    folder: path,
    onFailure: ({ code, message }) => said.push(`${code}: ${message}`),
  })
  store.set(2)
  await store.close()
  t.equal(said.length, 1)
  t.match(said[0], /^bad-config: cannot write .*profiles\.json/)
  t.equal(store.value, 2)
})

t.test('without a folder nothing is written', async (t) => {
  const store = new ProfileStore({ value: 1, clock: new SteppedClock() })
  store.set(2)
  await store.close()
  t.equal(store.value, 2)
  await t.rejects(readFile('profiles.json'))
})
