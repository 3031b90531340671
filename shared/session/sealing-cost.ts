/** What it costs this machine to seal an activation and to open one: a fixed part, and a part by the byte. */

import type { Aeads, AlgId } from '../crypto/aead.js'
import { concat } from '../bytes.js'
import type { DeviceId, FleetId } from '../ids.js'
import { decodeActivation, encodeActivation } from '../protocol/tensors.js'
import type { Random } from '../random.js'
import { PairSession } from './pair.js'

/** Microseconds for a message, and for each of its bytes. */
export interface CrossingCost {
  readonly messageUs: number
  readonly byteUs: number
}

export interface SealingCost {
  readonly seal: CrossingCost
  readonly open: CrossingCost
}

const fleet: FleetId = 'f0000000000000000'
const ends: readonly [DeviceId, DeviceId] = ['d00000000000000000000000000000001', 'd00000000000000000000000000000002']
const [smallBytes, largeBytes] = [64, 256 << 10]
/** Runs that nobody counts: the compiler is at work in them. */
const warmUpRuns = 20

/**
 * Seals and opens activations of two sizes for `forMs` each, under keys of its own that nothing else is sealed with. The
 * real code from tensors to frame and back, without a socket.
 */
export function sealingCost(aeads: Aeads, random: Random, forMs = 10, alg: AlgId = 1): SealingCost {
  const prk = random(32)
  const [self, peer] = ends
  const session = (own: DeviceId, other: DeviceId): PairSession =>
    new PairSession({ fleet, self: own, material: { peer: other, epoch: 1, ordinal: 0, alg, prk }, aeads })
  const from = session(self, peer)
  const to = session(peer, self)
  try {
    const small = timed(from, to, smallBytes, forMs)
    const large = timed(from, to, largeBytes, forMs)
    return { seal: line(small.sealUs, large.sealUs), open: line(small.openUs, large.openUs) }
  } finally {
    from.erase()
    to.erase()
    prk.fill(0)
  }
}

function timed(from: PairSession, to: PairSession, bytes: number, forMs: number): { sealUs: number; openUs: number } {
  const data = new Uint8Array(bytes).fill(1)
  const tensors = [{ name: 'x', dtype: 'uint8', shape: [bytes], data }]
  const head = { plan: 1, client: ends[0], run: new Uint8Array(8), low: 0, stage: 0, hops: [], tensors }
  const seals: number[] = []
  const opens: number[] = []
  const startMs = performance.now()
  for (let request = 0; request < warmUpRuns + 5 || performance.now() - startMs < forMs; request++) {
    if (from.needsRatchet) break
    const beganMs = performance.now()
    const sealed = from.seal(1, encodeActivation({ ...head, request }))
    const sealedMs = performance.now()
    const frame = concat(sealed) // as it comes from a socket
    const cameMs = performance.now()
    decodeActivation(to.open(frame).plaintext)
    if (request < warmUpRuns) continue
    seals.push((sealedMs - beganMs) * 1000)
    opens.push((performance.now() - cameMs) * 1000)
  }
  return { sealUs: median(seals), openUs: median(opens) }
}

function line(smallUs: number, largeUs: number): CrossingCost {
  const byteUs = Math.max(0, largeUs - smallUs) / (largeBytes - smallBytes)
  return { messageUs: Math.max(0, smallUs - byteUs * smallBytes), byteUs }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!
}
