/**
 * No cipher: bytes go as they are, with a tag of zeros that nobody checks. What the same code costs without encryption;
 * exists for the benches alone and is given to the product as an argument.
 */

import { tagBytes, type Aeads } from '#shared/crypto/aead.js'

const noTag = new Uint8Array(tagBytes)

export const nullAeads: Aeads = () => ({
  seal: (_key, _nonce, _ad, parts) => [...parts, noTag],
  // Not in an own buffer as a cipher's plaintext is: a copy that only the null sealer made would flatter encryption.
  open: (_key, _nonce, _ad, sealed) => sealed.subarray(0, sealed.length - tagBytes) as Uint8Array<ArrayBuffer>,
})
