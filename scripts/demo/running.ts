/** The demo once everything is up. */

import type { Deployment } from '#broker/hub.js'
import type { RunningHub } from '#broker/start.js'
import type { Client } from '#device/client.js'
import { byteLength } from '#shared/onnx/tensor.js'
import type { DeviceProcess } from './devices.js'
import type { Tally } from './tally.js'

export interface RunningDemo {
  readonly running: RunningHub
  readonly deployment: Deployment
  readonly processes: readonly DeviceProcess[]
  readonly client: Client
  readonly tally: Tally
}

/** Bytes of the tensors at each cut. */
export function boundaryBytes({ cut }: Deployment): number[] {
  return cut.segments.slice(0, -1).map(({ sends }) => sends.reduce((sum, port) => sum + byteLength(port), 0))
}
