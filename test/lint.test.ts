import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { unwatchedNode } from './support/unwatched.js'

const root = resolve(import.meta.dirname, '../..')

/** Who may import whom (DESIGN, the house): each line one arrow, from a file to what it names. */
const forbidden = [
  'shared/clock -> #broker/hub.js',
  'shared/clock -> #device/device.js',
  'shared/clock -> ../broker/hub.js',
  'shared/clock -> #scripts/cli/report.js',
  'shared/clock -> ../test/fleet.js',
  'shared/clock -> #shared/bytes.js',
  'shared/onnx/model -> ../crypto/aead.js',
  'shared/onnx/model -> ../protocol/frame.js',
  'shared/onnx/model -> ../session/pair.js',
  'shared/onnx/model -> #shared/crypto/aead.js',
  'shared/crypto/aead -> ../onnx/model.js',
  'shared/crypto/aead -> ../protocol/frame.js',
  'shared/crypto/aead -> ../session/pair.js',
  'shared/protocol/frame -> ../onnx/model.js',
  'shared/protocol/frame -> ../crypto/aead.js',
  'shared/protocol/frame -> ../session/pair.js',
  'shared/session/pair -> ../onnx/model.js',
  'shared/session/pair -> ../../broker/hub.js',
  'broker/hub -> #device/device.js',
  'broker/hub -> ../device/device.js',
  'broker/hub -> #scripts/demo.js',
  'broker/hub -> #test/fleet.js',
  'broker/bus/bus -> ../fleet/registry.js',
  'broker/bus/bus -> #broker/fleet/registry.js',
  'broker/bus/bus -> ../../device/device.js',
  'broker/bus/bus -> #device/device.js',
  'device/device -> #broker/hub.js',
  'device/device -> ../broker/hub.js',
  'device/device -> #scripts/demo.js',
  'device/link/link -> ../runtime/engine.js',
  'device/link/link -> #device/runtime/engine.js',
  'device/link/link -> #broker/hub.js',
  'device/link/link -> ../../broker/hub.js',
]

const allowed = [
  'shared/onnx/model -> ../errors.js',
  'shared/crypto/aead -> ./stream.js',
  'shared/session/pair -> ../crypto/aead.js',
  'shared/session/pair -> ../protocol/frame.js',
  'broker/hub -> ./bus/bus.js',
  'broker/hub -> #shared/clock.js',
  'broker/bus/bus -> ./guard.js',
  'broker/bus/bus -> ../store/database.js',
  'broker/bus/bus -> #shared/session/pair.js',
  'device/device -> ./link/link.js',
  'device/link/link -> ../vault/keyring.js',
  'device/link/link -> #shared/crypto/aead.js',
  'scripts/demo -> #broker/hub.js',
  'test/fleet -> #device/device.js',
]

/** Lints one file for each arrow with the project's own rules, and gives the arrows that were refused. */
async function refusedArrows(arrows: readonly string[]): Promise<string[]> {
  // Outside the repository, whose ignore file would hide them.
  const folder = mkdtempSync(join(tmpdir(), 'arrows-'))
  try {
    copyFileSync(join(root, '.oxlintrc.json'), join(folder, '.oxlintrc.json'))
    const files = arrows.map((arrow, at) => {
      const [from, to] = arrow.split(' -> ') as [string, string]
      const file = `${from}-${at}.ts`
      mkdirSync(dirname(join(folder, file)), { recursive: true })
      writeFileSync(join(folder, file), `import { thing } from '${to}'\nexport const it = thing\n`)
      return file
    })
    const oxlint = join(root, 'node_modules/oxlint/bin/oxlint')
    const { stdout } = await promisify(execFile)(...unwatchedNode(oxlint, '--format=unix'), { cwd: folder }).catch(
      (failed: { stdout: string }) => failed, // it exits with 1 when it finds something
    )
    const refused = stdout.split('\n').filter((line) => line.includes('no-restricted-imports'))
    return arrows.filter((_, at) => refused.some((line) => line.startsWith(`${files[at]}:`)))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

t.test('the linter refuses every import against the arrows of the house', async (t) => {
  t.strictSame(await refusedArrows(forbidden), forbidden)
})

t.test('the linter lets pass what the house allows', async (t) => {
  t.strictSame(await refusedArrows(allowed), [])
})
