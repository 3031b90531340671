/** Whether a segment can have the memory that it needs here, before any of it is taken. */

import { Refusal } from '#shared/errors.js'
import { byteLength, type Port } from '#shared/onnx/tensor.js'
import type { SegmentFile } from '#shared/protocol/messages.js'

/**
 * Throws `Refusal('over-limit')` for a segment that must take more than `limitBytes` (none where `undefined`): its weights,
 * which are nearly all of the file, and two of each tensor that comes or goes, one in use and one on its way. The planner
 * counts the engine's session and scratch as well, so that what it places is never refused here.
 */
export function checkRoom(
  { name, fileBytes }: SegmentFile,
  ports: readonly Port[],
  limitBytes: number | undefined,
): void {
  if (limitBytes === undefined) return
  const needed = ports.reduce((sum, port) => sum + 2 * byteLength(port), fileBytes)
  if (needed <= limitBytes) return
  throw new Refusal(
    'over-limit',
    `segment '${name}' takes at least ${inMegabytes(needed)} of memory and may take ${inMegabytes(limitBytes)} here: plan it for more devices, or raise 'memory'`,
  )
}

function inMegabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
