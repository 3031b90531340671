/** Entry of the worker thread that searches one plan and ends. */

import { parentPort, workerData } from 'node:worker_threads'
import { Refusal } from '#shared/errors.js'
import { optimise } from './optimise.js'
import { searchBudgetMs, type FromSearch, type Search } from './search.js'

function say(said: FromSearch): void {
  parentPort!.postMessage(said)
}

try {
  const { problem, objective } = workerData as Search
  say({
    kind: 'found',
    optimum: optimise(problem, objective, { budgetMs: searchBudgetMs, clock: () => performance.now() }),
  })
} catch (error) {
  if (!(error instanceof Refusal)) throw error
  say({ kind: 'refused', code: error.code, message: error.message })
}
