/**
 * From an ONNX file to the one graph that is planned, cut and compared: canonical, optimised as a whole, for one shape
 * signature. Its parts run at level 'disabled', hence with the bits of the whole at any cut.
 */

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { toHex } from '../bytes.js'
import { Refusal } from '../errors.js'
import { canonicalise, pinInputs, unpinInputs } from './canonical.js'
import { assemble, dataflowOf, sliced, type Contents, type Dataflow } from './dataflow.js'
import { embedExternalData } from './external.js'
import { declare, hasControlFlow, observe } from './observe.js'
import { encodeModel, parseModel, type GraphModel } from './parse.js'
import { inputPorts, makeSample } from './sample.js'
import { withScratch } from './scratch.js'
import type { Engine, Feeds, Level } from './session.js'
import { everyNode, subgraphsOf } from './subgraph.js'
import { showShape, type Port } from './tensor.js'

export interface Prepared {
  /** SHA-256 of `bytes`, in hex. */
  readonly hash: string
  /** The canonical, optimised graph, unsplit: at level 'disabled' the reference of every cut. */
  readonly bytes: Uint8Array
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  /** The steps in canonical topological order. Nodes fed by constants only are weights and not among them. */
  readonly nodes: readonly { readonly name: string; readonly opType: string }[]
  /** Name, dtype and shape of each input: what this graph was prepared for. */
  readonly signature: string
  readonly level: Level
  readonly flow: Dataflow
  /** Every tensor that may cross a cut, inputs included, by name. */
  readonly ports: ReadonlyMap<string, Port>
}

export interface PrepareOptions {
  readonly engine: Engine
  readonly level: Level
  /** One value per input: decides the shapes. Made up from the declared shapes where absent. */
  readonly sample?: Feeds
  /** Sizes of dynamic dimensions, by their name or as `input[axis]`, where there is no sample. */
  readonly dims?: Readonly<Record<string, number>>
  /** Where external data may lie. */
  readonly folder?: string
}

/**
 * Prepares a model for one shape signature. Throws `Refusal`: 'not-onnx' and 'bad-model' for the file, 'external-data',
 * 'unsupported-op' and 'unsupported-dtype' by name, 'dynamic-shape' and 'bad-tensor' for the signature.
 */
export async function prepare(model: Uint8Array, options: PrepareOptions): Promise<Prepared> {
  const { engine, level } = options
  const given = await readCanonical(model, options.folder)
  const inputs = inputPorts(given.graph, options.sample, options.dims)
  const sample = options.sample ?? makeSample(inputs)
  const optimised = parseModel(await optimise(given, inputs, engine, level))
  canonicalise(optimised)
  const flow = dataflowOf(optimised)
  const ports = await observe(flow, engine, inputs, sample)
  const outputs = flow.outputs.map((name) => {
    const port = ports.get(name)
    if (port === undefined) {
      throw new Refusal('unsupported-dtype', `output '${name}' is of a type that cannot be sent; cast it in the model`)
    }
    return port
  })
  const open = hasControlFlow(flow.steps)
  const contents: Contents = {
    steps: flow.steps,
    constants: flow.outputs.filter((name) => flow.constants.has(name)),
    inputs: inputs.map((port) => declare(port, open)),
    outputs: outputs.map((port) => declare(port, open)),
  }
  const bytes = assemble(flow, contents).model
  return {
    hash: toHex(createHash('sha256').update(bytes).digest()),
    bytes,
    inputs,
    outputs,
    nodes: flow.steps.map(({ name, opType }) => ({ name, opType })),
    signature: signatureOf(inputs),
    level,
    flow: sliced(flow, contents, bytes),
    ports,
  }
}

/** A model file in canonical form, weights of other files embedded, before any optimisation. */
export async function readCanonical(model: Uint8Array, folder?: string): Promise<GraphModel> {
  const parsed = parseModel(model)
  await embedExternalData(parsed, folder)
  canonicalise(parsed)
  return parsed
}

/** The text under which a graph prepared for these inputs is kept. */
export function signatureOf(inputs: readonly Port[]): string {
  return inputs.map(({ name, dtype, shape }) => `${name}:${dtype}${showShape(shape)}`).join(';')
}

/**
 * The graph as the engine rewrites it at a level; even 'disabled' is worth it, because the engine then shows the casts
 * it inserts around float16 nodes. Shapes are pinned first, since that lets the engine fold shape arithmetic away.
 */
async function optimise(model: GraphModel, inputs: readonly Port[], engine: Engine, level: Level): Promise<Uint8Array> {
  const rewrite = async (): Promise<Uint8Array> =>
    withScratch(async (folder) => {
      const path = join(folder, 'optimised.onnx')
      const session = await engine.create(encodeModel(model), { level, optimizedModelPath: path })
      await session.release()
      return readFile(path)
    })
  pinInputs(model.graph, new Map(inputs.map((port) => [port.name, port.shape])))
  try {
    return await rewrite()
  } catch (error) {
    const branches = [...everyNode(model)].some((node) => subgraphsOf(node).length > 0)
    if (!(error instanceof Refusal) || !branches) throw error
    unpinInputs(model.graph)
    return rewrite()
  }
}
