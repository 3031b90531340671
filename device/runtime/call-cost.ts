/** What a run costs besides its kernels, and a session besides weights and activations: by a model that does nothing. */

import { create } from '@bufbuild/protobuf'
import { ModelSchema } from '#shared/onnx/onnx_pb.js'
import { encodeModel } from '#shared/onnx/parse.js'
import type { Effort } from '#shared/onnx/workload.js'
import { openEngine, type EngineMode } from './engine.js'
import { timeSegment } from './timing.js'

/** Passes on four bytes. */
function idle(): Uint8Array<ArrayBuffer> {
  const uint8 = 2
  const port = (name: string) => ({
    name,
    type: {
      kind: {
        case: 'tensor' as const,
        value: { elemType: uint8, shape: { dim: [{ size: { case: 'value' as const, value: 4n } }] } },
      },
    },
  })
  return encodeModel(
    create(ModelSchema, {
      irVersion: 8n,
      opsetImport: [{ domain: '', version: 13n }],
      graph: {
        name: 'idle',
        node: [{ opType: 'Identity', name: 'idle', input: ['x'], output: ['y'] }],
        input: [port('x')],
        output: [port('y')],
      },
    }),
  )
}

const port = { name: '', dtype: 'uint8', shape: [4] } as const

/** Microseconds of a call, and the bytes by which the process grows with one more session (in a worker: with its thread). */
export async function callCost(mode: EngineMode, effort: Effort): Promise<{ callUs: number; sessionBytes: number }> {
  const before = process.memoryUsage.rss()
  const engine = await openEngine(idle(), mode)
  try {
    const ports = { runInputs: [{ ...port, name: 'x' }], runOutputs: [{ ...port, name: 'y' }] }
    const { computeUs, callUs } = await timeSegment(engine, ports, { ...effort, batchMs: effort.batchMs / 2 })
    return { callUs: computeUs + callUs, sessionBytes: Math.max(0, process.memoryUsage.rss() - before) }
  } finally {
    await engine.close()
  }
}
