/** The setup as people meet it: in a small project of its own, with a small npm that links our packages into it. */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t, { type Test } from 'tap'
import { unwatchedNode } from '../support/unwatched.js'

const root = resolve(import.meta.dirname, '../../..')

/** Installs what compiling needs, and counts how often it was asked to. */
const installing = `
  fs.rmSync('node_modules', { recursive: true, force: true })
  fs.mkdirSync('node_modules')
  for (const name of ['typescript', '@typescript']) fs.symlinkSync(${JSON.stringify(`${root}/node_modules`)} + '/' + name, 'node_modules/' + name)
  fs.appendFileSync('npm.log', process.argv.slice(2).join(' ') + '\\n')`

// No library but the language's own: the compiler is quick then.
const settings = { rootDir: '.', outDir: 'dist', target: 'es2022', module: 'nodenext', lib: ['es2022'], types: [] }
const program = `
declare const console: { log(...words: string[]): void }, process: { argv: string[]; exitCode: number }
const greeting: string = 'hello'
console.log(greeting, process.argv.slice(2).join(' '))
process.exitCode = 42
export {}
`

/** A fresh clone: sources, lock file, the real setup, and an npm that runs `npm` when called. */
function clone(t: Test, npm = installing): string {
  const dir = t.testdir({ 'npm-cli.js': `const fs = require('fs')\n${npm}`, shared: { 'hello.ts': program } })
  mkdirSync(join(dir, 'scripts'))
  cpSync(join(root, 'scripts/setup.mjs'), join(dir, 'scripts/setup.mjs'))
  cpSync(join(root, 'scripts/setup'), join(dir, 'scripts/setup'), { recursive: true })
  for (const file of ['package-lock.json', '.taprc']) cpSync(join(root, file), join(dir, file))
  writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions: settings, include: ['shared'] }))
  // Its programs are ESM as ours, but the small npm is not.
  writeFileSync(join(dir, 'package.json'), '{ "engines": { "node": ">=20.19" } }')
  return dir
}

const environment = (dir: string): NodeJS.ProcessEnv => ({
  ...process.env,
  npm_execpath: join(dir, 'npm-cli.js'),
  CI: '1',
})

function setup(dir: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(...unwatchedNode(join(dir, 'scripts/setup.mjs'), ...args), {
    encoding: 'utf8',
    env: environment(dir),
  })
}

t.test('the first start installs, builds and becomes the program; the second only becomes it', (t) => {
  const dir = clone(t)
  const first = setup(dir, 'run', 'dist/shared/hello.js', '--a', 'b c')
  t.equal(first.stdout, 'hello --a b c\n', 'nothing but the program speaks on stdout')
  t.equal(first.status, 42, 'the exit status is the program’s')
  t.match(first.stderr, /^tessera: installing \d+ packages \(nothing is installed yet\) …\ntessera: installed/)
  t.match(first.stderr, /tessera: compiled in \d/)
  t.match(readFileSync(join(dir, 'npm.log'), 'utf8'), /^ci --include=dev /)

  const second = setup(dir, 'run', 'dist/shared/hello.js')
  t.strictSame({ ...second, pid: 0 }, { ...second, pid: 0, status: 42, stdout: 'hello \n', stderr: '' })

  writeFileSync(join(dir, 'shared/hello.ts'), program.replace('hello', 'good day'))
  const changed = setup(dir, 'run', 'dist/shared/hello.js')
  t.equal(changed.stdout, 'good day \n')
  t.match(changed.stderr, /^tessera: compiling \(sources have changed\) …\ntessera: compiled/)

  writeFileSync(join(dir, 'package-lock.json'), `${readFileSync(join(dir, 'package-lock.json'), 'utf8')}\n`)
  t.match(
    setup(dir, 'run', 'dist/shared/hello.js').stderr,
    /^tessera: installing \d+ packages \(package-lock\.json has changed\)/,
  )
  t.equal(
    readFileSync(join(dir, 'npm.log'), 'utf8').split('\n').length - 1,
    2,
    'npm was called once for each lock file',
  )
  t.end()
})

t.test('what npm has installed by itself is not installed again', (t) => {
  const dir = clone(t)
  const byHand = (command: string): void => {
    spawnSync(...unwatchedNode('npm-cli.js', command), { cwd: dir })
    const npm = { ...environment(dir), npm_command: command }
    spawnSync(...unwatchedNode(join(dir, 'scripts/setup.mjs'), 'prepare'), { env: npm })
  }
  byHand('pack')
  t.match(setup(dir).stderr, /the last installation did not finish/, 'packing is no installation')
  writeFileSync(join(dir, 'package-lock.json'), `${readFileSync(join(dir, 'package-lock.json'), 'utf8')}\n`)
  byHand('ci')
  t.equal(setup(dir).stderr, '')
  t.end()
})

