/**
 * Makes a model ready to be placed: canonical, optimised, costed. ONNX work blocks its thread, so it is done in a worker
 * unless the caller lives in one process with its fleet.
 */

import { Worker } from 'node:worker_threads'
import { Refusal, type RefusalCode } from '#shared/errors.js'
import { legalCuts } from '#shared/onnx/cuts.js'
import { chain, type Segment } from '#shared/onnx/extract.js'
import { prepare } from '#shared/onnx/prepare.js'
import { profile } from '#shared/onnx/profile.js'
import { makeSample } from '#shared/onnx/sample.js'
import { loadEngine, type Feeds, type Level } from '#shared/onnx/session.js'
import { byteLength, type Port } from '#shared/onnx/tensor.js'
import { nodeWork, valueWork, type NodeWork, type ValueWork } from '#shared/onnx/work.js'

export interface CutRequest {
  readonly model: Uint8Array
  /** Inputs that give the shape signature and realistic costs; made up from static shapes when absent. */
  readonly sample?: Feeds
  readonly level: Level
  readonly stages: number
  /** Whether to time the nodes where they are cut into one stage as well. */
  readonly timed?: boolean
  /** Where external data of the model may lie. */
  readonly folder?: string
}

/** What the planner decides by; see `planner/partition`. */
export interface CutCosts {
  /** SHA-256 of the canonical, optimised graph, in hex: what positions of nodes mean is of this graph. */
  readonly hash: string
  readonly nodes: readonly NodeWork[]
  readonly values: readonly ValueWork[]
  /** Of each node on this machine; 1 each where they were not timed. */
  readonly nodeUs: readonly number[]
  readonly cuts: readonly { readonly at: number; readonly bytes: number }[]
  readonly inputBytes: number
  readonly outputBytes: number
}

export interface CutModel {
  /** SHA-256 of the canonical, optimised graph, in hex. */
  readonly hash: string
  /** The unsplit reference: run at level `disabled` it gives the bits that the pipeline must give. */
  readonly whole: Uint8Array
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  readonly segments: readonly Segment[]
}

/** Where to cut, given the costs: the planner's decision comes in as an argument. */
export type Partition = (costs: CutCosts, stages: number) => number[] | Promise<number[]>

/** The least of so many runs is the cost of a node. */
const profileRuns = 10

/** Throws `Refusal`: what `prepare` refuses, and `cannot-cut`. */
export async function cutModel(request: CutRequest, partition: Partition): Promise<CutModel> {
  const engine = await loadEngine()
  const { model, sample, level, stages, timed, folder } = request
  const prepared = await prepare(model, {
    engine,
    level,
    ...(sample === undefined ? {} : { sample }),
    ...(folder === undefined ? {} : { folder }),
  })
  const cuts = legalCuts(prepared).map(({ at, bytes }) => ({ at, bytes }))
  const nodeUs =
    timed === true || (stages > 1 && cuts.length >= stages)
      ? await profile(prepared, engine, sample ?? makeSample(prepared.inputs), profileRuns)
      : prepared.nodes.map(() => 1)
  const costs = {
    hash: prepared.hash,
    nodes: nodeWork(prepared),
    values: valueWork(prepared),
    nodeUs,
    cuts,
    inputBytes: sumBytes(prepared.inputs),
    outputBytes: sumBytes(prepared.outputs),
  }
  return {
    hash: prepared.hash,
    whole: prepared.bytes,
    inputs: prepared.inputs,
    outputs: prepared.outputs,
    segments: chain(prepared, await partition(costs, stages)),
  }
}

function sumBytes(ports: readonly Port[]): number {
  return ports.reduce((sum, port) => sum + byteLength(port), 0)
}

/** What the worker says: the costs, to be answered by the cuts (`number[]`), then the outcome. */
export type FromCutter =
  | { kind: 'costs'; costs: CutCosts; stages: number }
  | { kind: 'cut'; cut: CutModel }
  | { kind: 'refused'; code: RefusalCode; message: string }

/** The same in a worker thread of its own: the hub's loop stays free. */
export async function cutModelInWorker(request: CutRequest, partition: Partition): Promise<CutModel> {
  const worker = new Worker(new URL('./cutter.js', import.meta.url), { workerData: request, name: 'cutter' })
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  const decide = async (costs: CutCosts, stages: number): Promise<void> => {
    worker.postMessage(await partition(costs, stages))
  }
  try {
    return await new Promise<CutModel>((resolve, reject) => {
      worker.on('message', (said: FromCutter) => {
        if (said.kind === 'cut') resolve(said.cut)
        else if (said.kind === 'refused') reject(new Refusal(said.code, said.message))
        else {
          decide(said.costs, said.stages).catch((error: unknown) => {
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
