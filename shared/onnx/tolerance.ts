/** How near two runs of the same model must be that do not promise equal bits: other levels, other machines. */

import type { Level } from './session.js'
import { gap, numbersOf, sameShape, type Tensor } from './tensor.js'

export interface Tolerance {
  /** Part of the expected value. */
  readonly relative: number
  /** Part of the largest expected magnitude of the tensor, or of 1 where that is smaller. */
  readonly ofRange: number
}

/** Fusing nodes reorders sums; at 'all', kernels change too. */
const byLevel: Record<Level, number> = { disabled: 1e-5, basic: 1e-5, extended: 1e-4, all: 1e-4 }

/**
 * The tolerance for a model at a level. Integer kernels replace emulated ones above 'basic', so that a quantised value
 * may fall on the next step: 2 % of the range. Half precision keeps 11 bits, and the engine drops casts between nodes.
 */
export function toleranceOf(level: Level, ops: readonly string[], usesHalf: boolean): Tolerance {
  const quantised = ops.some((op) => /Quantize|QLinear|Integer$|QGemm|QAttention|MatMulNBits/.test(op))
  if (quantised) return { relative: 1e-3, ofRange: 2e-2 }
  return { relative: usesHalf ? 1e-2 : 1e-3, ofRange: usesHalf ? 5e-3 : byLevel[level] }
}

/** True if every value is within the tolerance; NaN must meet NaN, strings and shapes must be equal. */
export function isWithin(tolerance: Tolerance, actual: Tensor, expected: Tensor): boolean {
  if (actual.dtype !== expected.dtype || !sameShape(actual.shape, expected.shape)) return false
  if (actual.dtype === 'string') return (actual.data as string[]).every((text, index) => text === expected.data[index])
  const wanted = numbersOf(expected)
  const got = numbersOf(actual)
  const range = wanted.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 1)
  const floor = tolerance.ofRange * range
  return wanted.every(
    (value, i) =>
      gap(got[i] as number, value) <= floor + tolerance.relative * (Number.isFinite(value) ? Math.abs(value) : 0),
  )
}
