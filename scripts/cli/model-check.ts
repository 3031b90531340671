/** `tessera model check`: what a file is, and what stands against running it in parts. */

import { Refusal } from '#shared/errors.js'
import { illegalCuts, legalCuts } from '#shared/onnx/cuts.js'
import { inspect, type Declared, type Inspection } from '#shared/onnx/inspect.js'
import type { Prepared } from '#shared/onnx/prepare.js'
import { prepareSource, readSource, type SourceOptions } from './model-source.js'
import { showBytes, table } from './model-table.js'

export async function checkModel(file: string, options: SourceOptions): Promise<void> {
  const source = await readSource(file, options)
  const found = inspect(source.bytes)
  const outcome = await prepareSource(source, options).catch((error: unknown) => {
    if (error instanceof Refusal) return error
    throw error
  })
  const refusal = outcome instanceof Refusal ? outcome : undefined
  const result = outcome instanceof Refusal ? undefined : summaryOf(outcome.prepared)
  if (options.json) {
    const refused = refusal === undefined ? {} : { refusal: { code: refusal.code, message: refusal.message } }
    process.stdout.write(
      `${JSON.stringify({ file, bytes: source.bytes.length, ...found, ...(result && { prepared: result }), ...refused })}\n`,
    )
  } else {
    process.stdout.write(
      describe(file, source.bytes.length, found) + (result === undefined ? '' : describePrepared(result)),
    )
  }
  if (refusal !== undefined) throw refusal
}

interface Summary {
  readonly level: string
  readonly signature: string
  readonly hash: string
  readonly bytes: number
  readonly nodes: number
  readonly legalCuts: number
  readonly widestCut: number
  /** Positions where a tensor would cross that cannot be sent. */
  readonly illegalCuts: readonly { readonly at: number; readonly blockedBy: readonly string[] }[]
}

function summaryOf(prepared: Prepared): Summary {
  const cuts = legalCuts(prepared)
  return {
    level: prepared.level,
    signature: prepared.signature,
    hash: prepared.hash,
    bytes: prepared.bytes.length,
    nodes: prepared.nodes.length,
    legalCuts: cuts.length,
    widestCut: cuts.reduce((widest, cut) => Math.max(widest, cut.tensors.length), 0),
    illegalCuts: illegalCuts(prepared),
  }
}

function describe(file: string, bytes: number, found: Inspection): string {
  const opsets = Object.entries(found.opsets).map(([domain, version]) => `${domain} ${version}`)
  const facts = [
    ['file', `${file}, ${showBytes(bytes)}`],
    ['format', `IR ${found.irVersion}, ${opsets.join(', ')}${found.producer === '' ? '' : `, by ${found.producer}`}`],
    ['weights', `${showBytes(found.weightBytes)}${found.hasExternalData ? ', some in files beside the model' : ''}`],
    ['nodes', `${found.nodes}${found.functions === 0 ? '' : `, and ${found.functions} local functions`}`],
    ['dynamic', found.dynamicDims.join(', ') || 'nothing'],
  ]
  const ports = [
    ...found.inputs.map((port) => portRow('input', port)),
    ...found.outputs.map((port) => portRow('output', port)),
  ]
  const ops = found.ops.map(({ op, count }) => [String(count), op])
  return `${table(facts)}\n${table(ports)}\n${table(ops, [0])}`
}

function portRow(role: string, { name, type, shape }: Declared): string[] {
  return [
    role,
    name,
    `${type}${shape === null ? '' : `[${shape.map((size) => (size === '' ? '?' : size)).join(',')}]`}`,
  ]
}

function describePrepared(result: Summary): string {
  const facts = [
    [
      'prepared',
      `level ${result.level}, ${result.nodes} nodes, ${showBytes(result.bytes)}, sha256 ${result.hash.slice(0, 16)}…`,
    ],
    ['signature', result.signature],
    ['cuts', `${result.legalCuts} legal, at most ${result.widestCut} tensors wide`],
  ]
  const [blocked] = result.illegalCuts
  if (blocked !== undefined) {
    facts.push([
      '',
      `${result.illegalCuts.length} not legal: the first, at ${blocked.at}, would have to send '${blocked.blockedBy[0]}'`,
    ])
  }
  return `\n${table(facts)}`
}
