/** The bundled digits as the platform tests use them: a model to deploy, distinct requests, and the unsplit reference. */

import { resolve } from 'node:path'
import { labelledWorkload, type Workload } from '#scripts/demo/workload.js'
import type { Deployment } from '#broker/deployments.js'
import type { Inference } from '#device/client.js'
import { loadEngine, type EngineSession } from '#shared/onnx/session.js'
import { sameBits } from '#shared/onnx/tensor.js'

export const digitsFolder = resolve(import.meta.dirname, '../../../config/models/digits-resnet')

export function digits(): Promise<Workload> {
  return labelledWorkload(digitsFolder)
}

/** Tells whether a result is the unsplit model's, bit for bit. */
export class Judge {
  readonly #session: EngineSession
  readonly #workload: Workload

  private constructor(session: EngineSession, workload: Workload) {
    this.#session = session
    this.#workload = workload
  }

  static async of(deployment: Deployment, workload: Workload): Promise<Judge> {
    const engine = await loadEngine()
    return new Judge(await engine.create(deployment.cut.whole, { level: 'disabled' }), workload)
  }

  async isExact(index: number, { outputs }: Inference): Promise<boolean> {
    const expected = await this.#session.run(this.#workload.request(index))
    const names = Object.keys(expected)
    return (
      names.length === Object.keys(outputs).length && names.every((name) => sameBits(outputs[name]!, expected[name]!))
    )
  }

  close(): Promise<void> {
    return this.#session.release()
  }
}
