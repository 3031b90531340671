/** A private folder for files that an engine insists on. Models never touch a disk in clear: memory where there is some. */

import { rmSync } from 'node:fs'
import { access, constants, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Gives `use` a fresh folder of mode 0700, on tmpfs where the system has one, and removes it whatever happens, an end of
 * the process by a signal or by `process.exit` included.
 */
export async function withScratch<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const inMemory = await access('/dev/shm', constants.W_OK).then(
    () => true,
    () => false,
  )
  const folder = await mkdtemp(join(inMemory ? '/dev/shm' : tmpdir(), 'tessera-'))
  if (folders.size === 0) watch()
  folders.add(folder)
  try {
    return await use(folder)
  } finally {
    folders.delete(folder)
    if (folders.size === 0) unwatch()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Folders in use: while there is one, the end of the process is watched. */
const folders = new Set<string>()
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

function watch(): void {
  process.on('exit', removeAll)
  // First in line, and gone when the others are asked: some end the process only if nobody else listens.
  for (const signal of signals) process.prependListener(signal, onSignal)
}

function unwatch(): void {
  process.off('exit', removeAll)
  for (const signal of signals) process.off(signal, onSignal)
}

function removeAll(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  folders.clear()
}

function onSignal(signal: NodeJS.Signals): void {
  removeAll()
  unwatch()
  // Nobody else listens: end as the signal would have ended the process.
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
}
