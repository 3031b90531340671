/** Times a segment as it would run here: its own ports, made-up inputs, one run after the other. */

import type { Port } from '#shared/onnx/tensor.js'
import { middle, tiledSample, usualEffort, type Effort } from '#shared/onnx/workload.js'
import type { StageEngine } from './engine.js'

export interface Timing {
  /** Of one run, in microseconds: the median over the batches of the mean of a batch. */
  readonly computeUs: number
  readonly runs: number
}

/** Runs before it counts: memory is taken in them. */
const warmUpRuns = 2

/** Throws the engine's `Refusal` where made-up inputs are none that the segment can take. */
export async function timeSegment(
  engine: StageEngine,
  ports: { readonly runInputs: readonly Port[]; readonly runOutputs: readonly Port[] },
  { batchMs, batches }: Effort = usualEffort,
): Promise<Timing> {
  const sample = tiledSample(ports.runInputs)
  const fetches = ports.runOutputs.map(({ name }) => name)
  // An engine may keep the memory of its feeds.
  const feeds = () =>
    Object.fromEntries(
      Object.entries(sample).map(([name, tensor]) => [
        name,
        { ...tensor, data: tensor.data instanceof Uint8Array ? Uint8Array.from(tensor.data) : [...tensor.data] },
      ]),
    )
  for (let run = 0; run < warmUpRuns; run++) await engine.run(feeds(), fetches)
  const means: number[] = []
  let runs = 0
  for (let batch = 0; batch < batches; batch++) {
    const startMs = performance.now()
    let computeUs = 0
    let inBatch = 0
    do {
      computeUs += (await engine.run(feeds(), fetches)).computeUs
      inBatch++
    } while (performance.now() - startMs < batchMs)
    means.push(computeUs / inBatch)
    runs += inBatch
  }
  return { computeUs: middle(means), runs }
}
