/** Runs regions: whole, and spread over parts whose slices are put together again. */

import { assemble } from '#shared/onnx/dataflow.js'
import { extract } from '#shared/onnx/extract.js'
import { gather } from '#shared/onnx/gather.js'
import { sliceOf } from '#shared/onnx/layout.js'
import { declare } from '#shared/onnx/observe.js'
import { partsOf, type RegionPart } from '#shared/onnx/part.js'
import type { Prepared } from '#shared/onnx/prepare.js'
import type { Region } from '#shared/onnx/regions.js'
import type { Engine, Feeds } from '#shared/onnx/session.js'
import { maxAbsDiff, sameBits, type Tensor } from '#shared/onnx/tensor.js'

/** Every tensor of a graph that may cross a border, by name. */
export async function everyTensor(engine: Engine, prepared: Prepared, feeds: Feeds): Promise<Feeds> {
  const { flow, ports, inputs } = prepared
  const wanted = flow.steps.flatMap(({ writes }) => writes).filter((name) => ports.has(name))
  const model = assemble(flow, {
    steps: flow.steps,
    constants: [],
    inputs: inputs.map((port) => declare(port, false)),
    outputs: wanted.map((name) => declare(ports.get(name)!, false)),
  }).model
  return { ...feeds, ...(await run(engine, model, feeds)) }
}

/** The region in one piece. */
export async function runWholeRegion(
  engine: Engine,
  prepared: Prepared,
  region: Region,
  tensors: Feeds,
): Promise<Feeds> {
  return run(engine, extract(prepared, new Set(region.nodes), false).model, tensors)
}

/** The region in parts: what each sends is put together again. */
export async function runParts(
  engine: Engine,
  prepared: Prepared,
  region: Region,
  shares: readonly number[],
  tensors: Feeds,
): Promise<{ outputs: Feeds; parts: RegionPart[] }> {
  const parts = partsOf(prepared, region, shares)
  const results: Feeds[] = []
  for (const part of parts) {
    const feeds = part.receives.map(({ port, slice }): [string, Tensor] => {
      const tensor = tensors[port.name]!
      if (slice === undefined) return [port.name, tensor]
      return [port.name, sliceOf(tensor, { axis: slice.axis, banks: 1 }, { ...part, channels: region.channels })]
    })
    results.push(await run(engine, part.model, Object.fromEntries(feeds)))
  }
  const outputs = region.sends.map(({ port }, place): [string, Tensor] => {
    const slices = parts.map((part, index) => ({
      tensor: results[index]![port.name]!,
      offset: part.sends[place]!.slice!.offset,
    }))
    return [port.name, gather(slices, parts[0]!.sends[place]!.slice!.axis, port.shape)]
  })
  return { outputs: Object.fromEntries(outputs), parts }
}

/** Shares of a region's channels by weights: whole granules, at least one each; as many parts as there are granules for. */
export function sharesFor({ channels, granule }: Region, weights: readonly number[]): number[] {
  const granules = Math.floor(channels / granule)
  const parts = weights.slice(0, granules)
  const sum = parts.reduce((total, part) => total + part, 0)
  const shares = parts.map((part) => (1 + Math.floor(((granules - parts.length) * part) / sum)) * granule)
  return shares.with(0, channels - shares.slice(1).reduce((total, share) => total + share, 0))
}

/** Which results of a region, in parts, are not the bits of the region in one piece. */
export async function regionDifferences(
  engine: Engine,
  prepared: Prepared,
  region: Region,
  shares: readonly number[],
  tensors: Feeds,
): Promise<string[]> {
  const { outputs } = await runParts(engine, prepared, region, shares, tensors)
  const whole = await runWholeRegion(engine, prepared, region, tensors)
  const ops = region.nodes.map((index) => prepared.nodes[index]?.opType).join(' ')
  return Object.entries(whole)
    .filter(([name, tensor]) => !sameBits(tensor, outputs[name]!))
    .map(([name, tensor]) => `${name} by ${maxAbsDiff(tensor, outputs[name]!)}, of ${ops} in ${shares.join('+')}`)
}

async function run(engine: Engine, model: Uint8Array, tensors: Feeds): Promise<Feeds> {
  const session = await engine.create(model, { level: 'disabled' })
  try {
    return await session.run(Object.fromEntries(session.inputs.map((name) => [name, tensors[name]!])))
  } finally {
    await session.release()
  }
}
