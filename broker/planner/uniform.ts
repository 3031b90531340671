/**
 * Placements in which no stage is parted, for the objectives that are a largest cost: the period, and the share of memory.
 */

import { memoryFloor, periodFloor } from './bound.js'
import type { Effort } from './effort.js'
import { hostsOf, type Hosts } from './hosts.js'
import { idealsOf, nodesBetween, prefixesOf, type Ideals } from './ideals.js'
import type { Placement, Problem } from './problem.js'
import { freeLinks, linkCostsOf, type SearchSpace, type Step } from './search-space.js'
import type { Measure } from './segments.js'
import { stageCostsOf } from './stage-costs.js'
import { leastLimit, type Least } from './threshold.js'
import { ratesOf, timeWork, weightWork } from './work.js'

/** More than any legal cost, and less than the `Infinity` of what is not permitted. */
const noLimitUs = 1e300

export interface Solution {
  readonly placement: Placement | undefined
  readonly lowerBound: number
  readonly proof: string
  readonly remark: string | undefined
}

/** The placement with the least period. In shape 'dag' its bound may be lower than what it costs. */
export function leastPeriod(problem: Problem, effort: Effort): Solution {
  const work = timeWork(problem)
  const ideals = idealsWithin(problem, work, effort)
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
  const floor = periodFloor(problem)
  return solution(problem, space, leastLimit(space, measure, floor, noLimitUs, effort), floor)
}

/** The placement whose fullest device has the most room. */
export function leastMemory(problem: Problem, effort: Effort): Solution {
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
  const space: SearchSpace = { ideals, hosts, links, factor: new Float64Array(hosts.count).fill(1) }
  const floor = memoryFloor(problem)
  return solution(problem, space, leastLimit(space, measure, floor, 1, effort), floor)
}

function linksOf(
  { shape, links, fromClient, toClient }: Problem,
  borderBytes: Float64Array,
  ideals: Ideals,
  priced: boolean,
) {
  if (shape === 'dag') return freeLinks(links.length, ideals.count)
  return linkCostsOf(links, fromClient, toClient, borderBytes, priced)
}

/** All ideals, or the prefixes of the order that the nodes have. */
function idealsWithin(problem: Problem, work: Float64Array, effort: Effort): Ideals {
  return idealsOf(problem, work, effort.ideals) ?? prefixesOf([...problem.nodes.keys()], work)
}

function solution(problem: Problem, { ideals, hosts }: SearchSpace, least: Least, floor: number): Solution {
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
