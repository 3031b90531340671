/** The limits that a pipeline is measured against: whole models, and its stages, run alone in processes of one thread. */

import type { Feeds } from '#shared/onnx/session.js'
import type { Tensor } from '#shared/onnx/tensor.js'
import { watchCpu, type Run } from './contestant.js'
import { start } from './processes.js'
import type { Replica, ReplicaRun } from './replica.js'

/** A model under its name, with the inputs that it is run on. */
export interface Loaded {
  readonly model: Uint8Array
  readonly inputs: readonly Feeds[]
}

export interface Replicas {
  load(name: string, loaded: Loaded): Promise<void>
  infer(name: string, inputs: Feeds): Promise<Record<string, Tensor>>
  /** `count` processes (1 or 2) at the same time; their rates are added up. */
  run(name: string, count: 1 | 2, forMs: number): Promise<Run>
  close(): Promise<void>
}

/** Two processes on the cores of a machine that has two. */
export function openReplicas(): Replicas {
  const processes = [start<Replica>('replica'), start<Replica>('replica')]
  const inputsOf = new Map<string, readonly Feeds[]>()
  return {
    async load(name, { model, inputs }) {
      inputsOf.set(name, inputs)
      await Promise.all(processes.map((child) => child.ask('load', { name, model })))
    },
    infer: (name, inputs) => processes[0]!.ask('infer', { name, inputs }),
    async run(name, count, forMs) {
      const taking = processes.slice(0, count)
      const watch = await watchCpu(async () => {
        const all = await Promise.all(taking.map((child) => child.cpuMs()))
        return all.reduce((sum, ms) => sum + ms, 0)
      })
      const runs = await Promise.all(
        taking.map((child) => child.ask('run', { name, inputs: inputsOf.get(name)!, forMs })),
      )
      const sum = (of: (run: ReplicaRun) => number): number => runs.reduce((total, run) => total + of(run), 0)
      return {
        perSecond: sum((run) => run.perSecond),
        p50Ms: sum((run) => run.p50Ms) / count,
        p99Ms: Math.max(...runs.map((run) => run.p99Ms)),
        ...(await watch(sum((run) => run.requests))),
      }
    },
    async close() {
      await Promise.all(processes.map((child) => child.stop()))
    },
  }
}
