import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'

const root = resolve(import.meta.dirname, '../..')

/** Every file under version control that is text; undefined where this is no checkout (an unpacked archive). */
function textFiles(): { name: string; text: string }[] | undefined {
  if (!existsSync(join(root, '.git'))) return undefined
  const names = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0').filter(Boolean)
  const here = names.filter((name) => existsSync(join(root, name)) && lstatSync(join(root, name)).isFile())
  const read = here.map((name) => ({ name, text: readFileSync(join(root, name), 'latin1') }))
  return read.filter(({ text }) => !text.includes('\0'))
}

const files = textFiles()
const skip = files === undefined ? 'no version control here' : false

// Absolute paths of somebody's machine. In pieces, lest this file find itself.
const machinePath = new RegExp(
  String.raw`(?<![\w.~*$}/-])/(?:${['home', 'Users', 'root', 'work', 'farm'].join('|')})/\w|[A-Z]:\\Users\\`,
)

t.test('no file names a path of the machine it was written on', { skip }, (t) => {
  t.match(['see ', 'home', 'me'].join('/'), machinePath)
  const leaks = (files ?? []).flatMap(({ name, text }) =>
    machinePath.test(text) ? [`${name}: ${machinePath.exec(text)?.[0]}`] : [],
  )
  t.strictSame(leaks, [])
  t.end()
})

t.test('the lock file names no registry, so that it installs from any', (t) => {
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8')
  t.notMatch(lock, /"resolved"/)
  t.end()
})

t.test('the lock file holds the native parts of every platform that the README names', (t) => {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, unknown>
  }
  const needed = ['@typescript/typescript', '@oxlint-tsgolint/'].flatMap((tool) =>
    ['linux-x64', 'linux-arm64', 'darwin-arm64'].map(
      (platform) => `node_modules/${tool}${tool.endsWith('/') ? '' : '-'}${platform}`,
    ),
  )
  t.strictSame(
    needed.filter((name) => packages[name] === undefined),
    [],
  )
  t.end()
})
