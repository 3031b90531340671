/** Runs a graph that was parted into stages, in one process: what goes from each to each, and what comes out in the end. */

import { Assembly, sending, type Named, type SlicedPort } from '#shared/onnx/assembly.js'
import type { Edge } from '#shared/onnx/edges.js'
import type { Split, StagedGraph } from '#shared/onnx/graph.js'
import type { Prepared } from '#shared/onnx/prepare.js'
import type { Region } from '#shared/onnx/regions.js'
import type { Engine, Feeds } from '#shared/onnx/session.js'
import type { Tensor } from '#shared/onnx/tensor.js'

const portsAt = ({ tensors }: Edge, end: 'cut' | 'put'): SlicedPort[] =>
  tensors.map((crossing) => {
    const slice = crossing[end]
    return { ...crossing.port, ...(slice === undefined ? {} : { slice }) }
  })

/** The outputs that reach the client. */
export async function runStaged(engine: Engine, { stages, edges }: StagedGraph, feeds: Feeds): Promise<Feeds> {
  const under = new Map<Edge, readonly Named[]>()
  const send = (from: number | undefined, all: ReadonlyMap<string, Tensor>): void => {
    for (const edge of edges)
      if (edge.from === from)
        under.set(
          edge,
          sending((name) => all.get(name), portsAt(edge, 'cut')),
        )
  }
  const take = (to: number | undefined): Map<string, Tensor> => {
    const comes = edges.filter((edge) => edge.to === to)
    return new Assembly(comes.map((edge) => portsAt(edge, 'put'))).assemble(comes.map((edge) => under.get(edge)!))
  }
  send(undefined, new Map(Object.entries(feeds)))
  for (const [index, { model, runInputs }] of stages.entries()) {
    const all = take(index)
    const session = await engine.create(model, { level: 'disabled' })
    const made = await session.run(Object.fromEntries(runInputs.map(({ name }) => [name, all.get(name)!])))
    await session.release()
    send(index, new Map([...all, ...Object.entries(made)]))
  }
  return Object.fromEntries(take(undefined))
}

/** A split in which a region is a parted stage, with all that it needs before it and all else behind. */
export function aroundRegion(
  prepared: Prepared,
  region: Region,
  shares: readonly number[],
  shape: Split['shape'],
): Split {
  const makers = new Map(prepared.flow.steps.flatMap(({ writes }, node) => writes.map((name) => [name, node] as const)))
  const members = new Set(region.nodes)
  const before = new Set<number>()
  const visit = (node: number): void => {
    for (const name of prepared.flow.steps[node]!.reads) {
      const maker = makers.get(name)
      if (maker === undefined || before.has(maker) || members.has(maker)) continue
      before.add(maker)
      visit(maker)
    }
  }
  for (const node of members) visit(node)
  const after = [...prepared.nodes.keys()].filter((node) => !before.has(node) && !members.has(node))
  const stages = [
    { nodes: [...before].sort((a, b) => a - b) },
    { nodes: region.nodes, parts: { region, shares } },
    { nodes: after },
  ]
  return { shape, stages: stages.filter(({ nodes }) => nodes.length > 0) }
}
