import { toHex } from '#shared/bytes.js'
import { type Aeads, nodeAeads } from '#shared/crypto/aead.js'

/** The real ciphers, which throw at the second seal under one (key, nonce), whoever made it; and how many seals there were. */
export function recordingAeads(): { aeads: Aeads; seals: () => number } {
  const used = new Set<string>()
  return {
    aeads: (alg) => ({
      seal(key, nonce, ad, parts) {
        const pair = `${toHex(key)}/${toHex(nonce)}`
        if (used.has(pair)) throw new Error(`a nonce was used twice under one key, at frame ${toHex(ad)}`)
        used.add(pair)
        return nodeAeads(alg).seal(key, nonce, ad, parts)
      },
      open: (...sealed) => nodeAeads(alg).open(...sealed),
    }),
    seals: () => used.size,
  }
}
