/**
 * What goes between two stages, by name: whole tensors, or slices of them where one end is parted. A stage that takes from
 * several puts together what came.
 */

import { Refusal } from '../errors.js'
import { gather, type Slice } from './gather.js'
import { cutOut, type Span } from './span.js'
import { checkTensor, sameShape, type Port, type Tensor } from './tensor.js'

/** A tensor as it travels. With `slice` it is only that part of the tensor of this name which the end that says so has. */
export interface SlicedPort extends Port {
  readonly slice?: Span
}

export type Named = Tensor & { readonly name: string }

/** A tensor that comes in slices. */
interface Puzzle {
  readonly axis: number
  readonly shape: readonly number[]
  readonly ports: readonly SlicedPort[]
}

export class Assembly {
  /** The tensors that are there when everything has come. */
  readonly ports: readonly Port[]
  readonly #legs: readonly (readonly SlicedPort[])[]
  readonly #puzzles: ReadonlyMap<string, Puzzle>

  /**
   * `legs`: what comes by each way. Throws `Refusal('bad-segment')` unless each tensor comes whole once, or in slices that
   * make it up: none twice, none over another, none missing.
   */
  constructor(legs: readonly (readonly SlicedPort[])[]) {
    const whole = new Map<string, Port>()
    const puzzles = new Map<string, Puzzle>()
    for (const port of legs.flat()) {
      const { name, slice } = port
      if (whole.has(name) || (slice === undefined && puzzles.has(name))) throw bad(name, 'comes twice')
      if (slice === undefined) whole.set(name, port)
      else puzzles.set(name, withPiece(puzzles.get(name), port, slice))
    }
    for (const [name, puzzle] of puzzles) whole.set(name, solved(name, puzzle))
    this.ports = [...whole.values()]
    this.#legs = legs
    this.#puzzles = puzzles
  }

  /**
   * The whole tensors, by name, of what came by each way. Throws `Refusal('bad-tensor')` for one that is missing or is not
   * what its port says. What comes whole is not copied, what is gathered has memory of its own.
   */
  assemble(came: readonly (readonly Named[])[]): Map<string, Tensor> {
    const found = new Map<string, Tensor>()
    const slices = new Map<string, Slice[]>()
    for (const [leg, ports] of this.#legs.entries()) {
      for (const port of ports) {
        const { name, slice } = port
        const tensor = came[leg]!.find((one) => one.name === name)
        if (tensor === undefined) throw new Refusal('bad-tensor', `tensor '${name}' is missing from the request`)
        checkTensor(port, tensor)
        if (slice === undefined) found.set(name, tensor)
        else slices.set(name, [...(slices.get(name) ?? []), { tensor, offset: slice.at }])
      }
    }
    for (const [name, { axis, shape }] of this.#puzzles) found.set(name, gather(slices.get(name)!, axis, shape))
    return found
  }
}

/** What goes one way of all that is there, by name. Throws `Refusal('bad-segment')` for a tensor that is not, or is another. */
export function sending(tensorOf: (name: string) => Tensor | undefined, ports: readonly SlicedPort[]): Named[] {
  return ports.map(({ name, shape, slice }) => {
    const tensor = tensorOf(name)
    if (tensor === undefined) throw new Refusal('bad-segment', `the segment gave no tensor '${name}'`)
    const { dtype, shape: made, data } = slice === undefined ? tensor : cutOut(tensor, slice, shape[slice.axis]!)
    return { name, dtype, shape: made, data }
  })
}

function withPiece(known: Puzzle | undefined, port: SlicedPort, { axis, of }: Span): Puzzle {
  const { name, dtype, shape, varies } = port
  if (axis >= shape.length || varies === true || dtype === 'string') throw bad(name, `has no slices along axis ${axis}`)
  const whole = shape.with(axis, of)
  const fits =
    known === undefined ||
    (known.axis === axis && sameShape(known.shape, whole) && known.ports.every((other) => other.dtype === dtype))
  if (!fits) throw bad(name, 'comes in slices that are not of one tensor')
  return { axis, shape: whole, ports: [...(known?.ports ?? []), port] }
}

/** The tensor that the slices make up. */
function solved(name: string, { axis, shape, ports }: Puzzle): Port {
  let end = 0
  for (const { slice, shape: own } of [...ports].sort((a, b) => a.slice!.at - b.slice!.at)) {
    const { at } = slice!
    if (at < end) throw bad(name, `comes in slices of which two overlap, at ${at} of ${shape[axis]}`)
    if (at > end) throw bad(name, `comes in slices of which none has the elements ${end} to ${at}`)
    end = at + own[axis]!
  }
  if (end !== shape[axis]) throw bad(name, `comes in slices of ${end} elements, but has ${shape[axis]}`)
  return { name, dtype: ports[0]!.dtype, shape }
}

function bad(name: string, what: string): Refusal {
  return new Refusal('bad-segment', `tensor '${name}' ${what}: the plan is wrong, deploy again`)
}
