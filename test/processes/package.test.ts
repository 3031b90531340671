/** The package as somebody gets it who has only installed it: what is in it, its types, and that its entry points run. */

import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { root } from '#test/support/processes.js'
import { unwatchedNode } from '#test/support/unwatched.js'

const folder = t.testdir({})
const modules = join(folder, 'node_modules')
const installed = join(modules, 'tessera-edge')

/** An installation without a registry: the packed files, and beside them the packages that are here anyway. */
const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], {
  cwd: root,
  encoding: 'utf8',
}).trim()
mkdirSync(installed, { recursive: true })
execFileSync('tar', ['-xzf', join(folder, packed), '-C', installed, '--strip-components=1'])
for (const name of readdirSync(join(root, 'node_modules'))) {
  if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(modules, name))
}
writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')

const usage = `
import { connect, tensorOf, arrayOf, type ClientSettings } from 'tessera-edge/client'
import { joinFleet, memoryStore } from 'tessera-edge/device'
import { openHub, type DeployRequest } from 'tessera-edge/hub'
import { Fleet } from 'tessera-edge/testing'
import { readFileSync } from 'node:fs'

const model = readFileSync(process.argv[2]!)
const pixels = tensorOf(new Float32Array(1024).fill(0.5), [1, 1, 32, 32])
const request: DeployRequest = { name: 'digits', model, sample: { image: pixels }, stages: 2 }

// A whole fleet in one process.
const fleet = await Fleet.start({ devices: 2, seed: 7 })
await fleet.deploy(request)
const inMemory = await fleet.addClient()
await fleet.during(inMemory.ready())
const expected = await fleet.during(inMemory.infer({ image: pixels }))
await fleet.close()

// The same over TCP, with what everybody gets who says no more than where the hub is.
const running = await openHub({ listen: { port: 0, relayPort: 0 } })
const settings: ClientSettings = { hub: running.uri, fleet: running.fleet, hubKey: running.hubKey }
const devices = await Promise.all(
  ['a', 'b'].map((name) => joinFleet({ ...settings, name, state: \`state-\${name}\` }, { store: memoryStore() })),
)
await running.hub.until(() => running.hub.online().length === 2, 30_000, 'that both devices are online')
await running.hub.deploy(request)
const client = await connect({ ...settings, state: 'state-client' })
const { inputs } = await client.ready(60_000)
const { outputs, hops } = await client.infer({ [inputs[0]!.name]: pixels })
console.log(JSON.stringify({ hops: hops.length, isSame: String(arrayOf(outputs['logits']!)) === String(arrayOf(expected.outputs['logits']!)) }))
await client.close()
for (const device of devices) await device.close()
await running.close()
`

t.test('it holds the programs, the examples and the licence, and nothing of this machine or of our tests', (t) => {
  const files = readdirSync(installed, { recursive: true }) as string[]
  const { bin } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { bin: Record<string, string> }
  for (const path of Object.values(bin))
    t.match(readFileSync(join(installed, path), 'utf8'), /^#!\/usr\/bin\/env node\n/)
  for (const name of ['LICENSE', 'README.md', 'config/hub.yaml', 'config/schema/device.schema.json', 'docs/wire.md'])
    t.ok(existsSync(join(installed, name)), name)
  t.strictSame(
    files.filter((name) => /\.test\.|identity\.pem|^dist\/test\/(processes|platform)/.test(name)),
    [],
  )
  t.end()
})

t.test('its types stand under the strictest settings, for the example and for every entry point', (t) => {
  writeFileSync(join(folder, 'usage.ts'), usage)
  cpSync(join(root, 'config/examples/client.ts'), join(folder, 'client.ts'))
  const settings = {
    target: 'es2023',
    module: 'nodenext',
    types: ['node'],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
  }
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: settings, files: ['usage.ts', 'client.ts'] }),
  )
  const compiler = spawnSync(...unwatchedNode(join(modules, 'typescript/bin/tsc'), '-p', folder), { encoding: 'utf8' })
  t.equal(compiler.stdout, '')
  t.equal(compiler.status, 0)
  t.end()
})

t.test('what the README shows compiles', (t) => {
  const blocks = [...readFileSync(join(installed, 'README.md'), 'utf8').matchAll(/^```ts\n(.*?)^```$/gms)]
  t.ok(blocks.length >= 2)
  const given = `import type { Tensor } from 'tessera-edge/client'
    declare const model: Uint8Array
    declare const sample: Record<string, Tensor>\n`
  const files = blocks.map(([, code], index) => {
    writeFileSync(join(folder, `readme-${index}.ts`), given + code!)
    return `readme-${index}.ts`
  })
  const settings = {
    target: 'es2023',
    module: 'nodenext',
    types: ['node'],
    strict: true,
    noEmit: true,
    skipLibCheck: true,
  }
  mkdirSync(join(folder, 'readme'))
  const project = { compilerOptions: settings, files: files.map((name) => `../${name}`) }
  writeFileSync(join(folder, 'readme/tsconfig.json'), JSON.stringify(project))
  const tsc = unwatchedNode(join(modules, 'typescript/bin/tsc'), '-p', join(folder, 'readme'))
  t.equal(spawnSync(...tsc, { encoding: 'utf8' }).stdout, '')
  t.end()
})

t.test('every entry point runs with its defaults, and ends', (t) => {
  const model = join(installed, 'config/models/digits-resnet/model.onnx')
  const [command, args] = unwatchedNode(join(folder, 'usage.js'), model)
  const ended = spawnSync(command, args, { cwd: folder, encoding: 'utf8', timeout: 60_000 })
  t.equal(ended.stderr, '')
  t.strictSame(JSON.parse(ended.stdout), { hops: 2, isSame: true })
  t.equal(ended.status, 0)
  t.end()
})
