/**
 * Runs a segment. In a worker thread, because ONNX Runtime's `run` blocks the thread it is called on; or inline, as a
 * measured choice for stages so short that the hand-over would cost more than it frees (D14).
 */

import { Worker } from 'node:worker_threads'
import { Refusal, type RefusalCode } from '#shared/errors.js'
import { loadEngine, type EngineSession, type Feeds } from '#shared/onnx/session.js'
import type { Tensor } from '#shared/onnx/tensor.js'
import type { FromWorker, ToWorker } from './worker.js'

export type EngineMode = 'inline' | 'worker'

export interface Ran {
  readonly outputs: Record<string, Tensor>
  readonly computeUs: number
}

export interface StageEngine {
  readonly mode: EngineMode
  /** Runs `feeds` once; their memory may be handed over for good. Throws the engine's `Refusal`. */
  run(feeds: Feeds, fetches: readonly string[]): Promise<Ran>
  close(): Promise<void>
}

/**
 * Opens a segment from its bytes, which are wiped once the session is made (they are in clear). The level is `disabled`:
 * the hub has optimised the graph before it cut it (D13).
 */
export async function openEngine(model: Uint8Array<ArrayBuffer>, mode: EngineMode): Promise<StageEngine> {
  return mode === 'inline' ? openInline(model) : openInWorker(model)
}

async function openInline(model: Uint8Array): Promise<StageEngine> {
  const session = await createSession(model)
  let last: Promise<unknown> = Promise.resolve()
  return {
    mode: 'inline',
    async run(feeds, fetches) {
      const running = last.then(() => timedRun(session, feeds, fetches))
      last = running.catch(() => {})
      return running
    },
    async close() {
      await last
      await session.release()
    },
  }
}

export async function createSession(model: Uint8Array): Promise<EngineSession> {
  try {
    return await (await loadEngine()).create(model, { level: 'disabled' })
  } finally {
    model.fill(0)
  }
}

export async function timedRun(session: EngineSession, feeds: Feeds, fetches: readonly string[]): Promise<Ran> {
  const startMs = performance.now()
  const outputs = await session.run(feeds, fetches)
  return { outputs, computeUs: Math.round((performance.now() - startMs) * 1000) }
}

async function openInWorker(model: Uint8Array<ArrayBuffer>): Promise<StageEngine> {
  const worker = new Worker(new URL('./worker.js', import.meta.url), { name: 'inference' })
  const waiting = new Map<number, { resolve: (ran: Ran) => void; reject: (reason: unknown) => void }>()
  let next = 0
  let broken: Refusal | undefined
  const opened = new Promise<void>((resolve, reject) => {
    worker.on('message', (message: FromWorker) => {
      switch (message.kind) {
        case 'opened':
          resolve()
          break
        case 'refused':
          reject(refusalOf(message))
          break
        case 'ran':
          waiting.get(message.id)?.resolve(message)
          waiting.delete(message.id)
          break
        case 'failed':
          waiting.get(message.id)?.reject(refusalOf(message))
          waiting.delete(message.id)
          break
      }
    })
    const fail = (why: string): void => {
      broken = new Refusal('bad-segment', `the inference worker ended: ${why}`)
      reject(broken)
      for (const { reject: refuse } of waiting.values()) refuse(broken)
      waiting.clear()
    }
    worker.on('error', (error) => fail(error.message))
    worker.on('exit', (code) => fail(`exit status ${code}`))
  })
  const send = (message: ToWorker, transfer: readonly ArrayBuffer[]): void => worker.postMessage(message, transfer)
  const own = model.byteLength === model.buffer.byteLength ? model : Uint8Array.from(model)
  send({ kind: 'open', model: own }, [own.buffer])
  await opened

  return {
    mode: 'worker',
    run(feeds, fetches) {
      if (broken !== undefined) return Promise.reject(broken)
      const id = next++
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject })
        send({ kind: 'run', id, feeds, fetches }, transferable(feeds))
      })
    },
    async close() {
      // Never `terminate()`: it aborts the whole process while a session runs (DESIGN 6).
      const ended = new Promise((resolve) => worker.once('exit', resolve))
      send({ kind: 'close' }, [])
      await ended
    },
  }
}

function refusalOf(message: { code: string; message: string }): Refusal {
  return new Refusal(message.code as RefusalCode, message.message)
}

/** The memory that feeds or outputs lie in, each buffer once, so that it changes hands without a copy. */
export function transferable(tensors: Readonly<Record<string, Tensor>>): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>()
  for (const { data } of Object.values(tensors)) {
    if (data instanceof Uint8Array && data.buffer instanceof ArrayBuffer) buffers.add(data.buffer)
  }
  return [...buffers]
}
