/**
 * No cipher: bytes go as they are, with a tag of zeros that nobody checks. What the same code costs without encryption;
 * exists for the benches alone and is given to the product as an argument.
 */

import { tagBytes, type Aeads } from '#shared/crypto/aead.js'

const noTag = new Uint8Array(tagBytes)

export const nullAeads: Aeads = () => ({
  seal: (_key, _nonce, _ad, parts) => [...parts, noTag],
  // Whoever opens gets memory of its own, from any cipher.
  open: (_key, _nonce, _ad, sealed) => Uint8Array.from(sealed.subarray(0, sealed.length - tagBytes)),
})
