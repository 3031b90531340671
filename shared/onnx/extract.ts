/** Parts of a prepared graph as models of their own, with what each receives, runs and sends. */

import { Refusal } from '../errors.js'
import { crossing } from './cuts.js'
import { assemble } from './dataflow.js'
import { declare, hasControlFlow } from './observe.js'
import type { Prepared } from './prepare.js'
import type { Port } from './tensor.js'

/** The nodes `[from, to)` as a model, placed in a chain of segments. */
export interface Segment {
  readonly from: number
  readonly to: number
  readonly model: Uint8Array
  /** What the segment's session takes and gives. */
  readonly runInputs: readonly Port[]
  readonly runOutputs: readonly Port[]
  /** All that crosses the cut before: the graph's inputs for the first segment. */
  readonly receives: readonly Port[]
  /** All that crosses the cut after: the graph's outputs for the last. What is not in `runOutputs` is passed through. */
  readonly sends: readonly Port[]
  readonly weightBytes: number
}

/** A set of nodes as a model. */
export interface Part {
  readonly model: Uint8Array
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  readonly weightBytes: number
}

/**
 * Any set of nodes as a model: `inputs` are what it reads from elsewhere, `outputs` what others, or the graph's outputs,
 * need of it. `withConstants`: also gives the graph's outputs that depend on no input. Throws `Refusal('cannot-cut')`
 * where a tensor would have to cross that may not, naming it.
 */
export function extract(prepared: Prepared, members: ReadonlySet<number>, withConstants: boolean): Part {
  const { flow } = prepared
  const steps = flow.steps.filter((_, index) => members.has(index))
  const written = new Set(steps.flatMap((step) => step.writes))
  const read = new Set(steps.flatMap((step) => step.reads))
  const needed = new Set([
    ...flow.outputs,
    ...flow.steps.flatMap((step, index) => (members.has(index) ? [] : step.reads)),
  ])
  const made = [...flow.inputs, ...flow.steps.flatMap((step) => step.writes)]
  const constants = withConstants ? flow.outputs.filter((name) => flow.constants.has(name)) : []
  const inputs = made.filter((name) => read.has(name) && !written.has(name))
  const outputs = [...made.filter((name) => written.has(name) && needed.has(name)), ...constants]
  return build(prepared, { steps, constants, inputs: portsOf(prepared, inputs), outputs: portsOf(prepared, outputs) })
}

/**
 * The graph as a chain of segments, cut before the nodes `at` (ascending, each in `[1, nodes)`). What one segment sends
 * is, tensor by tensor, what the next receives. Throws `Refusal('cannot-cut')`, naming the position and the reason.
 */
export function chain(prepared: Prepared, at: readonly number[]): Segment[] {
  const pieces = rangesOf(prepared.nodes.length, at)
  const borders = at.map((cut) => portsOf(prepared, crossing(prepared, range(0, cut)), ` at ${cut}`))
  return pieces.map(({ from, to }, index) => {
    const isLast = index === at.length
    const part = segmentPart(prepared, range(from, to), isLast)
    return {
      from,
      to,
      model: part.model,
      runInputs: part.inputs,
      runOutputs: part.outputs,
      receives: borders[index - 1] ?? prepared.inputs,
      sends: isLast ? prepared.outputs : (borders[index] as readonly Port[]),
      weightBytes: part.weightBytes,
    }
  })
}

/** `count` nodes cut before those at `at`. Throws `Refusal('cannot-cut')` unless they ascend within the graph. */
export function rangesOf(count: number, at: readonly number[]): { from: number; to: number }[] {
  const wrong = at.find(
    (cut, index) => !Number.isInteger(cut) || cut < 1 || cut >= count || cut <= (at[index - 1] ?? 0),
  )
  if (wrong !== undefined) {
    throw new Refusal(
      'cannot-cut',
      `no cut at ${wrong}: cuts must ascend between 1 and ${count - 1}, the graph has ${count} nodes`,
    )
  }
  return [...at, count].map((to, index) => ({ from: at[index - 1] ?? 0, to }))
}

/**
 * The nodes of a segment as a model. `isLast`: it also gives the graph's constant outputs, and outputs that are inputs where
 * it would have none at all.
 */
export function segmentPart(prepared: Prepared, members: ReadonlySet<number>, isLast: boolean): Part {
  const part = extract(prepared, members, isLast)
  if (part.outputs.length > 0) return part
  // A graph without nodes whose outputs are its inputs: an engine wants an output, so it may pass them on itself.
  const passed = prepared.outputs
  return build(prepared, { steps: [], constants: [], inputs: prepared.inputs, outputs: passed })
}

interface Plan {
  readonly steps: Prepared['flow']['steps']
  readonly constants: readonly string[]
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
}

function build({ flow }: Prepared, { steps, constants, inputs, outputs }: Plan): Part {
  const open = hasControlFlow(steps)
  const { model, weightBytes } = assemble(flow, {
    steps,
    constants,
    inputs: inputs.map((port) => declare(port, open)),
    outputs: outputs.map((port) => declare(port, open)),
  })
  return { model, inputs, outputs, weightBytes }
}

/** The ports of names that must be able to cross. Throws `Refusal('cannot-cut')` for the first that may not. */
export function portsOf(prepared: Prepared, names: readonly string[], where = ''): Port[] {
  return names.map((name) => {
    const port = prepared.ports.get(name)
    if (port === undefined) {
      throw new Refusal(
        'cannot-cut',
        `no cut${where}: '${name}' would cross it, and its type cannot be sent; cut before or after it`,
      )
    }
    return port
  })
}

/** The numbers `[from, to)`. */
export function range(from: number, to: number): Set<number> {
  return new Set(Array.from({ length: to - from }, (_, index) => from + index))
}
