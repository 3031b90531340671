/** What a threshold search looks through: ideals, hosts, what they can hold and what it costs to go from one to the next. */

import { turnsBetween } from './cost.js'
import type { Hosts } from './hosts.js'
import type { Ideals } from './ideals.js'
import type { Link, Problem } from './problem.js'
import type { Segments } from './segments.js'

/** One stage of a path: the nodes that ideal `to` has more than `from`, on a host. */
export interface Step {
  readonly host: number
  readonly from: number
  readonly to: number
}

export interface SearchSpace {
  readonly ideals: Ideals
  readonly hosts: Hosts
  readonly links: LinkCosts
  /** By host: by how much the limit is exceeded by what it may hold: its turns where time is measured, else 1. */
  readonly factor: Float64Array
}

/** Costs of every link in the unit that is measured; the client is class number `classes`. */
export interface LinkCosts {
  readonly classes: number
  /** Row by class of the sender, column by class of the receiver. `Infinity` where there is no link. */
  readonly fixed: Float64Array
  readonly byByte: Float64Array
  readonly borderBytes: Float64Array
}

/** Links as they are (`time`), or only whether they are there. */
export function linkCostsOf(
  links: readonly (readonly (Link | undefined)[])[],
  fromClient: readonly (Link | undefined)[],
  toClient: readonly (Link | undefined)[],
  borderBytes: Float64Array,
  priced: boolean,
): LinkCosts {
  const classes = links.length
  const side = classes + 1
  const fixed = new Float64Array(side * side)
  const byByte = new Float64Array(side * side)
  const put = (from: number, to: number, link: Link | undefined): void => {
    fixed[from * side + to] = link === undefined ? Infinity : priced ? link.messageUs : 0
    byByte[from * side + to] = link === undefined || !priced ? 0 : link.byteUs
  }
  links.forEach((row, from) => row.forEach((link, to) => put(from, to, link)))
  fromClient.forEach((link, to) => put(classes, to, link))
  toClient.forEach((link, from) => put(from, classes, link))
  return { classes, fixed, byByte, borderBytes }
}

/** Latency of every link, in rows like those of `LinkCosts`. */
export function delaysOf({ links, fromClient, toClient }: Problem): Float64Array {
  const side = links.length + 1
  const delays = new Float64Array(side * side)
  links.forEach((row, from) => row.forEach((link, to) => (delays[from * side + to] = link?.latencyUs ?? 0)))
  fromClient.forEach((link, to) => (delays[links.length * side + to] = link?.latencyUs ?? 0))
  toClient.forEach((link, from) => (delays[from * side + links.length] = link?.latencyUs ?? 0))
  return delays
}

/** No link costs anything: a bound for what goes where is not known. */
export function freeLinks(classes: number, ideals: number): LinkCosts {
  const size = (classes + 1) ** 2
  return {
    classes,
    fixed: new Float64Array(size),
    byByte: new Float64Array(size),
    borderBytes: new Float64Array(ideals),
  }
}

/** Cost of the link from host to host over the border after `ideal`; host -1 is the client. */
export function linkCost({ hosts, links, factor }: SearchSpace, from: number, to: number, ideal: number): number {
  const side = links.classes + 1
  const at = (from === -1 ? links.classes : hosts.class[from]!) * side + (to === -1 ? links.classes : hosts.class[to]!)
  const turns = turnsBetween(from === -1 ? 1 : factor[from]!, to === -1 ? 1 : factor[to]!)
  return (links.fixed[at]! + links.byByte[at]! * links.borderBytes[ideal]!) / turns
}

/** The cost of what host `step.host` holds there, per turn; `Infinity` where `segments` do not have it. */
export function stepCost({ ideals, hosts, factor }: SearchSpace, segments: Segments, step: Step): number {
  const row = hosts.class[step.host]! * ideals.count + step.from
  for (let at = segments.start[row]!; at < segments.start[row + 1]!; at++) {
    if (segments.to[at] === step.to) return segments.cost[at]! / factor[step.host]!
  }
  return Infinity
}

/** The largest cost on a path. */
export function pathCost(space: SearchSpace, segments: Segments, path: readonly Step[]): number {
  let most = 0
  let last = -1
  for (const step of path) {
    most = Math.max(most, linkCost(space, last, step.host, step.from), stepCost(space, segments, step))
    last = step.host
  }
  return Math.max(most, linkCost(space, last, -1, space.ideals.count - 1))
}

/** Costs that are equal but for rounding pass. */
export const rounding = 1e-12
