/** The search in a worker thread of its own, as it may take seconds; in line for small problems and fleets in one process. */

import { Worker } from 'node:worker_threads'
import { Refusal, type RefusalCode } from '#shared/errors.js'
import { optimise, type Optimum } from './optimise.js'
import type { Objective, Problem } from './problem.js'

/** Blocks times devices up to which the search takes a few milliseconds. */
const smallProblem = 200
/** After so long the best plan so far is taken, with the gap that its certificate states. */
export const searchBudgetMs = 5000

export interface Search {
  readonly problem: Problem
  readonly objective: Objective
}

/** What the worker says. */
export type FromSearch =
  | { readonly kind: 'found'; readonly optimum: Optimum }
  | { readonly kind: 'refused'; readonly code: RefusalCode; readonly message: string }

/** Throws what `optimise` throws. */
export async function search(asked: Search, isInline: boolean): Promise<Optimum> {
  const { problem, objective } = asked
  const devices = problem.classes.reduce((sum, { count }) => sum + count, 0)
  if (isInline || devices * problem.nodes.length <= smallProblem) return optimise(problem, objective)
  const worker = new Worker(new URL('./search-worker.js', import.meta.url), { workerData: asked, name: 'planner' })
  return new Promise<Optimum>((resolve, reject) => {
    worker.once('message', (said: FromSearch) => {
      if (said.kind === 'found') resolve(said.optimum)
      else reject(new Refusal(said.code, said.message))
    })
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Refusal('cannot-plan', `the search ended early, with status ${code}`)))
  })
}
