import { spawn, spawnSync } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { existsSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'

const root = resolve(import.meta.dirname, '../../..')

/** The setup runs before there is a compiler, hence plain JavaScript, typed here as far as it is tested. */
async function part<Exports>(file: string): Promise<Exports> {
  return (await import(pathToFileURL(join(root, 'scripts/setup', file)).href)) as Exports
}

interface Stamp {
  lock: string
  abi: string
  platform: string
}
type Packages = Record<string, { version: string; optional?: boolean; os?: string[]; cpu?: string[]; libc?: string[] }>
interface Install extends Stamp {
  present: boolean
  linked: boolean
  tools: boolean
  needsTools: boolean
  stamp?: Stamp
  held?: Packages
  locked?: Packages
}
const freshness = await part<{
  nodeComplaint: (needed: string, running: string) => string | undefined
  installReason: (state: Install) => string | undefined
  buildReason: (state: { built?: string; sources: string }) => string | undefined
  tapReason: (state: { linked: boolean; built?: string; wanted: string }) => string | undefined
  npmCause: (output: string) => string
  packagesFor: (locked: Packages, os: string, cpu: string, libc: string | undefined) => number
}>('freshness.mjs')
const { fingerprint } = await part<{ fingerprint: (root: string) => string }>('state.mjs')
const { isStale, withLock } = await part<{
  isStale: (pids: number[], ageMs: number, alive: (pid: number) => boolean) => boolean
  withLock: <T>(file: string, progress: { begin: () => void; done: () => void }, work: () => Promise<T>) => Promise<T>
}>('lock.mjs')
const { installEnv } = await part<{
  installEnv: (env: NodeJS.ProcessEnv, nodePath: string, exists: (file: string) => boolean) => NodeJS.ProcessEnv
}>('steps.mjs')
const { dropEchoes } = await part<{
  dropEchoes: (emitter: EventEmitter, signals: string[], now: () => number) => void
}>('become.mjs')

t.test('a Node too old for the package is told so, and no other', (t) => {
  t.match(
    freshness.nodeComplaint('>=20.19', '20.18.3'),
    /^Tessera needs Node 20\.19 or newer, and this is Node 20\.18\.3/,
  )
  t.match(freshness.nodeComplaint('>=20.19', '14.21.3'), /this is Node 14/)
  for (const fine of ['20.19.0', '20.20.2', '22.0.0', '26.1.0'])
    t.equal(freshness.nodeComplaint('>=20.19', fine), undefined)
  t.end()
})

const installed: Install = {
  present: true,
  linked: false,
  tools: true,
  needsTools: true,
  lock: 'L',
  abi: '115',
  platform: 'linux-x64',
  stamp: { lock: 'L', abi: '115', platform: 'linux-x64' },
}
const locked: Packages = { '': { version: '0' }, a: { version: '1' }, b: { version: '2', optional: true } }
const changed = { ...installed, lock: 'M', locked }

t.test(
  'an installation is made anew only where it is missing or not what the lock file, this Node and this machine need',
  (t) => {
    const reason = freshness.installReason
    const { stamp: _, ...unnoted } = installed
    t.equal(reason(installed), undefined)
    t.equal(reason({ ...installed, present: false }), 'nothing is installed yet')
    t.equal(reason({ ...installed, tools: false }), 'the development tools are missing')
    t.equal(
      reason({ ...installed, tools: false, needsTools: false }),
      undefined,
      'an installation for production that is built',
    )
    t.equal(reason({ ...installed, abi: '127' }), 'it was built for Node ABI 115, this is 127')
    t.equal(reason({ ...installed, platform: 'darwin-arm64' }), 'it was installed for linux-x64, this is darwin-arm64')
    t.equal(reason({ ...installed, lock: 'M' }), 'package-lock.json has changed')
    t.equal(reason(unnoted), 'the last installation did not finish')
    t.equal(reason({ ...unnoted, tools: false }), 'the last installation did not finish')
    t.equal(
      reason({ ...changed, linked: true }),
      undefined,
      'an installation that is linked is somebody else’s to keep',
    )
    t.end()
  },
)

t.test('what was installed by hand is taken as it is where it agrees with the lock file', (t) => {
  const reason = freshness.installReason
  t.equal(reason({ ...changed, held: { a: { version: '1' }, b: { version: '2' } } }), undefined)
  t.equal(reason({ ...changed, held: { a: { version: '1' } } }), undefined, 'an optional package for another platform')
  t.equal(reason({ ...changed, held: { b: { version: '2' } } }), 'package-lock.json has changed', 'one is missing')
  t.equal(reason({ ...changed, held: { a: { version: '9' } } }), 'package-lock.json has changed', 'another version')
  t.equal(
    reason({ ...changed, held: { a: { version: '1' }, c: { version: '1' } } }),
    'package-lock.json has changed',
    'one too many',
  )
  t.end()
})

t.test(
  'sources are compiled where they are not what was compiled last, and tap is built where its settings changed',
  (t) => {
    t.equal(freshness.buildReason({ built: 'x', sources: 'x' }), undefined)
    t.equal(freshness.buildReason({ built: 'x', sources: 'y' }), 'sources have changed')
    t.equal(freshness.buildReason({ sources: 'y' }), 'nothing is built yet')
    t.equal(freshness.tapReason({ linked: false, built: 'x', wanted: 'x' }), undefined)
    t.equal(freshness.tapReason({ linked: false, wanted: 'x' }), 'not done yet')
    t.equal(freshness.tapReason({ linked: false, built: 'x', wanted: 'y' }), '.taprc has changed')
    t.equal(freshness.tapReason({ linked: true, wanted: 'x' }), undefined)
    t.end()
  },
)

t.test('a source changed, added, renamed or removed changes the fingerprint; other files do not', (t) => {
  const folder = t.testdir({
    'package.json': '{}',
    'tsconfig.json': '{}',
    shared: { onnx: { 'a.ts': '1' } },
    docs: { 'x.ts': '' },
  })
  const seen = [fingerprint(folder)]
  const change = (act: () => void): void => {
    act()
    seen.push(fingerprint(folder))
  }
  change(() => writeFileSync(join(folder, 'shared/onnx/a.ts'), '12'))
  change(() => utimesSync(join(folder, 'shared/onnx/a.ts'), 1, 1))
  change(() => writeFileSync(join(folder, 'shared/b.ts'), ''))
  change(() => writeFileSync(join(folder, 'tsconfig.json'), '{"a":1}'))
  t.equal(new Set(seen).size, seen.length)
  writeFileSync(join(folder, 'docs/x.ts'), 'changed')
  writeFileSync(join(folder, 'shared/notes.md'), 'added')
  t.equal(fingerprint(folder), seen.at(-1))
  t.end()
})

t.test('a failed installation is explained by its likely cause and the remedy', (t) => {
  const causes: [RegExp, string][] = [
    [/registry cannot be reached/, 'npm error code ECONNREFUSED\nnpm error network request failed'],
    [/registry cannot be reached/, 'npm ERR! code ENOTFOUND'],
    [/disk is full/, 'npm error code ENOSPC'],
    [/may not be written/, 'npm error code EACCES'],
    [
      /package\.json and package-lock\.json disagree/,
      'npm error code EUSAGE\nnpm error `npm ci` can only install packages when',
    ],
    [/does not hold a package/, 'npm error code E404'],
    [/did not compile/, 'npm error gyp ERR! build error'],
    [/npm says why above/, 'npm error something new'],
  ]
  for (const [cause, output] of causes) t.match(freshness.npmCause(output), cause)
  t.end()
})

t.test('only the packages that fit this machine are counted', (t) => {
  const packages: Packages = {
    '': { version: '0' },
    plain: { version: '1' },
    win: { version: '1', optional: true, os: ['win32'] },
    arm: { version: '1', optional: true, os: ['linux'], cpu: ['arm64'] },
    musl: { version: '1', optional: true, os: ['linux'], cpu: ['x64'], libc: ['musl'] },
    glibc: { version: '1', optional: true, os: ['linux'], cpu: ['x64'], libc: ['glibc'] },
  }
  t.equal(freshness.packagesFor(packages, 'linux', 'x64', 'glibc'), 2)
  t.equal(freshness.packagesFor(packages, 'win32', 'x64', undefined), 2)
  t.equal(freshness.packagesFor(packages, 'darwin', 'arm64', undefined), 1)
  t.end()
})

t.test('native modules are built against the headers beside Node, where there are any and nobody chose others', (t) => {
  const beside = (file: string): boolean => file === join('/opt/node', 'include/node/node.h')
  t.match(installEnv({ A: 'b' }, '/opt/node/bin/node', beside), {
    A: 'b',
    npm_config_nodedir: '/opt/node',
    ONNXRUNTIME_NODE_INSTALL: 'skip',
  })
  t.equal(installEnv({}, '/opt/node/bin/node', () => false)['npm_config_nodedir'], undefined)
  t.equal(installEnv({ npm_config_nodedir: '/mine' }, '/opt/node/bin/node', beside)['npm_config_nodedir'], '/mine')
  t.end()
})

t.test('a lock is stale when nobody it names lives, or when it is very old', (t) => {
  t.equal(
    isStale([1, 2], 0, (pid) => pid === 2),
    false,
    'the holder is gone, what it started still works',
  )
  t.equal(
    isStale([1, 2], 0, () => false),
    true,
  )
  t.equal(
    isStale([1], 601_000, () => true),
    true,
    'the number has gone to another process',
  )
  t.end()
})

t.test('of many that set up at once one works at a time, also after one has died with the lock', async (t) => {
  const file = join(t.testdir({}), '.setup.lock')
  const dead = spawnSync(process.execPath, ['--version']).pid
  writeFileSync(file, String(dead))
  const progress = pathToFileURL(join(root, 'scripts/setup/progress.mjs')).href
  const lock = pathToFileURL(join(root, 'scripts/setup/lock.mjs')).href
  // Each notes its coming and going; were two inside at once, two comings would stand in a row.
  const script = `
    import fs from 'fs'
    import { spawnSync } from 'child_process'
    import { withLock } from ${JSON.stringify(lock)}
    import { Progress } from ${JSON.stringify(progress)}
    await withLock(${JSON.stringify(file)}, new Progress(process.stderr, {}), async () => {
      fs.appendFileSync(${JSON.stringify(`${file}.log`)}, 'in ')
      spawnSync(process.execPath, ['--version'])
      fs.appendFileSync(${JSON.stringify(`${file}.log`)}, 'out ')
    })`
  const racers = [1, 2, 3].map(() =>
    spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' }),
  )
  const ends = await Promise.all(racers.map((racer) => once(racer, 'exit')))
  t.strictSame(ends, [
    [0, null],
    [0, null],
    [0, null],
  ])
  t.equal(readFileSync(`${file}.log`, 'utf8'), 'in out in out in out ')
  t.notOk(existsSync(file), 'and leaves nothing behind')
})

t.test('the lock is given back when the work fails', async (t) => {
  const file = join(t.testdir({}), '.setup.lock')
  const silent = { begin: () => {}, done: () => {} }
  await t.rejects(
    withLock(file, silent, () => Promise.reject(new Error('no disk'))),
    { message: 'no disk' },
  )
  t.notOk(existsSync(file))
})

t.test('a signal that comes twice at once, from the terminal and from npm, is one signal', (t) => {
  const emitter = new EventEmitter()
  let nowMs = 0
  const heard: string[] = []
  dropEchoes(emitter, ['SIGINT'], () => nowMs)
  for (const name of ['SIGINT', 'data']) emitter.on(name, () => heard.push(`${name}@${nowMs}`))
  for (nowMs of [0, 20, 499, 500, 520]) emitter.emit('SIGINT')
  emitter.emit('data')
  emitter.emit('data')
  t.strictSame(heard, ['SIGINT@0', 'SIGINT@500', 'data@520', 'data@520'])
  t.end()
})
