/** What DESIGN 5 asks of the pipeline, and what it holds to be possible on two cores. Ratios. */

import type { BarSpec } from './figure.js'
import type { NetworkName } from './networks.js'

type PerNetwork = Readonly<Partial<Record<NetworkName, BarSpec>>>

/** Two stages, sealed, against two replicas. */
export const twoStages: PerNetwork = {
  L: { atLeast: 0.93, limit: 0.97 },
  M: { atLeast: 0.87, limit: 0.94 },
  S: { atLeast: 0.87, limit: 0.94 },
}

/** The same against 1 / slowest stage timed alone. */
export const slowestStage: PerNetwork = {
  L: { atLeast: 0.95, limit: 1 },
  M: { atLeast: 0.92, limit: 1 },
  S: { atLeast: 0.9, limit: 1 },
}

/** Latency of one request through two stages against one process. */
export const latency: PerNetwork = {
  L: { atMost: 1.06, limit: 1.04 },
  M: { atMost: 1.2, limit: 1.08 },
  S: { atMost: 1.2, limit: 1.12 },
}

/** Eight stages against two replicas. */
export const eightStages: PerNetwork = { L: { atLeast: 0.72, limit: 0.83 }, M: { atLeast: 0.6, limit: 0.84 } }

/** Two stages against the naive build, four requests under way. */
export const naive: PerNetwork = { L: { atLeast: 1.05 }, M: { atLeast: 1.9 }, S: { atLeast: 6 } }

/** Sealed against unsealed: at most 3 % for the encryption. */
export const encryption: BarSpec = { atLeast: 0.97, limit: 1 }

/** Milliseconds that a saturated device's event loop may be later than an idle process's, p99. */
export const loopGap: BarSpec = { atMost: 20 }

/** Share of inputs whose result has the bits of the unsplit model. */
export const bitEqual: BarSpec = { atLeast: 1, limit: 1 }
