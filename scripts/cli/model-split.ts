/** `tessera model split`: segments as ONNX files, for looking at and for other tools. */

import { mkdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Refusal } from '#shared/errors.js'
import { partition } from '#broker/planner/partition.js'
import { legalCuts } from '#shared/onnx/cuts.js'
import { chain, type Segment } from '#shared/onnx/extract.js'
import type { Prepared } from '#shared/onnx/prepare.js'
import { profile } from '#shared/onnx/profile.js'
import type { Engine, Feeds } from '#shared/onnx/session.js'
import { byteLength, type Port } from '#shared/onnx/tensor.js'
import { prepareSource, readSource, type SourceOptions } from './model-source.js'
import { showBytes, table } from './model-table.js'

export interface SplitOptions extends SourceOptions {
  readonly into?: number
  readonly at?: readonly number[]
  readonly out: string
}

export async function splitModel(file: string, options: SplitOptions): Promise<void> {
  const { into, at, out } = options
  if ((into === undefined) === (at === undefined)) throw new Refusal('usage', 'give either --into N or --at a,b,…')
  const { engine, prepared, sample } = await prepareSource(await readSource(file, options), options)
  const cuts = at ?? (await balanced(prepared, engine, sample, into ?? 1))
  const segments = chain(prepared, cuts)
  const listed = segments.map((segment, index) => describe(segment, index))
  await mkdir(out, { recursive: true })
  for (const [index, segment] of segments.entries()) await writeFile(join(out, fileOf(index)), segment.model)
  const { hash, level, signature, inputs, outputs } = prepared
  const manifest = {
    model: basename(file),
    hash,
    level,
    signature,
    onnxruntime: engine.version,
    inputs,
    outputs,
    segments: listed,
  }
  await writeFile(join(out, 'segments.json'), `${JSON.stringify(manifest, undefined, 2)}\n`)
  process.stderr.write(
    `tessera: the segments in '${out}' are not encrypted; deliver models with the hub, which seals them\n`,
  )
  process.stdout.write(options.json ? `${JSON.stringify(manifest)}\n` : overview(segments))
}

/** The cuts that the hub would make for equal devices. */
async function balanced(prepared: Prepared, engine: Engine, sample: Feeds, into: number): Promise<number[]> {
  const sum = (ports: readonly Port[]): number => ports.reduce((bytes, port) => bytes + byteLength(port), 0)
  const { inputs, outputs } = prepared
  const nodeUs = await profile(prepared, engine, sample)
  const costs = { nodeUs, cuts: legalCuts(prepared), inputBytes: sum(inputs), outputBytes: sum(outputs) }
  return partition(costs, into)
}

function fileOf(index: number): string {
  return `segment-${index}.onnx`
}

function describe(
  { model, ...segment }: Segment,
  index: number,
): Omit<Segment, 'model'> & { file: string; bytes: number } {
  return { file: fileOf(index), bytes: model.length, ...segment }
}

function overview(segments: readonly Segment[]): string {
  const rows = segments.map(({ from, to, model, weightBytes, receives, sends }, index) => [
    fileOf(index),
    `${from} to ${to}`,
    showBytes(model.length),
    showBytes(weightBytes),
    receives.map(({ name }) => name).join(', '),
    sends.map(({ name }) => name).join(', '),
  ])
  return table([['file', 'nodes', 'size', 'weights', 'receives', 'sends'], ...rows], [2, 3])
}
