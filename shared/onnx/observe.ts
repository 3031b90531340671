/**
 * Which tensors of a graph may cross a boundary, with dtype and shape. There is no shape inference outside the engine,
 * so the engine runs the graph once with every intermediate tensor as an output.
 */

import { create } from '@bufbuild/protobuf'
import { Refusal } from '../errors.js'
import { assemble, type Dataflow } from './dataflow.js'
import { ValueSchema, type Value } from './onnx_pb.js'
import type { Engine, Feeds, ValueInfo } from './session.js'
import { elemTypeOf } from './tensor-file.js'
import type { Port } from './tensor.js'

/** A port as the file declares it; with `open` the shape is left out. */
export function declare(port: Port, open: boolean): Value {
  const dim = port.shape.map((size) => ({ size: { case: 'value' as const, value: BigInt(size) } }))
  const shape = open || port.varies === true ? {} : { shape: { dim } }
  return create(ValueSchema, {
    name: port.name,
    type: { kind: { case: 'tensor', value: { elemType: elemTypeOf(port.dtype), ...shape } } },
  })
}

/** True for graphs whose input shapes must stay open: pinned, the branch not taken may not fit. */
export function hasControlFlow(steps: Dataflow['steps']): boolean {
  return steps.some((step) => step.hasSubgraph)
}

/**
 * The ports of all tensors that may cross, by name; what is missing may not (sequences, optionals, types outside the
 * whitelist). Throws `Refusal` where the graph does not run on the sample.
 */
export async function observe(
  flow: Dataflow,
  engine: Engine,
  inputs: readonly Port[],
  sample: Feeds,
): Promise<Map<string, Port>> {
  const given = new Map(inputs.map((port) => [port.name, port]))
  const names = [
    ...new Set([...flow.steps.flatMap((step) => step.writes), ...flow.outputs.filter((name) => !given.has(name))]),
  ]
  const look = async (wanted: readonly string[], open: boolean): Promise<Map<string, Port>> => {
    const model = assemble(flow, {
      steps: flow.steps,
      constants: wanted.filter((name) => flow.constants.has(name)),
      inputs: inputs.map((port) => declare(port, open)),
      outputs: wanted.map((name) => create(ValueSchema, { name })),
    }).model
    return runOnce(engine, model, sample, wanted)
  }
  /** As `look`, but finds the tensors that the engine refuses to show by halving, and leaves them out. */
  const lookAround = async (wanted: readonly string[], open: boolean): Promise<Map<string, Port>> => {
    try {
      return await look(wanted, open)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (wanted.length <= 1) return new Map()
      const half = wanted.length >> 1
      return new Map([
        ...(await lookAround(wanted.slice(0, half), open)),
        ...(await lookAround(wanted.slice(half), open)),
      ])
    }
  }
  const controlFlow = hasControlFlow(flow.steps)
  for (const open of controlFlow ? [false, true] : [false]) {
    const seen = await look(names, open).catch((error: unknown) => {
      if (!(error instanceof Refusal)) throw error
    })
    if (seen !== undefined) return new Map([...given, ...seen])
  }
  // Some tensor cannot be shown, or the graph does not run at all: in that case the engine's reason is the answer.
  await look(flow.outputs, controlFlow)
  return new Map([...given, ...(await lookAround(names, controlFlow))])
}

async function runOnce(
  engine: Engine,
  model: Uint8Array,
  sample: Feeds,
  wanted: readonly string[],
): Promise<Map<string, Port>> {
  const session = await engine.create(model, { level: 'disabled' })
  try {
    // Never ask for a value without a dtype: the engine would abort the process over an int4 tensor.
    const fetches = wanted.filter((name) => session.outputInfo[name]?.dtype !== undefined)
    const feeds = Object.fromEntries(session.inputs.map((name) => [name, sample[name]])) as Feeds
    const got = fetches.length === 0 ? {} : await session.run(feeds, fetches)
    const ports = new Map<string, Port>()
    for (const name of fetches) {
      const tensor = got[name]
      if (tensor === undefined) continue
      const port = { name, dtype: tensor.dtype, shape: [...tensor.shape] }
      ports.set(name, isFixed(session.outputInfo[name], port.shape) ? port : { ...port, varies: true })
    }
    return ports
  } finally {
    await session.release()
  }
}

/** True if the engine knew the shape before it ran. */
function isFixed(info: ValueInfo | undefined, shape: readonly number[]): boolean {
  return (
    info !== undefined && info.shape.length === shape.length && shape.every((size, axis) => size === info.shape[axis])
  )
}
