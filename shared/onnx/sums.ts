/**
 * When the sums of a dense node do not depend on how many output channels are computed beside each other. What the engine
 * (ONNX Runtime 1.30, x64, one thread, float32) was measured to do; whole numbers add up the same in any order.
 */

import { gcd, granuleFor, type Asked } from './flow.js'
import { blockedDomain } from './graph-view.js'

/** Sums that are made side by side where a Conv has one position to compute: those left over are made in another order. */
const together = 4

/**
 * What the shares of a Conv must be a multiple of, or why no shares have the bits of the whole. `positions`: places that
 * the kernel is applied to; `sums`: for each output channel at each of them.
 */
export function sumsOfConv(
  { node, channels }: Asked,
  bank: number,
  positions: number,
  sums: number,
): { readonly granule: number; readonly inexact?: string } {
  if (positions !== 1 || node.domain === blockedDomain || isInteger(node.opType)) return { granule: 1 }
  if ((bank * sums) % together === 0) return { granule: granuleFor(channels, bank, together / gcd(together, sums)) }
  return { granule: 1, inexact: `it computes one position, and its ${bank} channels are no multiple of ${together}` }
}

/**
 * A product's columns are summed in blocks. The engine packs a stored matrix beforehand, in blocks that are always the
 * same; for other weights the blocks depend on how many columns there are.
 */
export function sumsOfProduct(
  { view, node }: Asked,
  weight: string,
): { readonly granule: number; readonly inexact?: string } {
  if (isInteger(node.opType)) return { granule: 1 }
  const stored = view.constant(weight)?.stored
  if (stored?.dims.length === 2 && view.dtype(weight) === 'float32') return { granule: 1 }
  return {
    granule: 1,
    inexact: 'its sums depend on how many columns there are, since its weights are no stored float32 matrix',
  }
}

function isInteger(opType: string): boolean {
  return /Integer|^Q|^DynamicQ/.test(opType)
}
