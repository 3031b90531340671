/** Real processes of a test: started outside tap's watch, followed line by line, ended by their id. */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import type { Test } from 'tap'
import { unwatchedNode } from './unwatched.js'

const dist = resolve(import.meta.dirname, '../..')
export const root = resolve(dist, '..')
export const digits = join(root, 'config/models/digits-resnet')

export const programs = {
  tessera: join(dist, 'scripts/tessera.js'),
  hub: join(dist, 'broker/main.js'),
  device: join(dist, 'device/main.js'),
}

/** How a process ended: its status, or the signal that ended it. */
export interface Ended {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ProcessOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  /** Shell words before the program: `ulimit -f 64;` */
  readonly before?: string
  readonly uid?: number
}

/** A program under test. */
export class Running {
  stdout = ''
  stderr = ''
  readonly ended: Promise<Ended>
  readonly #child: ChildProcess
  #watchers: (() => void)[] = []

  constructor(t: Test, script: string, args: readonly string[], { env, cwd, before, uid }: ProcessOptions = {}) {
    const [command, words] = unwatchedNode(script, ...args)
    const line = before === undefined ? undefined : `${before} exec "$0" "$@"`
    this.#child = spawn(
      line === undefined ? command : 'bash',
      line === undefined ? words : ['-c', line, command, ...words],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, ...env },
        ...(cwd === undefined ? {} : { cwd }),
        ...(uid === undefined ? {} : { uid, gid: uid }),
      },
    )
    for (const name of ['stdout', 'stderr'] as const) {
      this.#child[name]!.setEncoding('utf8').on('data', (text: string) => {
        this[name] += text
        this.#look()
      })
    }
    this.ended = once(this.#child, 'close').then(([status, signal]: Ended[keyof Ended][]) => {
      this.#look()
      return { status, signal } as Ended
    })
    // Also when the test itself falls over.
    const kill = (): void => void this.#child.kill('SIGKILL')
    process.once('exit', kill)
    void this.ended.then(() => process.off('exit', kill))
    t.teardown(async () => {
      kill()
      await this.ended
    })
  }

  get pid(): number {
    return this.#child.pid!
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Resolves with the match, as soon as what it said matches. Throws its last words when it ends without. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.stdout) ?? pattern.exec(this.stderr)
      if (found !== null) return found
      if (!this.isRunning) throw new Error(`it ended without saying ${pattern}:\n${this.stdout}\n${this.stderr}`)
      await new Promise<void>((look) => this.#watchers.push(look))
    }
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.#child.kill(signal)
    return this.ended
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  #look(): void {
    for (const look of this.#watchers.splice(0)) look()
  }
}

/** Runs a program to its end. */
export async function run(
  t: Test,
  script: string,
  args: readonly string[],
  options?: ProcessOptions,
): Promise<Ended & { readonly stdout: string; readonly stderr: string }> {
  const running = new Running(t, script, args, options)
  return { ...(await running.ended), stdout: running.stdout, stderr: running.stderr }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Resolves when the process is gone: for those that are not our children. */
export async function gone(pid: number): Promise<void> {
  while (isAlive(pid)) await new Promise((next) => setTimeout(next, 20))
}

export interface HubProcess {
  readonly hub: Running
  readonly uri: string
  readonly fleet: string
  readonly joinArguments: readonly string[]
}

/** `tessera-hub` on free ports, with these settings beside (YAML). */
export async function startHub(t: Test, folder: string, settings = ''): Promise<HubProcess> {
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'hub.yaml')
  writeFileSync(
    file,
    `state: state\n${settings.includes('listen:') ? '' : 'listen: { port: 0, relayPort: 0 }\n'}${settings}`,
  )
  const hub = new Running(t, programs.hub, ['--config', file])
  const [, line] = await hub.says(/^ {2}tessera-device (.+) --state .*$/m)
  const joinArguments = line!.split(' ')
  return { hub, uri: joinArguments[1]!, fleet: joinArguments[3]!, joinArguments }
}

/** `tessera-device` from a folder of its own. */
export function startDevice(
  t: Test,
  { joinArguments }: Pick<HubProcess, 'joinArguments'>,
  folder: string,
  ...more: string[]
): Running {
  return new Running(t, programs.device, [...joinArguments, '--state', folder, ...more])
}

/** A port that nobody listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
