/**
 * Makes processes slower: each gets its share of every period and is stopped for the rest (SIGSTOP, SIGCONT), by a thread of
 * its own that does nothing else. Needs no rights.
 */

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

export interface Throttled {
  readonly pid: number
  /** Of each period, above 0; 1 is not slowed down. */
  readonly share: number
}

/** So short that a stage which is stopped holds its neighbours up for no longer than their queues last. */
export const periodMs = 20

export interface Throttle {
  /** All go on at full speed from here on; resolves when they do. */
  readonly stop: () => Promise<void>
}

export function throttle(processes: readonly Throttled[]): Throttle {
  const slowed = processes.filter(({ share }) => share < 1)
  const letGo = (): void => {
    for (const { pid } of slowed) signal(pid, 'SIGCONT')
  }
  if (slowed.length === 0) return { stop: () => Promise.resolve() }
  const flag = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(new URL('./throttle-worker.js', import.meta.url), {
    workerData: { slowed, flag, periodMs },
  })
  process.once('exit', letGo)
  const ended = once(worker, 'exit')
  return {
    async stop() {
      Atomics.store(flag, 0, 1)
      Atomics.notify(flag, 0)
      await ended
      letGo()
      process.off('exit', letGo)
    },
  }
}

/** One that has ended meanwhile needs no signal. */
export function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
