/**
 * What the hub has a device measure, and what came of it (DESIGN D16). Times are whole nanoseconds, and picoseconds where
 * they are of one byte: at a GB/s a byte takes one nanosecond.
 */

import { z } from 'zod'
import { bytes, deviceId, ports, segmentFile, text, uint } from './messages.js'

/** What sealing or opening costs: for each message, and for each of its bytes. */
const crossing = z.strictObject({ messageNs: uint, bytePs: uint })

export const measure = z.strictObject({
  /** Names the order in its report; grows with every order of the hub. */
  order: uint,
  what: z.discriminatedUnion('kind', [
    /** The device itself: its speed at known work, the price of sealing and opening, its memory. */
    z.strictObject({ kind: z.literal('device') }),
    /** A segment, delivered as one that is to be run: its time and memory. Its key comes through the hub session. */
    z.strictObject({ kind: z.literal('segment'), segment: segmentFile, runInputs: ports, runOutputs: ports }),
    /** The link to a device that need be no peer of the plan; the other end is to `answer`, or nothing is measured. */
    z.strictObject({ kind: z.literal('link'), peer: deviceId, part: z.enum(['ask', 'answer']) }),
    /** Nothing any more: who was a peer for a measurement only is none from now on. */
    z.strictObject({ kind: z.literal('none') }),
  ]),
})
export type Measure = z.infer<typeof measure>

export const measured = z.strictObject({
  order: uint,
  result: z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('device'),
      /** One run of each of the known kernels. */
      kernels: z.strictObject({ convNs: uint, matmulNs: uint, elementNs: uint }),
      /** What a run costs besides its kernels: the call into the engine and the way there and back. */
      stageNs: uint,
      seal: crossing,
      open: crossing,
      /** Free for this process now. */
      memoryBytes: uint,
      /** What a session takes besides weights and activations. */
      sessionBytes: uint,
    }),
    z.strictObject({
      kind: z.literal('segment'),
      fileHash: bytes(32),
      computeNs: uint,
      runs: uint,
      /** From the sealed file to a session that runs. */
      loadNs: uint,
      /** By how much the process has grown with the session, and with its runs. */
      loadedBytes: uint,
      peakBytes: uint,
    }),
    z.strictObject({
      kind: z.literal('link'),
      peer: deviceId,
      link: z.enum(['direct', 'relay']),
      messageNs: uint,
      bytePs: uint,
      roundTripNs: uint,
    }),
    /** Nothing was measured; `busy` where it may be later. */
    z.strictObject({ kind: z.literal('refused'), isBusy: z.boolean(), code: text(32), message: text(512) }),
  ]),
})
export type Measured = z.infer<typeof measured>
export type MeasuredResult = Measured['result']
