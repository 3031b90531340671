/** The inference worker: one session, runs in the order asked. Stopped by message only. */

import { parentPort } from 'node:worker_threads'
import { Refusal, reasonOf } from '#shared/errors.js'
import type { EngineSession, Feeds } from '#shared/onnx/session.js'
import type { Tensor } from '#shared/onnx/tensor.js'
import { createSession, timedRun, transferable } from './engine.js'

export type ToWorker =
  | { kind: 'open'; model: Uint8Array }
  | { kind: 'run'; id: number; feeds: Feeds; fetches: readonly string[] }
  | { kind: 'close' }

export type FromWorker =
  | { kind: 'opened' }
  | { kind: 'refused'; code: string; message: string }
  | { kind: 'ran'; id: number; outputs: Record<string, Tensor>; computeUs: number }
  | { kind: 'failed'; id: number; code: string; message: string }

/** Listens for orders; called only when this file is the entry of a worker thread. */
function serve(port: NonNullable<typeof parentPort>): void {
  let session: EngineSession | undefined
  let last: Promise<void> = Promise.resolve()
  const say = (message: FromWorker, transfer: readonly ArrayBuffer[] = []): void => port.postMessage(message, transfer)

  async function obey(order: ToWorker): Promise<void> {
    switch (order.kind) {
      case 'open':
        try {
          session = await createSession(order.model)
          say({ kind: 'opened' })
        } catch (error) {
          say({ kind: 'refused', ...said(error) })
        }
        return
      case 'run':
        try {
          const ran = await timedRun(session!, order.feeds, order.fetches)
          say({ kind: 'ran', id: order.id, ...ran }, transferable(ran.outputs))
        } catch (error) {
          say({ kind: 'failed', id: order.id, ...said(error) })
        }
        return
      case 'close':
        await session?.release()
        port.close()
    }
  }

  port.on('message', (order: ToWorker) => {
    last = last.then(() => obey(order))
  })
}

function said(error: unknown): { code: string; message: string } {
  return { code: error instanceof Refusal ? error.code : 'bad-segment', message: reasonOf(error) }
}

if (parentPort !== null) serve(parentPort)
