/** The machine under the figures, and what others do on it meanwhile. */

import { createRequire } from 'node:module'
import { cpus, loadavg, release } from 'node:os'

export interface Environment {
  readonly node: string
  readonly onnxRuntime: string
  readonly system: string
  readonly cpu: string
  readonly cores: number
  /** Load average over the last minute before the bench began. */
  readonly load: number
}

export function environment(): Environment {
  const require = createRequire(import.meta.url)
  const { version } = require('onnxruntime-node/package.json') as { version: string }
  const processors = cpus()
  return {
    node: process.version,
    onnxRuntime: version,
    system: `${process.platform} ${release()} ${process.arch}`,
    cpu: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    load: Number(loadavg()[0]!.toFixed(2)),
  }
}

/** CPU time that all cores of the machine were busy since its start, in milliseconds. */
export function busyMs(): number {
  return cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0)
}

/** User and system time of this process, in milliseconds. */
export function ownCpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
