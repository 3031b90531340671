/** Placements in which no stage is parted, searched as paths of stages over ideals; for every objective. */

import { latencyFloor, memoryFloor, periodFloor } from './bound.js'
import { costOf } from './cost.js'
import type { Effort } from './effort.js'
import type { Answer } from './front.js'
import { hostsOf, type Hosts } from './hosts.js'
import { idealsOf, nodesBetween, prefixesOf, sameIdeal, type Ideals } from './ideals.js'
import { isLegal } from './objective.js'
import type { Placement, Problem } from './problem.js'
import { quickest, timesLeft } from './quickest.js'
import type { Searched, Solution } from './searched.js'
import { delaysOf, freeLinks, linkCostsOf, type SearchSpace, type Step } from './search-space.js'
import { segmentsOf, type Measure, type Segments } from './segments.js'
import { stageCostsOf } from './stage-costs.js'
import { firstPath, isTight, leastLimit, limitsOf, type Least } from './threshold.js'
import { isWindowed, leastByWindows } from './windows.js'
import { ratesOf, timeWork, weightWork } from './work.js'

/** More than any legal cost, and less than the `Infinity` of what is not permitted. */
export const noLimitUs = 1e300

/** A problem made ready for searching by time. */
export interface TimeSearch {
  readonly problem: Problem
  readonly space: SearchSpace
  readonly measure: Measure
  readonly delays: Float64Array
}

export function timeSearchOf(problem: Problem, effort: Effort): TimeSearch {
  const work = timeWork(problem)
  return searchOver(problem, work, idealsWithin(problem, work, effort))
}

/** Only the prefixes of the order that the nodes have. */
function rowSearchOf(problem: Problem): TimeSearch {
  const work = timeWork(problem)
  return searchOver(problem, work, prefixesOf([...problem.nodes.keys()], work))
}

function searchOver(problem: Problem, work: Float64Array, ideals: Ideals): TimeSearch {
  const costs = stageCostsOf(problem, ideals)
  const { classes } = problem
  const measure: Measure = {
    classes: classes.length,
    cost: costs.busyUs,
    floor: (kind, from, to) => costs.computeUs(kind, from, to) + classes[kind]!.stageUs,
    rate: ratesOf(
      work,
      classes.map(({ nodeUs }) => nodeUs),
    ),
  }
  const hosts = hostsOf(problem)
  const links = linksOf(problem, costs.borderBytes, ideals, true)
  const space: SearchSpace = { ideals, hosts, links, factor: Float64Array.from(hosts.turns) }
  return { problem, space, measure, delays: delaysOf(problem) }
}

/** Every objective, by paths of stages. */
export function searchPaths(problem: Problem, effort: Effort): Searched {
  const search = timeSearchOf(problem, effort)
  const ask = latencySearch(search, effort)
  return {
    ask,
    best(objective) {
      if (objective.kind === 'memory') return leastMemory(problem, effort)
      if (objective.kind === 'throughput') return leastPeriod(search, effort)
      const { point, lowerBound } = ask(Infinity)
      const isProven = point !== undefined && isTight(point.cost.latencyUs, lowerBound)
      const proof = isProven ? 'searched through' : 'the fastest device for every node'
      return { placement: point?.placement, lowerBound, proof, remark: 'not every placement was looked at' }
    },
  }
}

/** The placement with the least period. In shape 'dag' its bound may be lower than what it costs. */
export function leastPeriod(search: TimeSearch, effort: Effort): Solution {
  const { problem, space, measure } = search
  const floor = periodFloor(problem)
  const { ideals, hosts } = space
  if (problem.shape === 'chain' || ideals.count <= mostIdealsKept || !isWindowed(ideals, hosts)) {
    return solution(space, leastLimit(space, measure, floor, noLimitUs, effort), floor)
  }
  // One order of the nodes gives a good start.
  const order = rowSearchOf(problem)
  const row = leastLimit(order.space, order.measure, floor, noLimitUs, effort)
  const start = row.path?.map(({ host, from, to }) => ({
    host,
    from: sameIdeal(order.space.ideals, from, ideals),
    to: sameIdeal(order.space.ideals, to, ideals),
  }))
  return solution(space, leastByWindows({ ...space, measure }, floor, start, effort), floor)
}

/** Ideals of which all that can follow each is kept; of more it is worked out again and again. */
const mostIdealsKept = 1000

/** The placement whose fullest device has the most room. */
export function leastMemory(problem: Problem, effort: Effort): Solution {
  const { space, measure } = memorySearchOf(problem, effort)
  const floor = memoryFloor(problem)
  return solution(space, leastLimit(space, measure, floor, 1, effort), floor)
}

/** Whether a placement was found that is within memory, pins and links. */
export function fits(problem: Problem, effort: Effort): boolean {
  const { space, measure } = memorySearchOf(problem, effort)
  return firstPath(space, measure, 1, 1, effort).path !== undefined
}

