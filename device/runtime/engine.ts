/**
 * Runs a segment. In a worker thread, because ONNX Runtime's `run` blocks the thread it is called on; or inline, as a
 * measured choice for stages so short that the hand-over would cost more than it frees (D14).
 */

import { Worker } from 'node:worker_threads'
import { wipe } from '#shared/bytes.js'
import { isRefusalCode, Refusal, reasonOf } from '#shared/errors.js'
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
  /**
   * Runs `feeds` once; their memory may be handed over for good. Rejects with the engine's `Refusal`, and with
   * `Refusal('bad-segment')` once closed or when the worker has died.
   */
  run(feeds: Feeds, fetches: readonly string[]): Promise<Ran>
  /** Ends after the runs that were asked for; closing twice is closing once. */
  close(): Promise<void>
}

/**
 * Opens a segment from its bytes, which are wiped once the session is made (they are in clear). The level is `disabled`:
 * the hub has optimised the graph before it cut it (D13). Throws the engine's `Refusal`; nothing stays open then.
 */
export async function openEngine(model: Uint8Array<ArrayBuffer>, mode: EngineMode): Promise<StageEngine> {
  return mode === 'inline' ? openInline(model) : openInWorker(model)
}

async function openInline(model: Uint8Array): Promise<StageEngine> {
  const session = await createSession(model)
  let last: Promise<unknown> = Promise.resolve()
  let closing: Promise<void> | undefined
  return {
    mode: 'inline',
    run(feeds, fetches) {
      if (closing !== undefined) return Promise.reject(closed())
      const running = last.then(() => timedRun(session, feeds, fetches))
      last = running.catch(() => {})
      return running
    },
    close() {
      closing ??= last.then(() => session.release())
      return closing
    },
  }
}

export async function createSession(model: Uint8Array): Promise<EngineSession> {
  try {
    return await (await loadEngine()).create(model, { level: 'disabled' })
  } finally {
    wipe(model)
  }
}

export async function timedRun(session: EngineSession, feeds: Feeds, fetches: readonly string[]): Promise<Ran> {
  const startMs = performance.now()
  const outputs = await session.run(feeds, fetches)
  return { outputs, computeUs: Math.round((performance.now() - startMs) * 1000) }
}

/** The engine in a worker thread, whose entry answers as `worker.ts` does. */
export async function openInWorker(
  model: Uint8Array<ArrayBuffer>,
  entry = new URL('./worker.js', import.meta.url),
): Promise<StageEngine> {
  const worker = new Worker(entry, { name: 'inference' })
  const waiting = new Map<number, { resolve: (ran: Ran) => void; reject: (reason: unknown) => void }>()
  let next = 0
  let broken: Refusal | undefined
  let refuseToOpen: (reason: Refusal) => void = () => {}
  const end = (why: string): void => {
    broken ??= new Refusal('bad-segment', `the inference worker ended: ${why}`)
    refuseToOpen(broken)
    for (const { reject } of waiting.values()) reject(broken)
    waiting.clear()
  }
  const ended = new Promise<void>((resolve) => {
    worker.once('exit', (code) => {
      end(`exit status ${code}`)
      resolve()
    })
  })
  worker.on('error', (error) => end(reasonOf(error)))
  const opened = new Promise<void>((resolve, reject) => {
    refuseToOpen = reject
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
  })
  const send = (message: ToWorker, transfer: readonly ArrayBuffer[]): void => worker.postMessage(message, transfer)
  // Never `terminate()`: it aborts the whole process while a session runs (DESIGN 6).
  const close = (): Promise<void> => {
    broken ??= closed()
    send({ kind: 'close' }, [])
    return ended
  }
  const own = model.byteLength === model.buffer.byteLength ? model : Uint8Array.from(model)
  if (own !== model) wipe(model)
  send({ kind: 'open', model: own }, [own.buffer])
  try {
    await opened
  } catch (error) {
    await close()
    throw error
  }

  return {
    mode: 'worker',
    run(feeds, fetches) {
      if (broken !== undefined) return Promise.reject(broken)
      const id = next++
      return new Promise((resolve, reject) => {
        send({ kind: 'run', id, feeds, fetches }, transferable(feeds))
        waiting.set(id, { resolve, reject })
      })
    },
    close,
  }
}

function closed(): Refusal {
  return new Refusal('bad-segment', 'the segment is closed: nothing more runs on it')
}

function refusalOf(message: { code: string; message: string }): Refusal {
  return new Refusal(isRefusalCode(message.code) ? message.code : 'bad-segment', message.message)
}

/** The memory that feeds or outputs lie in, each buffer once, so that it changes hands without a copy. */
export function transferable(tensors: Readonly<Record<string, Tensor>>): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>()
  for (const { data } of Object.values(tensors)) {
    if (data instanceof Uint8Array && data.buffer instanceof ArrayBuffer) buffers.add(data.buffer)
  }
  return [...buffers]
}
