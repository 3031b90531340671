/**
 * A problem without the nodes that take no time and that nothing depends on, for models with so many of them that the ideals
 * are too many. For shape 'dag' without parts. Whatever holds for all placements of the lighter problem holds for those of the whole one, since leaving nodes
 * out only ever saves; and with them put back next to what they belong to, its best placement mostly costs the same.
 */

import type { PlacedStage, Placement, Problem } from './problem.js'

export interface Lighter {
  readonly problem: Problem
  /** The placement with the nodes put back. */
  readonly restore: (placement: Placement) => Placement
}

/** `undefined` where there is nothing to leave out. */
export function lighterOf(problem: Problem): Lighter | undefined {
  const { nodes, values, classes, regions } = problem
  const isInRegion = new Set(regions.flatMap((region) => region.nodes))
  const isIdle = nodes.map((_, node) => {
    return !isInRegion.has(node) && classes.every(({ nodeUs }) => nodeUs[node] === 0 || nodeUs[node] === Infinity)
  })
  /** What is left out, and the nodes next to it that it is put back to: its makers, or its readers. */
  const left = new Map<number, { readonly beside: readonly number[]; readonly isEarly: boolean }>()
  for (let before = -1; before !== left.size;) {
    before = left.size
    for (const node of nodes.keys()) {
      if (!isIdle[node]! || left.has(node) || left.size === nodes.length - 1) continue
      const comes = values.filter(({ to, from }) => to.includes(node) && (from === undefined || !left.has(from)))
      const goes = values.filter(({ from }) => from === node)
      const readers = [...new Set(goes.flatMap(({ to }) => to.filter((reader) => !left.has(reader))))]
      const makers = comes.flatMap(({ from }) => (from === undefined ? [] : [from]))
      if (goes.some(({ isOutput }) => isOutput)) continue
      if (readers.length === 0) left.set(node, { beside: makers, isEarly: false })
      else if (comes.length === 0 && (readers.length === 1 || goes.every(({ bytes }) => bytes === 0))) {
        left.set(node, { beside: readers, isEarly: true })
      }
    }
  }
  if (left.size === 0) return undefined
  const kept = [...nodes.keys()].filter((node) => !left.has(node))
  const place = new Map(kept.map((node, index) => [node, index]))
  const moved = (node: number): number[] => (place.has(node) ? [place.get(node)!] : [])
  // Indices of values stay, for the regions' sake.
  const lighter: Problem = {
    ...problem,
    nodes: kept.map((node) => nodes[node]!),
    values: values.map((value) => {
      const isGone = value.from !== undefined && left.has(value.from)
      const from = value.from === undefined || isGone ? undefined : place.get(value.from)!
      return { ...value, from, to: isGone ? [] : value.to.flatMap(moved) }
    }),
    classes: classes.map((kind) => ({ ...kind, nodeUs: kept.map((node) => kind.nodeUs[node]!) })),
    regions: regions.map((region) => ({
      ...region,
      nodes: region.nodes.flatMap(moved),
      divided: region.divided.flatMap(moved),
    })),
  }
  return { problem: lighter, restore }

  function restore({ stages }: Placement): Placement {
    const stageOf = new Map(
      stages.flatMap(({ nodes: held }, stage) => held.map((node) => [kept[node]!, stage] as const)),
    )
    // What was left out later belongs to what was left out earlier, or to what stayed.
    for (const [node, { beside, isEarly }] of [...left].reverse()) {
      const near = beside.map((other) => stageOf.get(other)!)
      stageOf.set(node, isEarly ? Math.min(...near, stages.length - 1) : Math.max(...near, 0))
    }
    const whole = stages.map(({ holding }, stage): PlacedStage => {
      return { nodes: [...nodes.keys()].filter((node) => stageOf.get(node) === stage), holding }
    })
    return { stages: whole }
  }
}
