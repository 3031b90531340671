/** Real device processes on this machine, each with a folder and an identity of its own; ended with the demo. */

import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'

/** A device that does not end by itself within so long is killed. */
const endWithinMs = 3000
const startWithinMs = 30_000
/** The last words of a device that fails, for the error that says so. */
const keptWords = 2000

export interface DeviceProcess {
  readonly id: DeviceId
  readonly name: string
  readonly pid: number
  /** Resolves with a sentence when the process ends without being asked to. */
  readonly failed: Promise<string>
  stop(): Promise<void>
}

export interface DeviceProcessOptions {
  readonly name: string
  readonly folder: string
  readonly link: string
  readonly joinArguments: readonly string[]
}

/** Resolves when the device has joined the fleet. Throws `Refusal('device-lost')` with its own last words. */
export async function startDevice(options: DeviceProcessOptions): Promise<DeviceProcess> {
  const { name, folder, link, joinArguments } = options
  const main = join(import.meta.dirname, '../../device/main.js')
  const child = spawn(process.execPath, [main, '--name', name, '--state', folder, '--link', link, ...joinArguments], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    // In a group of its own: a Ctrl-C is the demo's to obey, which then ends its devices in order.
    detached: true,
    env: { ...process.env, ...allocator, TESSERA_LOG: process.env['TESSERA_LOG'] ?? 'warn' },
  })
  let words = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-keptWords)
  })
  let isStopping = false
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) =>
      resolve(`device ${name} ended (${signal ?? `status ${code}`}): ${words.trim() || 'it said nothing'}`),
    )
    child.once('error', (error) => resolve(`device ${name} did not start: ${error.message}`))
  })
  const failed = new Promise<string>((resolve) => {
    void ended.then((why) => {
      if (!isStopping) resolve(why)
    })
  })
  const id = await new Promise<DeviceId>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(
        new Refusal(
          'timed-out',
          `device ${name} did not join the fleet within ${startWithinMs / 1000} s: ${words.trim()}`,
        ),
      )
    }, startWithinMs)
    child.once('message', (said: { id: DeviceId }) => {
      clearTimeout(timer)
      resolve(said.id)
    })
    void ended.then((why) => {
      clearTimeout(timer)
      reject(new Refusal('device-lost', why))
    })
  })
  return {
    id,
    name,
    pid: child.pid!,
    failed,
    async stop() {
      isStopping = true
      await end(child, ended)
    },
  }
}

async function end(child: ChildProcess, ended: Promise<string>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  // A stopped process takes no signal but these two.
  child.kill('SIGCONT')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), endWithinMs)
  await ended
  clearTimeout(timer)
}

/** glibc's allocator as tensors want it: one arena, large blocks kept (saves 20 to 35 % CPU above 1 MiB). */
export const allocator = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: '67108864',
  MALLOC_TRIM_THRESHOLD_: '1073741824',
}
