/** The two ciphers in plain JavaScript (`@noble/ciphers`): for platforms without them, and the oracle of the tests. */

import { gcm } from '@noble/ciphers/aes.js'
import { chacha20poly1305 } from '@noble/ciphers/chacha.js'
import { concat } from '../bytes.js'
import { type Aead, type Aeads, checkLengths, forged, owned, tagBytes } from './aead.js'

type Cipher = typeof gcm | typeof chacha20poly1305

function portableAead(cipher: Cipher): Aead {
  return {
    seal(key, nonce, ad, parts) {
      checkLengths(key, nonce)
      const sealed = cipher(key, nonce, ad).encrypt(concat(parts))
      let at = 0
      const pieces: Uint8Array[] = parts.map((part) => sealed.subarray(at, (at += part.length)))
      pieces.push(sealed.subarray(at))
      return pieces
    },
    open(key, nonce, ad, sealed) {
      checkLengths(key, nonce)
      if (sealed.length < tagBytes) throw forged()
      const opener = cipher(key, nonce, ad)
      let plain: Uint8Array
      try {
        plain = opener.decrypt(sealed)
      } catch {
        throw forged()
      }
      return owned(plain)
    },
  }
}

const byAlg = { 1: portableAead(gcm), 2: portableAead(chacha20poly1305) }

export const portableAeads: Aeads = (alg) => byAlg[alg]
