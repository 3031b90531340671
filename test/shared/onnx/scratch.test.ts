import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { withScratch } from '#shared/onnx/scratch.js'

t.test('the folder is private and gone afterwards, also after a failure', async (t) => {
  const seen: string[] = []
  const fill = async (folder: string): Promise<void> => {
    seen.push(folder)
    t.equal((await stat(folder)).mode & 0o777, 0o700)
    await writeFile(join(folder, 'weights'), 'secret')
  }
  await withScratch(fill)
  await t.rejects(
    withScratch(async (folder) => {
      await fill(folder)
      throw new Error('on purpose')
    }),
    { message: 'on purpose' },
  )
  t.equal(seen.length, 2)
  t.strictSame(seen.filter(existsSync), [])
  for (const event of ['exit', 'SIGINT', 'SIGTERM', 'SIGHUP']) {
    t.notOk(
      process
        .listeners(event as 'SIGINT')
        .some((listener) => listener.name === 'onSignal' || listener.name === 'removeAll'),
    )
  }
})

/** Runs a program that opens a scratch folder, prints it, and then does `last`. */
async function program(last: string): Promise<{ folder: string; signal: string | null; status: number | null }> {
  const module = pathToFileURL(resolve(import.meta.dirname, '../../../shared/onnx/scratch.js')).href
  const source = `
    const { withScratch } = await import(${JSON.stringify(module)})
    await withScratch(async (folder) => {
      process.stdout.write(folder)
      ${last}
      await new Promise((done) => setTimeout(done, 60_000))
    })`
  return new Promise((done) => {
    const child = execFile(process.execPath, ['--input-type=module', '-e', source], (_, stdout) =>
      done({ folder: stdout, signal: child.signalCode, status: child.exitCode }),
    )
  })
}

t.test('a process that ends early leaves no folder behind', async (t) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    const ended = await program(`process.kill(process.pid, '${signal}')`)
    t.match(ended.folder, /tessera-/)
    t.equal(ended.signal, signal)
    t.notOk(existsSync(ended.folder), signal)
  }
  const exited = await program('process.exit(5)')
  t.match(exited.folder, /tessera-/)
  t.equal(exited.status, 5)
  t.notOk(existsSync(exited.folder))
})
