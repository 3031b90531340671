/**
 * No cipher: bytes go as they are, with a tag of zeros that nobody checks. What the same code costs without encryption;
 * exists for the benches alone and is given to the product as an argument.
 */

import { tagBytes, type Aeads } from '#shared/crypto/aead.js'

const noTag = new Uint8Array(tagBytes)

export const nullAeads: Aeads = () => ({
  seal: (_key, _nonce, _ad, parts) => [...parts, noTag],
  open(_key, _nonce, ad, sealed) {
    const plain = sealed.subarray(0, sealed.length - tagBytes) as Uint8Array<ArrayBuffer>
    // A frame lies in memory of its own, and a copy that only the null sealer made would flatter encryption. A chunk of a
    // file, which has no associated data, is part of a whole that is still needed when the chunk is wiped.
    return ad.length > 0 ? plain : Uint8Array.from(plain)
  },
})
