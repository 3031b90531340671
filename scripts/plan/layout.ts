/**
 * Where everything in the drawing of a plan goes: a column for each stage, in it its nodes by rank (the longest way from the
 * stage's first nodes), long columns folded so that the whole is about as wide as a page.
 */

import type { ModelWork } from '#broker/planner/model-work.js'

export interface Box {
  readonly node: number
  readonly x: number
  readonly y: number
}

export interface Column {
  readonly x: number
  readonly width: number
  readonly boxes: readonly Box[]
}

export interface Layout {
  readonly columns: readonly Column[]
  readonly width: number
  readonly height: number
}

export const box = { width: 124, height: 20 } as const
const gap = { beside: 10, below: 12, folds: 26 } as const
/** Between two stages, for what crosses. */
export const gutter = 120
/** A column is at least this wide, for what stands at its head. */
const leastWidth = 236
/** Around the nodes of a stage. */
export const padding = 12
/** Ranks that a fold has at least. */
const leastRanks = 14
/** Width of the drawing for its height. */
const proportion = 1.7

/** Lays out the nodes of each stage, by index; `top` is where the first rank begins and `left` the first column. */
export function layOut(work: ModelWork, stages: readonly (readonly number[])[], left: number, top: number): Layout {
  const ranked = stages.map((nodes) => ranksOf(work, nodes))
  const longest = Math.max(...ranked.map((ranks) => ranks.length))
  // The most folds first: fewer where they would make it too wide.
  for (let folds = Math.floor(longest / leastRanks); folds > 1; folds--) {
    const layout = folded(ranked, Math.ceil(longest / folds), left, top)
    if (layout.width <= proportion * (layout.height + top)) return layout
  }
  return folded(ranked, longest, left, top)
}

function folded(ranked: readonly (readonly number[][])[], fold: number, left: number, top: number): Layout {
  const columns: Column[] = []
  let x = left
  let height = 0
  for (const ranks of ranked) {
    const boxes: Box[] = []
    const start = x
    x += padding
    for (let from = 0; from < ranks.length; from += fold) {
      const rows = ranks.slice(from, from + fold)
      const lanes = Math.max(...rows.map((row) => row.length))
      const width = lanes * (box.width + gap.beside) - gap.beside
      for (const [row, nodes] of rows.entries()) {
        const y = top + row * (box.height + gap.below)
        const used = nodes.length * (box.width + gap.beside) - gap.beside
        for (const [lane, node] of nodes.entries())
          boxes.push({ node, x: x + (width - used) / 2 + lane * (box.width + gap.beside), y })
        height = Math.max(height, y + box.height)
      }
      x += width + (from + fold < ranks.length ? gap.folds : padding)
    }
    const spare = Math.max(0, leastWidth - (x - start)) / 2
    x += 2 * spare
    columns.push({ x: start, width: x - start, boxes: boxes.map((one) => ({ ...one, x: one.x + spare })) })
    x += gutter
  }
  return { columns, width: x, height: height + padding }
}

/** The nodes of a stage by rank; in a rank, each below those that it reads from, as far as that goes. */
function ranksOf({ values }: ModelWork, nodes: readonly number[]): number[][] {
  const members = new Set(nodes)
  const before = new Map<number, number[]>(nodes.map((node) => [node, []]))
  for (const { from, to } of values) {
    if (from === undefined || !members.has(from)) continue
    for (const node of to) before.get(node)?.push(from)
  }
  const rankOf = new Map<number, number>()
  const ranks: number[][] = []
  for (const node of nodes) {
    const rank = Math.max(-1, ...before.get(node)!.map((earlier) => rankOf.get(earlier)!)) + 1
    rankOf.set(node, rank)
    ranks[rank] = [...(ranks[rank] ?? []), node]
  }
  const place = new Map<number, number>()
  for (const row of ranks) {
    const centre = (node: number): number => {
      const above = before.get(node)!.map((earlier) => place.get(earlier)!)
      return above.length === 0 ? 0.5 : above.reduce((sum, at) => sum + at, 0) / above.length
    }
    const centres = new Map(row.map((node) => [node, centre(node)]))
    row.sort((a, b) => centres.get(a)! - centres.get(b)! || a - b)
    for (const [at, node] of row.entries()) place.set(node, (at + 0.5) / row.length)
  }
  return ranks
}
