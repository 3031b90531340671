/** What a prepared graph asks of a machine that runs some of it: the memory of each node, and what goes between nodes. */

import type { Dataflow } from './dataflow.js'
import type { Prepared } from './prepare.js'
import { byteLength, type Dtype } from './tensor.js'

export interface NodeWork {
  readonly name: string
  readonly opType: string
  readonly weightBytes: number
  /** Its operands and results. */
  readonly scratchBytes: number
}

export interface ValueWork {
  readonly name: string
  /** `undefined`: it is of a type that cannot be sent (a sequence, say), so that who makes it and who reads it stay together. */
  readonly dtype: Dtype | undefined
  readonly bytes: number
  /** The node that makes it, or `undefined` for an input of the model. */
  readonly from: number | undefined
  /** The nodes that read it, ascending. */
  readonly to: readonly number[]
  readonly isOutput: boolean
}

/** In the canonical order. */
export function nodeWork({ flow, ports }: Prepared): NodeWork[] {
  const bytesOf = (name: string): number => sizeOf(ports, name)
  return flow.steps.map(({ name, opType, bytes, reads, writes, constants }) => ({
    name,
    opType,
    weightBytes: bytes + constantBytes(flow, constants),
    scratchBytes: [...reads, ...writes].reduce((sum, read) => sum + bytesOf(read), 0),
  }))
}

/** Inputs first, then in the order of their makers; without those that nobody wants. */
export function valueWork({ flow, ports }: Prepared): ValueWork[] {
  const readers = new Map<string, number[]>()
  for (const [index, { reads }] of flow.steps.entries()) {
    for (const name of new Set(reads)) readers.set(name, [...(readers.get(name) ?? []), index])
  }
  const outputs = new Set(flow.outputs)
  const made: [string, number | undefined][] = [
    ...flow.inputs.map((name): [string, undefined] => [name, undefined]),
    ...flow.steps.flatMap(({ writes }, index) => writes.map((name): [string, number] => [name, index])),
  ]
  return made.flatMap(([name, from]) => {
    const to = readers.get(name) ?? []
    const isOutput = outputs.has(name)
    return to.length === 0 && !isOutput
      ? []
      : [{ name, dtype: ports.get(name)?.dtype, bytes: sizeOf(ports, name), from, to, isOutput }]
  })
}

/** 0 for what cannot be sent. */
function sizeOf(ports: Prepared['ports'], name: string): number {
  const port = ports.get(name)
  return port === undefined ? 0 : byteLength(port)
}

/** Bytes of constants and of those they are made from. One that two nodes read counts for each: it may go to both. */
function constantBytes({ constants }: Dataflow, names: readonly string[]): number {
  const wanted = new Set<string>()
  const open = [...names]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (wanted.has(name)) continue
    wanted.add(name)
    open.push(...(constants.get(name)?.needs ?? []))
  }
  return [...wanted].reduce((sum, name) => sum + (constants.get(name)?.bytes ?? 0), 0)
}
