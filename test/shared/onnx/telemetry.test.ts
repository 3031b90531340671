/** ONNX Runtime's official binaries report on models unless they are told not to. */

import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { digits } from '#test/support/processes.js'
import { unwatchedNode } from '#test/support/unwatched.js'

/** Runs a session where `where` says; in a thread of its own, the main thread has passed no more than the engine's file. */
const program = (where: string): string => `
  import { readFileSync } from 'node:fs'
  import { Worker, isMainThread } from 'node:worker_threads'
  const { loadEngine } = await import(${JSON.stringify(join(import.meta.dirname, '../../../shared/onnx/session.js'))})
  const load = async () => {
    const session = await (await loadEngine()).create(readFileSync(${JSON.stringify(join(digits, 'model.onnx'))}), { level: 'disabled' })
    await session.release()
  }
  if ('${where}' === 'main' || !isMainThread) await load()
  else new Worker(new URL(import.meta.url))
`

for (const where of ['main', 'worker']) {
  t.test(`in the ${where} thread it keeps no identifier, no log and no cache for reports`, (t) => {
    const folder = t.testdir({ 'run.mjs': program(where), home: {}, tmp: {} })
    const [command, args] = unwatchedNode(join(folder, 'run.mjs'))
    const home = join(folder, 'home')
    // Where it finds `CI` it reports nothing either: that must not be what is tested.
    const { CI, XDG_CACHE_HOME, ORT_DISABLE_TELEMETRY, ...env } = process.env
    const ended = spawnSync(command, args, {
      env: { ...env, HOME: home, TMPDIR: join(folder, 'tmp') },
      encoding: 'utf8',
    })
    t.equal(ended.status, 0, ended.stderr)
    t.strictSame(readdirSync(home), [])
    t.strictSame(readdirSync(join(folder, 'tmp')), [])
    t.end()
  })
}