t.test('what is gone from the sources is gone from the build', (t) => {
  const dir = clone(t)
  writeFileSync(join(dir, 'shared/old.ts'), 'export {}\n')
  setup(dir)
  t.ok(existsSync(join(dir, 'dist/shared/old.js')))
  t.equal(spawnSync('rm', [join(dir, 'shared/old.ts')]).status, 0)
  setup(dir)
  t.notOk(existsSync(join(dir, 'dist/shared/old.js')))
  t.end()
})

t.test('sources that do not compile are refused with the compiler’s words, and again until they do', (t) => {
  const dir = clone(t)
  writeFileSync(join(dir, 'shared/hello.ts'), program.replace("'hello'", '5'))
  for (const time of ['first', 'second']) {
    const { status, stdout, stderr } = setup(dir, 'run', 'dist/shared/hello.js')
    t.equal(status, 1, time)
    t.equal(stdout, '')
    t.match(
      stderr,
      /shared\/hello\.ts\(3,7\): error TS2322.*\ntessera: the sources do not compile: the compiler says why above\n$/s,
    )
  }
  t.end()
})

t.test('an npm that fails is heard, explained and tried again the next time', (t) => {
  const dir = clone(t, `console.error('npm http fetch GET 200\\nnpm error code ECONNREFUSED'); process.exitCode = 1`)
  for (const time of ['first', 'second']) {
    const { status, stderr } = setup(dir)
    t.equal(status, 1, time)
    t.match(
      stderr,
      /\nnpm error code ECONNREFUSED\ntessera: `npm ci` failed: the package registry cannot be reached: check/,
    )
    t.notMatch(stderr, 'npm http')
  }
  t.notOk(existsSync(join(dir, '.setup.lock')))
  t.end()
})

t.test('packages that somebody has linked in are never installed over', (t) => {
  const dir = clone(t)
  symlinkSync(join(root, 'node_modules'), join(dir, 'node_modules'))
  t.equal(setup(dir, 'run', 'dist/shared/hello.js').status, 42)
  t.notOk(existsSync(join(dir, 'npm.log')))
  t.end()
})

t.test('a setup that is asked to stop takes npm with it, says so and leaves no lock', async (t) => {
  // This npm asks its parent to stop, once it runs, and would itself run for ever, like the real one deaf to requests.
  const dir = clone(
    t,
    `fs.writeFileSync('npm.pid', String(process.pid)); process.on('SIGTERM', () => {}); process.kill(process.ppid, 'SIGINT'); setInterval(() => {}, 1e6)`,
  )
  const child = spawn(...unwatchedNode(join(dir, 'scripts/setup.mjs')), {
    env: environment(dir),
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', (text) => (stderr += text))
  t.strictSame(await once(child, 'close'), [null, 'SIGINT'])
  t.match(stderr, /tessera: interrupted; the same command goes on from here\n$/)
  t.throws(() => process.kill(Number(readFileSync(join(dir, 'npm.pid'), 'utf8')), 0), { code: 'ESRCH' })
  t.notOk(existsSync(join(dir, '.setup.lock')))
})

t.test('a program that is not there, and a Node that is too old, are said in one sentence', (t) => {
  const dir = clone(t)
  const absent = setup(dir, 'run', 'dist/shared/absent.js')
  t.equal(absent.status, 1)
  t.match(absent.stderr, /tessera: there is no program dist\/shared\/absent\.js\n$/)
  writeFileSync(join(dir, 'package.json'), '{ "engines": { "node": ">=99.1" } }')
  const old = setup(dir)
  t.equal(old.status, 1)
  t.match(
    old.stderr,
    /^tessera: Tessera needs Node 99\.1 or newer, and this is Node \d+\.\d+\.\d+; install a newer one from \S+\n$/,
  )
  t.end()
})

t.test('a program that stops although it waits for something has failed', (t) => {
  const dir = clone(t)
  writeFileSync(join(dir, 'package.json'), '{ "type": "module", "engines": { "node": ">=20.19" } }')
  writeFileSync(join(dir, 'npm-cli.js'), `import fs from 'fs'\n${installing}`)
  writeFileSync(join(dir, 'shared/hello.ts'), 'await new Promise(() => {})\nexport {}\n')
  const { status, stderr } = setup(dir, 'run', 'dist/shared/hello.js')
  t.equal(status, 13)
  t.match(stderr, /dist\/shared\/hello\.js stopped with work left/)
  t.end()
})
