/** The unsplit model in a thread of its own: what every result of the pipeline is compared with, bit for bit. */

import { Worker } from 'node:worker_threads'
import { Refusal } from '#shared/errors.js'
import type { Feeds } from '#shared/onnx/session.js'
import type { Tensor } from '#shared/onnx/tensor.js'
import type { FromReference, ToReference } from './reference-worker.js'

export interface Reference {
  /** The outputs of the unsplit model for these inputs. */
  run(feeds: Feeds): Promise<Record<string, Tensor>>
  close(): Promise<void>
}

/** `whole` is the canonical, optimised graph that the segments were cut from. */
export async function openReference(whole: Uint8Array): Promise<Reference> {
  const worker = new Worker(new URL('./reference-worker.js', import.meta.url), { name: 'reference', workerData: whole })
  const waiting = new Map<
    number,
    { resolve: (outputs: Record<string, Tensor>) => void; reject: (reason: unknown) => void }
  >()
  let next = 0
  const ended = new Promise<void>((resolve) => {
    worker.once('exit', () => {
      for (const { reject } of waiting.values()) reject(new Refusal('cancelled', 'the reference run was ended'))
      resolve()
    })
  })
  worker.on('message', ({ id, outputs, reason }: FromReference) => {
    const request = waiting.get(id)
    waiting.delete(id)
    if (outputs !== undefined) request?.resolve(outputs)
    else request?.reject(new Refusal('bad-model', `the unsplit model failed: ${reason}`))
  })
  return {
    run(feeds) {
      const id = next++
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject })
        worker.postMessage({ id, feeds } satisfies ToReference)
      })
    },
    async close() {
      worker.postMessage(undefined)
      await ended
    },
  }
}