function memorySearchOf(problem: Problem, effort: Effort): { space: SearchSpace; measure: Measure } {
  const work = weightWork(problem)
  const ideals = idealsWithin(problem, work, effort)
  const costs = stageCostsOf(problem, ideals)
  const { classes, nodes } = problem
  const rates = ratesOf(
    work,
    classes.map(() => nodes.map(({ weightBytes }) => weightBytes)),
  )
  const measure: Measure = {
    classes: classes.length,
    cost: (kind, from, to) =>
      costs.busyUs(kind, from, to) === Infinity
        ? Infinity
        : costs.memoryBytes(kind, from, to) / classes[kind]!.memoryBytes,
    floor: (kind, from, to) => (costs.computeUs(kind, from, to) === Infinity ? Infinity : 0),
    rate: rates.map((rate, kind) => (rate === 0 ? 0 : rate * classes[kind]!.memoryBytes)),
  }
  // Replicas hold the same: they save no memory.
  const hosts = hostsOf({ ...problem, maxReplicas: 1 })
  const links = linksOf(problem, costs.borderBytes, ideals, false)
  return { space: { ideals, hosts, links, factor: new Float64Array(hosts.count).fill(1) }, measure }
}

/** Stages of which the quickest row is looked for at most; of more, only those between some borders. */
const mostQuickest = 1_000_000

/**
 * Answers, one after the other, for the placement of least latency with a period below a limit. In shape 'dag' stages wait
 * for what they need only and the sum of a path says too much: the bound is that of the nodes alone.
 */
export function latencySearch(search: TimeSearch, effort: Effort): (limitUs: number) => Answer {
  const { problem, space, measure, delays } = search
  const floor = latencyFloor(problem)
  const isBound = space.ideals.isComplete && problem.shape === 'chain'
  let segments: Segments | undefined
  let all: Segments | undefined
  /** All answers together may open twice as many labels as one. */
  let left = 2 * effort.labels
  return (limitUs) => {
    if (segments === undefined) {
      all = segmentsOf(space.ideals, measure, limitsOf(space, measure, noLimitUs), effort.segments)
      segments = all !== undefined && all.to.length <= mostQuickest ? all : thinned(search)
    }
    const limit = Math.min(limitUs, noLimitUs)
    const labels = Math.min(effort.labels, left)
    let found = quickest(space, segments, delays, limit, { labels, isLate: effort.isLate })
    left -= found.opened
    let bound = found.lowerBound
    // Between some borders only, the best is no bound for all; but the time that is left at least is.
    if (segments !== all) bound = all === undefined ? 0 : timesLeft(space, all, delays, limit).fromClient
    // Not found in time: any path that is found in a hurry is better than none.
    for (const weight of [1.2, 3]) {
      if (found.path !== undefined || found.isProven || left <= 0) break
      const labels = Math.min(effort.labels / 4, left)
      found = quickest(space, segments, delays, limit, { labels, weight, isLate: effort.isLate })
      left -= found.opened
    }
    const lowerBound = isBound ? Math.max(floor, bound) : floor
    if (found.path === undefined) return { point: undefined, lowerBound }
    const placement = placementOf(space.ideals, space.hosts, found.path)
    const cost = costOf(problem, placement)
    const point = isLegal(cost) && cost.periodUs < limitUs ? { placement, cost } : undefined
    return { point, lowerBound: Math.min(lowerBound, cost.latencyUs) }
  }
}

/** Where all stages that are possible are too many: those between borders that are spread out over the nodes. */
function thinned({ space, measure }: TimeSearch): Segments {
  const { ideals } = space
  const cuts = Math.min(ideals.count, Math.floor(Math.sqrt((2 * mostQuickest) / measure.classes)))
  const isCut = new Uint8Array(ideals.count)
  for (let cut = 0; cut < cuts; cut++) isCut[Math.floor((cut * ideals.count) / cuts)] = 1
  isCut[ideals.count - 1] = 1
  return segmentsOf(ideals, measure, limitsOf(space, measure, noLimitUs), Infinity, isCut)!
}

function linksOf(problem: Problem, borderBytes: Float64Array, ideals: Ideals, priced: boolean) {
  const { shape, links, fromClient, toClient } = problem
  if (shape === 'dag') return freeLinks(links.length, ideals.count)
  return linkCostsOf(links, fromClient, toClient, borderBytes, priced)
}

/** All ideals, or the prefixes of the order that the nodes have. */
function idealsWithin(problem: Problem, work: Float64Array, effort: Effort): Ideals {
  return idealsOf(problem, work, effort.ideals) ?? prefixesOf([...problem.nodes.keys()], work)
}

function solution({ ideals, hosts }: SearchSpace, least: Least, floor: number): Solution {
  const { path, proof, remark } = least
  const placement = path === undefined ? undefined : placementOf(ideals, hosts, path)
  if (ideals.isComplete) return { placement, lowerBound: least.lowerBound, proof, remark }
  return {
    placement,
    lowerBound: floor,
    proof: 'the work and the heaviest node',
    remark: 'the ideals are too many: one order was searched',
  }
}

export function placementOf(ideals: Ideals, { class: kinds, turns }: Hosts, path: readonly Step[]): Placement {
  const stages = path.map(({ host, from, to }) => ({
    nodes: nodesBetween(ideals, from, to),
    holding:
      turns[host] === 1
        ? ({ kind: 'one', class: kinds[host]! } as const)
        : ({ kind: 'replicas', class: kinds[host]!, count: turns[host]! } as const),
  }))
  return { stages }
}
