/**
 * The bench's own child processes: started, asked, ended. A child is a module of this folder that calls `serve` with
 * what it can be asked; questions and answers go over Node's IPC channel, typed by those handlers.
 */

import { fork } from 'node:child_process'
import { join } from 'node:path'
import { allocator } from '../demo/devices.js'
import { ownCpuMs } from './machine.js'

/** What a child can be asked, each with one argument. */
export type Handlers = Record<string, (given: never) => unknown>

interface Question {
  readonly id: number
  readonly what: string
  readonly given: unknown
}
interface Answer {
  readonly id: number
  readonly value?: unknown
  readonly reason?: string
}

export interface Child<H extends Handlers> {
  readonly pid: number
  /** Rejects with what the child throws, and when it ends before it has answered. */
  ask<K extends keyof H & string>(what: K, given: Parameters<H[K]>[0]): Promise<Awaited<ReturnType<H[K]>>>
  /** User and system time of the child so far, in milliseconds. */
  cpuMs(): Promise<number>
  stop(): Promise<void>
}

const endWithinMs = 3000

/** Starts `<module>.js` of this folder with the allocator settings of a real device. */
export function start<H extends Handlers>(module: string): Child<H> {
  const child = fork(join(import.meta.dirname, `${module}.js`), {
    serialization: 'advanced', // tensors and models go as bytes
    env: { ...process.env, ...allocator },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const waiting = new Map<number, { resolve(value: unknown): void; reject(reason: Error): void }>()
  let next = 0
  child.on('message', ({ id, value, reason }: Answer) => {
    const asked = waiting.get(id)
    waiting.delete(id)
    if (reason === undefined) asked?.resolve(value)
    else asked?.reject(new Error(`${module}: ${reason}`))
  })
  const ended = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      for (const asked of waiting.values()) asked.reject(new Error(`${module} ended: ${signal ?? `status ${code}`}`))
      waiting.clear()
      resolve()
    })
  })
  const ask = (what: string, given: unknown): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const id = next++
      waiting.set(id, { resolve, reject })
      child.send({ id, what, given } satisfies Question, (error) => {
        if (error !== null) reject(error)
      })
    })
  return {
    pid: child.pid!,
    ask: (what, given) => ask(what, given) as never,
    cpuMs: () => ask(cpuQuestion, undefined) as Promise<number>,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.disconnect() // a child ends when nobody can ask it any more
      const timer = setTimeout(() => child.kill('SIGKILL'), endWithinMs)
      await ended
      clearTimeout(timer)
    },
  }
}

const cpuQuestion = 'cpuMs'

/** The child's side: answers until its parent has gone, then calls `close` and ends. */
export function serve(handlers: Handlers, close: () => Promise<void> = () => Promise.resolve()): void {
  const all: Record<string, (given: never) => unknown> = { ...handlers, [cpuQuestion]: () => ownCpuMs() }
  const answer = async ({ id, what, given }: Question): Promise<void> => {
    try {
      process.send!({ id, value: await all[what]!(given as never) } satisfies Answer)
    } catch (error) {
      process.send!({
        id,
        reason: error instanceof Error ? (error.stack ?? error.message) : String(error),
      } satisfies Answer)
    }
  }
  process.on('message', (question: Question) => void answer(question))
  process.on('disconnect', () => {
    void close().finally(() => process.exit())
  })
  process.on('SIGINT', () => {}) // the parent gets it too, and goes
}
