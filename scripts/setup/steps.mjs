/** The steps of a setup: install, compile, build tap. Each is quiet while it goes well and clear when it does not. */

import childProcess from 'child_process'
import fs from 'fs'
import path from 'path'
import { npmCause, packagesFor } from './freshness.mjs'
import * as state from './state.mjs'

/** Foreseen; its message is one sentence for people. */
export class SetupFailure extends Error {}

/** Somebody asked to stop. */
export class Interrupted extends Error {
  constructor(signal) {
    super(signal)
    this.signal = signal
  }
}

const lastLines = 20
/** Requests, warnings, and the stack and inner fields of an error. */
const npmNoise = /^npm (http|warn|WARN) |^npm (error|ERR!)( {2,}|\s*$| [{}])/
const duringSetup = 'TESSERA_SETUP'

/** `npm ci`: exactly what the lock file says. */
export async function install({ root, reason, progress, children }) {
  const total = packagesFor(state.lockedPackages(root), process.platform, process.arch, libc())
  const known = new Set()
  const fetched = new Set()
  const watch = (line) => {
    const [, url] = /^npm http \S+ (?:GET 200 )?(\S+)/.exec(line) || []
    if (url !== undefined) (url.endsWith('.tgz') ? fetched : known).add(url)
  }
  const detail = () => {
    if (fetched.size === 0) return `${known.size} looked up`
    return fetched.size < total ? `${fetched.size} fetched` : 'all fetched, unpacking'
  }
  progress.begin(`installing ${total} packages`, reason, detail)
  state.forgetInstall(root)
  // `http` shows each package as it comes, which is all the progress that npm can give without a terminal.
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--no-progress', '--loglevel=http']
  const result = await run(npm(args), { root, env: installEnv(process.env), watch, children })
  if (result.status !== 0) {
    progress.end()
    const words = result.lines.filter((line) => line.trim() !== '' && !npmNoise.test(line))
    process.stderr.write(`${words.slice(-lastLines).join('\n')}\n`)
    throw new SetupFailure(`\`npm ci\` failed: ${npmCause(words.join('\n'))}`)
  }
  state.noteInstall(root, {})
  progress.done(`installed ${total} packages`)
}

/** What npm is told by its environment: no download besides the registry's, neither of CUDA nor of Node's headers. */
export function installEnv(env, nodePath = process.execPath, exists = fs.existsSync) {
  const prefix = path.dirname(path.dirname(nodePath))
  const headers = exists(path.join(prefix, 'include', 'node', 'node.h')) && env.npm_config_nodedir === undefined
  return {
    ...env,
    [duringSetup]: '1',
    ONNXRUNTIME_NODE_INSTALL: 'skip',
    ...(headers ? { npm_config_nodedir: prefix } : {}),
  }
}

/** The sources into `dist`, made anew: what is gone from the sources must not live on there. */
export async function compile({ root, reason, progress, children }) {
  progress.begin('compiling', reason)
  const sources = state.fingerprint(root)
  state.forgetBuild(root)
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const result = await run([process.execPath, tsc, '--pretty', String(progress.live)], { root, children })
  if (result.status !== 0) {
    progress.end()
    process.stderr.write(`${result.lines.join('\n')}\n`)
    throw new SetupFailure('the sources do not compile: the compiler says why above')
  }
  state.noteBuild(root, sources)
  progress.done('compiled')
}

/** tap, generated with the plugins that `.taprc` names. */
export async function buildTap({ root, reason, progress, children }) {
  progress.begin('preparing the test runner', reason)
  const tap = path.join(root, 'node_modules', 'tap', 'dist', 'esm', 'run.mjs')
  const result = await run([process.execPath, tap, 'build'], { root, children })
  if (result.status !== 0) {
    progress.end()
    process.stderr.write(`${result.lines.slice(-lastLines).join('\n')}\n`)
    throw new SetupFailure('the test runner could not be prepared: it says why above; `npm ci` starts afresh')
  }
  state.noteInstall(root, { tap: state.tapChoice(root) })
  progress.done('prepared the test runner')
}

/** Called by `npm ci` and `npm install` at their end. Without development tools (`--omit=dev`) there is nothing to prepare. */
export async function prepare({ root, progress, children }) {
  if (['pack', 'publish'].includes(process.env.npm_command)) return // npm calls it then too, and has installed nothing
  if (process.env[duringSetup] !== undefined) return // our own `npm ci`: the test runner is prepared when tests need it
  state.noteInstall(root, {})
  if (!fs.existsSync(path.join(root, 'node_modules', 'tap', 'package.json'))) return
  await buildTap({ root, reason: 'npm has installed', progress, children }).catch((error) => {
    if (!(error instanceof SetupFailure)) throw error // `npm test` tries again, and says it
  })
}

/** The C library that packages for Linux are told apart by. */
function libc() {
  if (process.platform !== 'linux') return undefined
  return process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc'
}

/** The npm that runs us, or the first on the path. */
function npm(args) {
  const running = process.env.npm_execpath
  if (running !== undefined && /^npm-cli\.c?js$/.test(path.basename(running)))
    return [process.execPath, running, ...args]
  return [process.platform === 'win32' ? 'npm.cmd' : 'npm', ...args]
}

/** Runs a command to its end in a process group of its own, and takes it down, whole, when we are asked to stop. */
function run([command, ...args], { root, env = process.env, watch = () => {}, children }) {
  return new Promise((resolve, reject) => {
    const grouped = process.platform !== 'win32'
    const child = childProcess.spawn(command, args, {
      cwd: root,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: grouped,
      shell: command.endsWith('.cmd'),
    })
    if (child.pid !== undefined) children.add(child.pid)
    let stopped
    const stop = (signal) => {
      stopped = signal
      // Not politely: npm would go on for a minute before it heeds, and what it leaves half done is made anew anyway.
      if (child.exitCode === null && child.signalCode === null)
        process.kill(grouped ? -child.pid : child.pid, 'SIGKILL')
    }
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    for (const signal of signals) process.on(signal, stop)

    const lines = []
    for (const stream of [child.stdout, child.stderr]) {
      let rest = ''
      stream.setEncoding('utf8')
      stream.on('data', (text) => {
        const parts = (rest + text).split('\n')
        rest = parts.pop()
        for (const line of parts) {
          lines.push(line)
          watch(line)
        }
      })
    }
    const settle = (act) => {
      for (const signal of signals) process.removeListener(signal, stop)
      children.delete(child.pid)
      act()
    }
    child.on('error', (error) =>
      settle(() =>
        reject(new SetupFailure(`${command} cannot be started (${error.code}): is it installed and on the PATH?`)),
      ),
    )
    child.on('close', (status) =>
      settle(() => (stopped === undefined ? resolve({ status, lines }) : reject(new Interrupted(stopped)))),
    )
  })
}
