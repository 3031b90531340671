/**
 * Where pair secrets come from. The first source is the hub, which draws 32 random bytes per pair and pair of bootIds
 * (WIRE, "Frames"); a handshake between the two can take its place without a change on this side.
 */

import type { DeviceId } from '../ids.js'
import type { PairMaterial } from './pair.js'

/**
 * What every source promises: a secret is given to one life of this process only, never again after a restart, so that
 * counters which begin at 0 never meet a key they were under before; and the ordinals of a pair only rise within an epoch.
 */
export interface KeySource {
  /**
   * Calls `take` with each material for the pair with `peer`, first with what is there already, oldest first; may repeat
   * itself. `take` keeps a copy of what it needs. Returns the way to stop.
   */
  subscribe(peer: DeviceId, take: (material: PairMaterial) => void): () => void
}
