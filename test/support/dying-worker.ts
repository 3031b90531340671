/** Entry of a worker thread that answers as the inference worker does, until it is asked for its second run. */

import { parentPort } from 'node:worker_threads'
import type { FromWorker, ToWorker } from '#device/runtime/worker.js'

const port = parentPort!
const say = (message: FromWorker): void => port.postMessage(message)
let runs = 0

port.on('message', (order: ToWorker) => {
  if (order.kind === 'open') say({ kind: 'opened' })
  else if (order.kind === 'close') port.close()
  else if (++runs === 2) throw new Error('out of memory')
  else say({ kind: 'ran', id: order.id, outputs: {}, computeUs: 1 })
})
