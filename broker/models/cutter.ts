/** Entry of the worker thread that cuts one model and ends. Says the costs, hears the cuts, says the segments. */

import { once } from 'node:events'
import { parentPort, workerData } from 'node:worker_threads'
import { Refusal } from '#shared/errors.js'
import { cutModel, type CutRequest, type FromCutter, type Partition } from './catalogue.js'

const port = parentPort!

function say(said: FromCutter): void {
  port.postMessage(said)
}

const askHub: Partition = async (costs, stages) => {
  const decided = once(port, 'message')
  say({ kind: 'costs', costs, stages })
  const [at] = (await decided) as [number[] | undefined]
  if (at === undefined) throw new Refusal('cannot-cut', 'the hub has decided not to cut the model')
  return at
}

try {
  say({ kind: 'cut', cut: await cutModel(workerData as CutRequest, askHub) })
} catch (error) {
  if (!(error instanceof Refusal)) throw error
  say({ kind: 'refused', code: error.code, message: error.message })
}
