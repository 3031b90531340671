/**
 * Makes a model ready to be placed: canonical, optimised, costed. ONNX work blocks its thread, so it is done in a worker
 * unless the caller lives in one process with its fleet.
 */

import { Worker } from 'node:worker_threads'
import { Refusal, type RefusalCode } from '#shared/errors.js'
import { legalCuts } from '#shared/onnx/cuts.js'
import { stagesOf, type Split, type StagedGraph } from '#shared/onnx/graph.js'
import { prepare } from '#shared/onnx/prepare.js'
import { profile } from '#shared/onnx/profile.js'
import { regionsOf, type Region } from '#shared/onnx/regions.js'
import { makeSample } from '#shared/onnx/sample.js'
import { loadEngine, type Feeds, type Level } from '#shared/onnx/session.js'
import { byteLength, type Port } from '#shared/onnx/tensor.js'
import { nodeWork, valueWork, type NodeWork, type ValueWork } from '#shared/onnx/work.js'

export interface CutRequest {
  readonly model: Uint8Array
  /** Inputs that give the shape signature and realistic costs; made up from static shapes when absent. */
  readonly sample?: Feeds
  readonly level: Level
  /** Whether the decision needs to know what each node costs and which can be parted: they are run and timed then. */
  readonly timed: boolean
  /** Where external data of the model may lie. */
  readonly folder?: string
}

/** What the planner decides by. */
export interface ModelFacts {
  /** SHA-256 of the canonical, optimised graph, in hex: what positions of nodes mean is of this graph. */
  readonly hash: string
  readonly nodes: readonly NodeWork[]
  readonly values: readonly ValueWork[]
  /** Time of each node, in microseconds, in canonical order; 1 each where they were not timed. */
  readonly nodeUs: readonly number[]
  /** Places where a chain may be cut. */
  readonly cuts: readonly { readonly at: number; readonly bytes: number }[]
  readonly inputBytes: number
  readonly outputBytes: number
  /** What can be parted by channels. */
  readonly regions: readonly Region[]
}

export interface CutModel extends StagedGraph {
  readonly hash: string
  /** The unsplit reference: run at level `disabled` it gives the bits that the pipeline must give. */
  readonly whole: Uint8Array
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
}

/** How to part the graph: the planner's decision comes in as an argument. */
export type Decide = (facts: ModelFacts) => Split | Promise<Split>

/** The least of so many runs is the cost of a node. */
const profileRuns = 10

/** Throws `Refusal`: what `prepare` refuses, and `cannot-cut`. */
export async function cutModel(request: CutRequest, decide: Decide): Promise<CutModel> {
  const engine = await loadEngine()
  const { model, sample, level, timed, folder } = request
  const prepared = await prepare(model, {
    engine,
    level,
    ...(sample === undefined ? {} : { sample }),
    ...(folder === undefined ? {} : { folder }),
  })
  const { hash, inputs, outputs } = prepared
  const nodeUs = timed
    ? await profile(prepared, engine, sample ?? makeSample(inputs), profileRuns)
    : prepared.nodes.map(() => 1)
  const split = await decide({
    hash,
    nodes: nodeWork(prepared),
    values: valueWork(prepared),
    nodeUs,
    cuts: legalCuts(prepared).map(({ at, bytes }) => ({ at, bytes })),
    inputBytes: sumBytes(inputs),
    outputBytes: sumBytes(outputs),
    regions: timed ? regionsOf(prepared).regions : [],
  })
  return { hash, whole: prepared.bytes, inputs, outputs, ...stagesOf(prepared, split) }
}

function sumBytes(ports: readonly Port[]): number {
  return ports.reduce((sum, port) => sum + byteLength(port), 0)
}

/** What the worker says: the facts, to be answered by a `Split`, then the outcome. */
export type FromCutter =
  | { kind: 'facts'; facts: ModelFacts }
  | { kind: 'cut'; cut: CutModel }
  | { kind: 'refused'; code: RefusalCode; message: string }

/** The same in a worker thread of its own: the hub's loop stays free. */
export async function cutModelInWorker(request: CutRequest, decide: Decide): Promise<CutModel> {
  const worker = new Worker(new URL('./cutter.js', import.meta.url), { workerData: request, name: 'cutter' })
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  const answer = async (facts: ModelFacts): Promise<void> => {
    worker.postMessage(await decide(facts))
  }
  try {
    return await new Promise<CutModel>((resolve, reject) => {
      worker.on('message', (said: FromCutter) => {
        if (said.kind === 'cut') resolve(said.cut)
        else if (said.kind === 'refused') reject(new Refusal(said.code, said.message))
        else {
          answer(said.facts).catch((error: unknown) => {
            worker.postMessage(undefined) // nothing to cut: the worker ends
            reject(error)
          })
        }
      })
      worker.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') reject(tooLarge('it ran out of memory'))
        else reject(error)
      })
      worker.once('exit', (code) => reject(tooLarge(`it ended with status ${code}`)))
    })
  } finally {
    await ended
  }
}

function tooLarge(why: string): Refusal {
  return new Refusal(
    'bad-model',
    `the worker that cuts models did not finish, ${why}: the model may be too large for this machine`,
  )
}
