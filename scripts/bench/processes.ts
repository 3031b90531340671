/**
 * The bench's own child processes: started, asked, ended. A child is a module of this folder that calls `serve` with
 * what it can be asked; questions and answers go over Node's IPC channel, typed by those handlers.
 */

import { fork } from 'node:child_process'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
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
  /** From now on the child notes how late its event loop is. */
  watchLoop(): Promise<void>
  /** How late it was since then. */
  loopGap(): Promise<LoopGap>
  stop(): Promise<void>
}

/** Delays of an event loop beyond the period at which it was looked at, in milliseconds. */
export interface LoopGap {
  readonly p99Ms: number
  readonly maxMs: number
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
    cpuMs: () => ask('cpuMs', undefined) as Promise<number>,
    watchLoop: () => ask('watchLoop', undefined) as Promise<void>,
    loopGap: () => ask('loopGap', undefined) as Promise<LoopGap>,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.disconnect() // a child ends when nobody can ask it any more
      const timer = setTimeout(() => child.kill('SIGKILL'), endWithinMs)
      await ended
      clearTimeout(timer)
    },
  }
}

const loopPeriodMs = 5

/** What every child can be asked. */
function common(): Handlers {
  const delays = monitorEventLoopDelay({ resolution: loopPeriodMs })
  const beyond = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - loopPeriodMs)
  return {
    cpuMs: () => ownCpuMs(),
    watchLoop() {
      delays.reset()
      delays.enable()
    },
    loopGap(): LoopGap {
      delays.disable()
      return { p99Ms: beyond(delays.percentile(99)), maxMs: beyond(delays.max) }
    },
  }
}

/** The child's side: answers until its parent has gone, then calls `close` and ends. */
export function serve(handlers: Handlers, close: () => Promise<void> = () => Promise.resolve()): void {
  const all: Record<string, (given: never) => unknown> = { ...handlers, ...common() }
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
