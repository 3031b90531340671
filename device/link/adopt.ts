/** Takes new pair secrets into use at once, as a key source that knows no overlap gives them. */

import type { Keyring } from '#shared/session/keyring.js'
import type { PairMaterial } from '#shared/session/pair.js'

/**
 * Opens and seals with `material` from now on; what was in use opens until the next but one epoch comes. Throws what
 * `Keyring.add` throws: an older secret is never taken into use again.
 */
export function adopt(keyring: Keyring, material: PairMaterial): void {
  keyring.add(material)
  const { previous, current } = keyring.epochs
  if (current === material.epoch) return
  if (previous !== undefined) keyring.drop(previous)
  keyring.use(material.epoch)
}
