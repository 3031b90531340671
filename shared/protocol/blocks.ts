/** The blocks of a file as they are asked for: a range and a bitmap of those missing in it (bit 0 = 0x80 of byte 0). */

import type { BlobGet } from './messages.js'

/** A segment file may have at most so many bytes: it is held in memory while it is sealed, sent and loaded. */
export const maxSegmentBytes = 1 << 30
/** A request may span so many blocks: its bitmap has at most 1 KiB. */
export const maxBlocksSpanned = 8192

/** Asks for the first `limit` blocks that are not there (1 or more); `undefined` when none is missing. */
export function askFor(file: Uint8Array, have: readonly boolean[], limit: number): BlobGet | undefined {
  const first = have.indexOf(false)
  if (first === -1) return undefined
  let count = 0
  let wanted = 0
  while (first + count < have.length && wanted < limit && count < maxBlocksSpanned) {
    if (have[first + count] === false) wanted++
    count++
  }
  const missing = new Uint8Array(Math.ceil(count / 8))
  for (let i = 0; i < count; i++) if (have[first + i] === false) missing[i >> 3]! |= 0x80 >> (i & 7)
  return { file, first, count, missing }
}

/** The blocks that a request names, in order; at most `maxBlocksSpanned`, whatever it says. */
export function blocksAsked({ first, count, missing }: BlobGet): number[] {
  const blocks: number[] = []
  for (let i = 0; i < Math.min(count, maxBlocksSpanned); i++)
    if ((missing[i >> 3] ?? 0) & (0x80 >> (i & 7))) blocks.push(first + i)
  return blocks
}
