/** A network as the pipeline gets it: prepared and cut once, so that every contestant runs the same nodes. */

import { cutModelInWorker, type CutModel } from '#broker/models/catalogue.js'
import { partition } from '#broker/planner/partition.js'
import type { Segment } from '#shared/onnx/extract.js'
import { splitAt } from '#shared/onnx/graph.js'
import { makeSample } from '#shared/onnx/sample.js'
import type { Feeds } from '#shared/onnx/session.js'
import { sameBits, type Tensor } from '#shared/onnx/tensor.js'
import type { Contestant } from './contestant.js'
import type { Replicas } from './replicas.js'

export interface Split {
  readonly model: Uint8Array
  /** The unsplit, optimised graph. */
  readonly whole: Uint8Array
  readonly at: readonly number[]
  readonly segments: readonly Segment[]
  readonly inputs: readonly Feeds[]
  /** What the unsplit graph gives for each of the inputs. */
  readonly expected: readonly Readonly<Record<string, Tensor>>[]
}

/** Distinct requests, kept in memory and sent in turn. */
const distinct = 4

/** Cuts `model` as the hub would and loads into the replicas: `whole`, and each stage as `stage 0` and so on. */
export async function split(model: Uint8Array, stages: number, replicas: Replicas): Promise<Split> {
  const cut = await cutModelInWorker({ model, level: 'all', timed: stages > 1 }, (facts) =>
    splitAt(facts.nodeUs.length, partition(facts, stages)),
  )
  const segments = segmentsOf(cut)
  const inputs = Array.from({ length: distinct }, (_, seed) => makeSample(cut.inputs, seed))
  await replicas.load('whole', { model: cut.whole, inputs })
  let tensors: readonly Feeds[] = inputs
  for (const [i, { model: part, runInputs, sends }] of segments.entries()) {
    const feeds = tensors.map((received) => pick(received, runInputs))
    await replicas.load(`stage ${i}`, { model: part, inputs: feeds })
    const received = tensors
    tensors = await Promise.all(
      feeds.map(async (given, j) => pick({ ...received[j], ...(await replicas.infer(`stage ${i}`, given)) }, sends)),
    )
  }
  const expected = await Promise.all(inputs.map((given) => replicas.infer('whole', given)))
  return {
    model,
    whole: cut.whole,
    at: segments.slice(1).map(({ from }) => from),
    segments,
    inputs,
    expected,
  }
}

/** The stages of a chain, with all that each receives and sends. */
function segmentsOf({ stages, edges }: CutModel): Segment[] {
  const portsOf = (end: 'from' | 'to', stage: number) =>
    edges.filter((edge) => edge[end] === stage).flatMap(({ tensors }) => tensors.map(({ port }) => port))
  return stages.map(({ nodes, ...segment }, index) => ({
    ...segment,
    from: nodes[0]!,
    to: nodes.at(-1)! + 1,
    receives: portsOf('to', index),
    sends: portsOf('from', index),
  }))
}

/** The share of the inputs for which the contestant gives the bits of the unsplit graph. */
export async function shareExact(contestant: Contestant, { inputs, expected }: Split): Promise<number> {
  let exact = 0
  for (const [i, given] of inputs.entries()) {
    const outputs = await contestant.infer(given)
    const isExact = Object.entries(expected[i]!).every(([name, tensor]) => {
      const got = outputs[name]
      return got !== undefined && sameBits(got, tensor)
    })
    if (isExact) exact++
  }
  return exact / inputs.length
}

function pick(tensors: Feeds, ports: readonly { readonly name: string }[]): Feeds {
  return Object.fromEntries(ports.map(({ name }) => [name, tensors[name]!]))
}
