/** A stage, or one part of a parted one, with what of each tensor it takes and makes. */

import type { RegionPart, PartPort } from './part.js'
import type { Port } from './tensor.js'

/** A stage as a model of its own, or one part of a parted stage. */
export interface StageModel {
  /** Its place among the stages of the split. */
  readonly of: number
  /** Channels of its region, where it is a part. */
  readonly channels?: { readonly from: number; readonly to: number }
  readonly nodes: readonly number[]
  readonly model: Uint8Array
  readonly runInputs: readonly Port[]
  readonly runOutputs: readonly Port[]
  readonly weightBytes: number
}

/** The elements `[from, to)` of a tensor along an axis. */
export interface Range {
  readonly axis: number
  readonly from: number
  readonly to: number
}

export interface Piece {
  readonly model: StageModel
  /** What it has of the tensors that it makes a share of only. */
  readonly makes: ReadonlyMap<string, Range>
  /** What it needs of the tensors that it computes with a share of only. */
  readonly needs: ReadonlyMap<string, Range>
}

export function wholePiece(model: StageModel): Piece {
  return { model, makes: new Map(), needs: new Map() }
}

export function partPiece(part: RegionPart, of: number, nodes: readonly number[]): Piece {
  const { from, to, model, receives, sends, weightBytes } = part
  const ports = (given: readonly PartPort[]): Port[] => given.map(({ port }) => port)
  return {
    model: {
      of,
      channels: { from, to },
      nodes,
      model,
      runInputs: ports(receives),
      runOutputs: ports(sends),
      weightBytes,
    },
    makes: rangesIn(sends),
    needs: rangesIn(receives),
  }
}

function rangesIn(ports: readonly PartPort[]): Map<string, Range> {
  return new Map(
    ports.flatMap(({ port, slice }): [string, Range][] =>
      slice === undefined
        ? []
        : [[port.name, { axis: slice.axis, from: slice.offset, to: slice.offset + port.shape[slice.axis]! }]],
    ),
  )
}
