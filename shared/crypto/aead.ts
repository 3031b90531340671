/**
 * Authenticated encryption with associated data (RFC 5116): AES-256-GCM (SP 800-38D) and ChaCha20-Poly1305 (RFC 8439),
 * both with 96-bit nonces and 128-bit tags. Keys and nonces are the caller's: the same pair must never seal twice.
 */

import { type CipherGCMTypes, createCipheriv, createDecipheriv } from 'node:crypto'
import { Refusal } from '../errors.js'

/** The algorithm's number on the wire (FKE 3.5): 1 AES-256-GCM, 2 ChaCha20-Poly1305. */
export type AlgId = 1 | 2

export const keyBytes = 32
export const nonceBytes = 12
export const tagBytes = 16

export interface Aead {
  /**
   * Ciphertext pieces, one per plaintext part in order (no joining copy of the plaintext), and the 16-byte tag last.
   * No argument is kept: `nonce` may be a buffer that the caller reuses.
   */
  seal(key: Uint8Array, nonce: Uint8Array, ad: Uint8Array, parts: readonly Uint8Array[]): Uint8Array[]
  /**
   * The plaintext of `sealed` = ciphertext || tag, in an own, transferable `ArrayBuffer` with `byteOffset` 0.
   * Throws `Refusal('forged')`, without hints, unless key, nonce, associated data and every byte are the sealer's.
   */
  open(key: Uint8Array, nonce: Uint8Array, ad: Uint8Array, sealed: Uint8Array): Uint8Array<ArrayBuffer>
}

export type Aeads = (alg: AlgId) => Aead

/** A refusal that says as little as it can: why an open failed is of use to nobody but a forger. */
export function forged(): Refusal {
  return new Refusal('forged', 'the bytes were not sealed by the holder of this key, or were changed on the way')
}

/** Throws `RangeError`, as only a bug can be the cause, for a key that is not 32 or a nonce that is not 12 bytes. */
export function checkLengths(key: Uint8Array, nonce: Uint8Array): void {
  if (key.length !== keyBytes) throw new RangeError(`a key has ${keyBytes} bytes, not ${key.length}`)
  if (nonce.length !== nonceBytes) throw new RangeError(`a nonce has ${nonceBytes} bytes, not ${nonce.length}`)
}

const options = { authTagLength: tagBytes }

function nodeAead(cipherName: string): Aead {
  // The typings tell the two ciphers apart; what is called on them is the same.
  const name = cipherName as CipherGCMTypes
  return {
    seal(key, nonce, ad, parts) {
      checkLengths(key, nonce)
      const cipher = createCipheriv(name, key, nonce, options)
      cipher.setAAD(ad)
      const pieces: Uint8Array[] = parts.map((part) => cipher.update(part))
      cipher.final()
      pieces.push(cipher.getAuthTag())
      return pieces
    },
    open(key, nonce, ad, sealed) {
      checkLengths(key, nonce)
      const length = sealed.length - tagBytes
      if (length < 0) throw forged()
      const decipher = createDecipheriv(name, key, nonce, options)
      decipher.setAAD(ad)
      decipher.setAuthTag(sealed.subarray(length))
      const plain = decipher.update(sealed.subarray(0, length))
      try {
        decipher.final()
      } catch {
        throw forged()
      }
      return owned(plain)
    },
  }
}

/** The same bytes alone in their buffer; Node gives them so, and this keeps the promise should it ever pool them. */
export function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes
  return buffer instanceof ArrayBuffer && buffer.byteLength === bytes.length
    ? new Uint8Array(buffer)
    : Uint8Array.from(bytes)
}

const byAlg = { 1: nodeAead('aes-256-gcm'), 2: nodeAead('chacha20-poly1305') }

/** Both ciphers by `node:crypto`: 20 to 80 times as fast as the portable ones (`portable.ts`), byte for byte the same. */
export const nodeAeads: Aeads = (alg) => byAlg[alg]
