/** `tessera model cuts`: every place where a model can be parted. */

import { legalCuts, type Cut } from '#shared/onnx/cuts.js'
import type { Prepared } from '#shared/onnx/prepare.js'
import { byteLength, showShape } from '#shared/onnx/tensor.js'
import { prepareSource, readSource, type SourceOptions } from './model-source.js'
import { bar, printable, showBytes, table } from './model-table.js'

export async function showCuts(file: string, options: SourceOptions): Promise<void> {
  const { prepared } = await prepareSource(await readSource(file, options), options)
  const cuts = legalCuts(prepared)
  if (!options.json) {
    process.stdout.write(describe(prepared, cuts))
    return
  }
  const { hash, level, signature, nodes, inputs, outputs } = prepared
  const listed = cuts.map((cut) => ({
    ...cut,
    tensors: cut.tensors.map((port) => ({ ...port, bytes: byteLength(port) })),
  }))
  process.stdout.write(`${JSON.stringify({ file, hash, level, signature, nodes, inputs, outputs, cuts: listed })}\n`)
}

/** Tensors named on a line; the others are counted. */
const namedTensors = 3

function describe({ nodes, level, signature }: Prepared, cuts: readonly Cut[]): string {
  const most = Math.max(1, ...cuts.map((cut) => cut.bytes))
  const rows = cuts.map(({ at, tensors, bytes }) => {
    const named = tensors.slice(0, namedTensors).map(({ name, dtype, shape }) => `${name} ${dtype}${showShape(shape)}`)
    const others = tensors.length > namedTensors ? [`${tensors.length - namedTensors} more`] : []
    const after = nodes[at - 1]?.opType ?? ''
    return [
      String(at),
      after,
      String(tensors.length),
      showBytes(bytes),
      bar(bytes / most, 16),
      [...named, ...others].join(', '),
    ]
  })
  const head = ['at', 'after', 'tensors', 'size', '', 'what crosses']
  return `${nodes.length} nodes at level ${level} for ${printable(signature)}: ${cuts.length} legal cuts\n${table([head, ...rows], [0, 2, 3])}`
}
