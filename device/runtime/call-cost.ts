/** What a run costs besides its kernels, and a session besides weights and activations: by a model that does nothing. */

import { create } from '@bufbuild/protobuf'
import { ModelSchema } from '#shared/onnx/onnx_pb.js'
import { encodeModel } from '#shared/onnx/parse.js'
import { middle, type Effort } from '#shared/onnx/workload.js'
import { openEngine, type EngineMode } from './engine.js'

/** Runs handed over at once, as a stage does: what overlaps costs no throughput. */
const underWay = 2
const warmUpRuns = 4

/** Microseconds between two results, and the bytes by which the process grows with one more session (its thread included). */
export async function callCost(
  mode: EngineMode,
  { batchMs, batches }: Effort,
): Promise<{ callUs: number; sessionBytes: number }> {
  const before = process.memoryUsage.rss()
  const engine = await openEngine(idle(), mode)
  const run = () => engine.run({ x: { dtype: 'uint8', shape: [4], data: new Uint8Array(4) } }, ['y'])
  try {
    for (let i = 0; i < warmUpRuns; i++) await run()
    const means: number[] = []
    for (let batch = 0; batch < batches; batch++) {
      const startMs = performance.now()
      let runs = 0
      const serve = async (): Promise<void> => {
        do {
          await run()
          runs++
        } while (performance.now() - startMs < batchMs / 2)
      }
      await Promise.all(Array.from({ length: underWay }, serve))
      means.push(((performance.now() - startMs) * 1000) / runs)
    }
    return { callUs: middle(means), sessionBytes: Math.max(0, process.memoryUsage.rss() - before) }
  } finally {
    await engine.close()
  }
}

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
