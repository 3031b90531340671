/** Entry of the worker thread that cuts one model and ends. Says the facts, hears how to cut, says the segments. */

import { once } from 'node:events'
import { parentPort, workerData } from 'node:worker_threads'
import { Refusal } from '#shared/errors.js'
import type { Split } from '#shared/onnx/graph.js'
import { cutModel, type CutRequest, type Decide, type FromCutter } from './catalogue.js'

const port = parentPort!

function say(said: FromCutter): void {
  port.postMessage(said)
}

const askHub: Decide = async (facts) => {
  const decided = once(port, 'message')
  say({ kind: 'facts', facts })
  const [split] = (await decided) as [Split | undefined]
  if (split === undefined) throw new Refusal('cannot-cut', 'the hub has decided not to cut the model')
  return split
}

try {
  say({ kind: 'cut', cut: await cutModel(workerData as CutRequest, askHub) })
} catch (error) {
  if (!(error instanceof Refusal)) throw error
  say({ kind: 'refused', code: error.code, message: error.message })
}
