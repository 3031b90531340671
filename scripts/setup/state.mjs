/** Reads what is there and notes what was done: in node_modules for installations, in dist for builds. */

import crypto from 'crypto'
import fs from 'fs'
import path from 'path'

const sourceFolders = ['shared', 'broker', 'device', 'scripts', 'test', 'config']
const buildFiles = ['package.json', 'tsconfig.json']

const hash = (data) => crypto.createHash('sha256').update(data).digest('hex')
const installStamp = (root) => path.join(root, 'node_modules', '.tessera-setup')
const buildStamp = (root) => path.join(root, 'dist', '.tessera-build')
const readJson = (file) => JSON.parse(fs.readFileSync(file, 'utf8'))

function readJsonIfThere(file) {
  try {
    return readJson(file)
  } catch {
    return undefined // absent, or half written by somebody who was interrupted: both mean "not done"
  }
}

export function neededNode(root) {
  return readJson(path.join(root, 'package.json')).engines.node
}

export function lockedPackages(root) {
  return readJson(path.join(root, 'package-lock.json')).packages
}

function isLink(file) {
  return fs.existsSync(file) && fs.lstatSync(file).isSymbolicLink()
}

const here = { abi: process.versions.modules, platform: `${process.platform}-${process.arch}` }

export function readInstall(root) {
  const modules = path.join(root, 'node_modules')
  const lock = hash(fs.readFileSync(path.join(root, 'package-lock.json')))
  const stamp = readJsonIfThere(installStamp(root))
  const known = stamp !== undefined && stamp.lock === lock
  const hidden = known ? undefined : readJsonIfThere(path.join(modules, '.package-lock.json'))
  return {
    present: fs.existsSync(modules),
    linked: isLink(modules),
    tools: fs.existsSync(path.join(modules, 'typescript', 'package.json')),
    stamp,
    lock,
    held: hidden === undefined ? undefined : hidden.packages,
    locked: hidden === undefined ? undefined : lockedPackages(root),
    ...here,
  }
}

/** Notes that what the lock file says is installed, and with which plugins tap was built, if it was. */
export function noteInstall(root, { tap }) {
  if (isLink(path.join(root, 'node_modules'))) return
  const lock = hash(fs.readFileSync(path.join(root, 'package-lock.json')))
  fs.writeFileSync(installStamp(root), JSON.stringify({ lock, ...here, tap }))
}

export function forgetInstall(root) {
  fs.rmSync(installStamp(root), { force: true })
}

export function readTap(root) {
  const stamp = readJsonIfThere(installStamp(root))
  return {
    linked: isLink(path.join(root, 'node_modules')),
    built: stamp === undefined ? undefined : stamp.tap,
    wanted: tapChoice(root),
  }
}

/** tap is generated anew from the plugins its settings name. */
export function tapChoice(root) {
  return hash(fs.readFileSync(path.join(root, '.taprc')))
}

export function readBuild(root) {
  const note = readJsonIfThere(buildStamp(root))
  return { built: note === undefined ? undefined : note.sources, sources: fingerprint(root) }
}

export function noteBuild(root, sources) {
  fs.writeFileSync(buildStamp(root), JSON.stringify({ sources }))
}

export function forgetBuild(root) {
  fs.rmSync(buildStamp(root), { force: true }) // first, lest somebody trusts a half-removed folder
  fs.rmSync(path.join(root, 'dist'), { recursive: true, force: true })
}

/** Name, size and time of every file that the compiler may read: looked at in milliseconds, where hashing reads all. */
export function fingerprint(root) {
  const lines = []
  const add = (file) => {
    const { size, mtimeMs } = fs.statSync(file)
    lines.push(`${path.relative(root, file)} ${size} ${mtimeMs}`)
  }
  const walk = (folder) => {
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      const file = path.join(folder, entry.name)
      if (entry.isDirectory()) walk(file)
      else if (/\.(ts|tsx|json)$/.test(entry.name)) add(file)
    }
  }
  for (const file of buildFiles) add(path.join(root, file))
  for (const folder of sourceFolders) if (fs.existsSync(path.join(root, folder))) walk(path.join(root, folder))
  return hash(lines.sort((a, b) => (a < b ? -1 : 1)).join('\n'))
}
