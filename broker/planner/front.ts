/**
 * The trade between period and latency, whatever the way of searching: asked for the placement of least latency with a period
 * below a limit, again and again with the period of the last answer as the limit, until there is none.
 */

import type { Cost, Placement } from './problem.js'

export interface Point {
  readonly placement: Placement
  readonly cost: Cost
}

export interface Answer {
  readonly point: Point | undefined
  /** Proven: no placement with a period below the limit has less latency. `Infinity`: proven that there is none. */
  readonly lowerBound: number
}

/** The placement of least latency with a period below the limit. */
export type Ask = (limitUs: number) => Answer

export interface Front {
  /** By period, shortest first; none is beaten by another one. */
  readonly points: readonly Point[]
  /** For every answer: no placement with a period below `belowUs` has less latency than `latencyUs`. */
  readonly bounds: readonly { readonly belowUs: number; readonly latencyUs: number }[]
  readonly isProven: boolean
}

/** Answers that are asked for at most. */
const mostAnswers = 400

/** `least` is the placement of least period, as far as is known, and `periodBoundUs` what is proven for it. */
export function frontOf(ask: Ask, least: Point, periodBoundUs: number, isLate: () => boolean): Front {
  const found: Point[] = [least]
  const bounds: { belowUs: number; latencyUs: number }[] = []
  let isProven = true
  let limit = Infinity
  for (let count = 0; ; count++) {
    if (count === mostAnswers || isLate()) {
      isProven = false
      break
    }
    const { point, lowerBound } = ask(limit)
    bounds.push({ belowUs: limit, latencyUs: lowerBound })
    if (point === undefined) {
      isProven &&= lowerBound === Infinity
      break
    }
    found.push(point)
    isProven &&= isNearly(point.cost.latencyUs, lowerBound)
    limit = point.cost.periodUs * (1 - 1e-9)
    // Nothing has a period below the bound, so the placement that has it ends the front.
    if (limit <= periodBoundUs) break
  }
  return { points: unbeaten(found), bounds, isProven }
}

/** No placement takes less than this for `requests` that come at once; `floor` is what is known without any answer. */
export function batchBound(
  { bounds, points }: Front,
  requests: number,
  floor: { readonly periodUs: number; readonly latencyUs: number },
): number {
  if (bounds.length === 0) return floor.latencyUs + (requests - 1) * floor.periodUs
  // Between two limits, latency has the bound of the upper one, and the period is no less than the lower one.
  const best = Math.min(...points.map(({ cost }) => cost.latencyUs + (requests - 1) * cost.periodUs))
  let least = Infinity
  bounds.forEach(({ latencyUs }, at) => {
    const periodUs = Math.max(bounds[at + 1]?.belowUs ?? 0, floor.periodUs)
    if (latencyUs < Infinity) least = Math.min(least, latencyUs + (requests - 1) * periodUs)
  })
  return Math.min(best, least)
}

/** Those that no other beats in one of the two without losing in the other, by period. */
function unbeaten(points: readonly Point[]): Point[] {
  const kept: Point[] = []
  const order = [...points].sort((a, b) => a.cost.periodUs - b.cost.periodUs || a.cost.latencyUs - b.cost.latencyUs)
  for (const point of order) {
    const last = kept.at(-1)
    if (last === undefined || point.cost.latencyUs < last.cost.latencyUs * (1 - 1e-9)) kept.push(point)
  }
  return kept
}

function isNearly(value: number, lowerBound: number): boolean {
  return value - lowerBound <= value * 1e-9
}
