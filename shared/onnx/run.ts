/** A chain of segments run in one process: the shortest way to say what a pipeline must compute. */

import { Refusal } from '../errors.js'
import type { Segment } from './extract.js'
import type { Engine, EngineSession, Feeds } from './session.js'
import { checkTensor, type Port, type Tensor } from './tensor.js'

/** A loaded segment. */
export interface LoadedSegment {
  readonly segment: Segment
  readonly session: EngineSession
}

/** Loads segments at 'disabled', as every part must run; whoever calls releases the sessions. */
export async function load(engine: Engine, segments: readonly Segment[]): Promise<LoadedSegment[]> {
  const loaded: LoadedSegment[] = []
  try {
    for (const segment of segments) {
      loaded.push({ segment, session: await engine.create(segment.model, { level: 'disabled' }) })
    }
    return loaded
  } catch (error) {
    await release(loaded)
    throw error
  }
}

export async function release(loaded: readonly LoadedSegment[]): Promise<void> {
  for (const { session } of loaded) await session.release()
}

/** The work of one stage: from the tensors it receives to those it sends. Throws `Refusal('bad-tensor')` by name. */
export async function runSegment(
  { segment, session }: LoadedSegment,
  received: Feeds,
): Promise<Record<string, Tensor>> {
  for (const port of segment.receives) checkTensor(port, valueOf(received, port))
  const feeds = Object.fromEntries(segment.runInputs.map((port) => [port.name, valueOf(received, port)]))
  const made = await session.run(feeds)
  const all = { ...received, ...made }
  for (const port of segment.sends) checkTensor(port, valueOf(all, port))
  return Object.fromEntries(segment.sends.map((port) => [port.name, valueOf(all, port)]))
}

/** All segments in a row: the graph's outputs for the graph's inputs. */
export async function runChain(loaded: readonly LoadedSegment[], feeds: Feeds): Promise<Feeds> {
  let tensors = feeds
  for (const segment of loaded) tensors = await runSegment(segment, tensors)
  return tensors
}

function valueOf(tensors: Feeds, port: Port): Tensor {
  const tensor = tensors[port.name]
  if (tensor === undefined) throw new Refusal('bad-tensor', `tensor '${port.name}' is missing`)
  return tensor
}
