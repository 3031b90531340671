/** Entry of the reference thread: runs the unsplit model at level `disabled`, one request after the other. */

import { parentPort, workerData } from 'node:worker_threads'
import { reasonOf } from '#shared/errors.js'
import { loadEngine, type Feeds } from '#shared/onnx/session.js'
import type { Tensor } from '#shared/onnx/tensor.js'

export interface ToReference {
  id: number
  feeds: Feeds
}
export interface FromReference {
  id: number
  outputs?: Record<string, Tensor>
  reason?: string
}

const port = parentPort!
const session = await (await loadEngine()).create(workerData as Uint8Array, { level: 'disabled' })
let last: Promise<void> = Promise.resolve()

port.on('message', (order: ToReference | undefined) => {
  last = last.then(async () => {
    if (order === undefined) {
      await session.release()
      port.close()
      return
    }
    try {
      port.postMessage({ id: order.id, outputs: await session.run(order.feeds) } satisfies FromReference)
    } catch (error) {
      port.postMessage({ id: order.id, reason: reasonOf(error) } satisfies FromReference)
    }
  })
})
