/** What goes from each stage to each: of whole stages whole tensors, of parts and to parts the slices that both have. */

import { Refusal } from '../errors.js'
import { portsOf } from './extract.js'
import type { Piece, Range } from './piece.js'
import type { Prepared } from './prepare.js'
import type { Span } from './span.js'
import type { Port } from './tensor.js'

/** What one stage sends to another for each request; `undefined` is the client. */
export interface Edge {
  readonly from: number | undefined
  readonly to: number | undefined
  readonly tensors: readonly Crossing[]
}

/** A tensor on an edge. */
export interface Crossing {
  /** As it travels. */
  readonly port: Port
  /** Where it lies in what the sender has of the tensor of this name; absent where it is all of that. */
  readonly cut?: Span
  /** And in what the receiver needs of it. */
  readonly put?: Span
}

/** The names of what goes from one stage of a split to another. */
export interface Route {
  readonly from: number | undefined
  readonly to: number | undefined
  readonly names: readonly string[]
}

/**
 * The edges between the pieces of the stages that the routes join. Throws `Refusal('cannot-cut')` where a tensor may not
 * cross, and where a part would need a share of one, and all of it besides, to pass it on.
 */
export function edgesBetween(prepared: Prepared, routes: readonly Route[], pieces: readonly Piece[]): Edge[] {
  const of = (stage: number | undefined): (number | undefined)[] =>
    stage === undefined ? [undefined] : [...pieces.keys()].filter((index) => pieces[index]!.model.of === stage)
  const edges: Edge[] = []
  for (const route of routes) {
    const ports = portsOf(prepared, route.names, ` between ${ends(route)}`)
    for (const [sender, from] of of(route.from).entries()) {
      for (const [receiver, to] of of(route.to).entries()) {
        const tensors = ports.flatMap((port) => {
          const has = hasOf(pieces, from, sender, port)
          const needs = needsOf(pieces, to, receiver, port, routes)
          return has === undefined || needs === undefined ? [] : crossingOf(port, has, needs)
        })
        // A way with nothing on it is one that only says that there is a request: once is enough.
        if (tensors.length > 0 || (ports.length === 0 && sender === 0)) edges.push({ from, to, tensors })
      }
    }
  }
  return edges
}

/** All of a tensor, or the elements along one axis; `undefined`: nothing. */
type Extent = 'all' | Range | undefined

/** What a piece can send of a tensor: its share of what it makes one of; of what is whole in all parts the first sends it. */
function hasOf(pieces: readonly Piece[], from: number | undefined, place: number, { name }: Port): Extent {
  const share = from === undefined ? undefined : pieces[from]!.makes.get(name)
  return share ?? (place === 0 ? 'all' : undefined)
}

/** What a piece must get: what it computes with, and the first of several parts also what it passes on. */
function needsOf(
  pieces: readonly Piece[],
  to: number | undefined,
  place: number,
  { name }: Port,
  routes: readonly Route[],
): Extent {
  if (to === undefined) return 'all'
  const { model, needs } = pieces[to]!
  const isRead = model.runInputs.some((port) => port.name === name)
  const passes =
    place === 0 &&
    !model.runOutputs.some((port) => port.name === name) &&
    routes.some((route) => route.from === model.of && route.names.includes(name))
  const share = needs.get(name)
  if (passes && isRead && share !== undefined) {
    throw new Refusal(
      'cannot-cut',
      `stage ${model.of} is parted by '${name}', which it would have to pass on whole: let it go straight to those that read it`,
    )
  }
  if (passes) return 'all'
  return isRead ? (share ?? 'all') : undefined
}

/** What both have, as it travels; nothing where that is nothing. */
function crossingOf(port: Port, has: Exclude<Extent, undefined>, needs: Exclude<Extent, undefined>): Crossing[] {
  const axis = has === 'all' ? (needs === 'all' ? undefined : needs.axis) : has.axis
  if (axis === undefined) return [{ port }]
  const size = port.shape[axis]!
  const range = (extent: Exclude<Extent, undefined>): Range => (extent === 'all' ? { axis, from: 0, to: size } : extent)
  const [here, there] = [range(has), range(needs)]
  if (there.axis !== axis) {
    throw new Refusal(
      'cannot-cut',
      `'${port.name}' is parted along axis ${axis} where it is made and along ${there.axis} where it is read: put a stage between that is not parted`,
    )
  }
  const from = Math.max(here.from, there.from)
  const to = Math.min(here.to, there.to)
  if (from >= to) return []
  const span = (whole: Range): Span | undefined =>
    whole.from === from && whole.to === to ? undefined : { axis, at: from - whole.from, of: whole.to - whole.from }
  const [cut, put] = [span(here), span(there)]
  return [
    {
      port: { ...port, shape: port.shape.with(axis, to - from) },
      ...(cut === undefined ? {} : { cut }),
      ...(put === undefined ? {} : { put }),
    },
  ]
}

function ends({ from, to }: Route): string {
  if (from === undefined) return `the client and stage ${to}`
  return to === undefined ? `stage ${from} and the client` : `stages ${from} and ${to}`
}
