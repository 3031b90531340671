/** What each node costs on this machine, by the engine's own profiler. */

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Refusal } from '../errors.js'
import type { Prepared } from './prepare.js'
import { withScratch } from './scratch.js'
import type { Engine, Feeds } from './session.js'

/** One event of the profile, of those that matter here. */
interface KernelEvent {
  readonly cat: string
  readonly name: string
  readonly dur: number
}

const kernelSuffix = '_kernel_time'

/**
 * The least microseconds of each node over `runs` runs, after one to warm up: what else runs on the machine only ever adds.
 * One thread, level 'disabled'.
 */
export async function profile(prepared: Prepared, engine: Engine, sample: Feeds, runs = 5): Promise<number[]> {
  const durations = await withScratch(async (folder) => {
    const session = await engine.create(prepared.bytes, { level: 'disabled', profilePrefix: join(folder, 'profile') })
    try {
      for (let run = 0; run < runs + 1; run++) await session.run(sample)
    } finally {
      await session.release()
    }
    const [file] = await readdir(folder)
    if (file === undefined)
      throw new Refusal('bad-model', `ONNX Runtime ${engine.version} wrote no profile of the model`)
    return byNode(JSON.parse(await readFile(join(folder, file), 'utf8')) as KernelEvent[])
  })
  return prepared.nodes.map(({ name }) => least((durations.get(name) ?? []).slice(1)))
}

/** All durations of each node, in the order of the runs. Names are unique: canonical form sees to that. */
function byNode(events: readonly KernelEvent[]): Map<string, number[]> {
  const durations = new Map<string, number[]>()
  for (const { cat, name, dur } of events) {
    if (cat !== 'Node' || !name.endsWith(kernelSuffix)) continue
    const node = name.slice(0, -kernelSuffix.length)
    const list = durations.get(node) ?? []
    list.push(dur)
    durations.set(node, list)
  }
  return durations
}

function least(values: readonly number[]): number {
  return values.reduce((least, value) => Math.min(least, value), values[0] ?? 0)
}
