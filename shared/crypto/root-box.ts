/**
 * Carries the pair root of the device-hub session to one boot of one device, until EDHOC makes that root: an ephemeral
 * X25519 key of the hub against the device's key of this boot (ECIES; the message around it is signed by the hub).
 * Forward secret once both processes have ended.
 */

import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import { asBuffer, concat, equal, utf8, wipe } from '../bytes.js'
import { encodeCanonical } from '../cbor.js'
import { Refusal } from '../errors.js'

/** An X25519 key pair of one process; the private half never leaves it. */
export interface BoxKey {
  /** 32 raw bytes. */
  readonly publicKey: Uint8Array
  readonly privateKey: KeyObject
}

/** Who and what a box is for; it opens for nothing else. */
export interface BoxContext {
  readonly fleet: Uint8Array
  readonly device: Uint8Array
  readonly bootId: Uint8Array
  readonly epoch: number
  readonly ordinal: number
}

const spkiPrefix = Buffer.from('302a300506032b656e032100', 'hex') // RFC 8410: SubjectPublicKeyInfo of X25519
const tagBytes = 16
const rootBytes = 32

export function newBoxKey(): BoxKey {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  const der = publicKey.export({ type: 'spki', format: 'der' })
  return { publicKey: Uint8Array.from(der.subarray(spkiPrefix.length)), privateKey }
}

/** Seals 32 bytes to `boxKey`. Throws `Refusal('forged')` for what is no X25519 key, or one of low order. */
export function sealRoot(
  root: Uint8Array,
  boxKey: Uint8Array,
  context: BoxContext,
): { ephemeral: Uint8Array; box: Uint8Array } {
  if (root.length !== rootBytes) throw new RangeError(`a root has ${rootBytes} bytes, not ${root.length}`)
  const own = newBoxKey()
  const key = boxSecret(own.privateKey, boxKey, own.publicKey, boxKey, context)
  // Zero nonce: the key is of this one box, because the ephemeral key is.
  const cipher = createCipheriv('chacha20-poly1305', key, Buffer.alloc(12), { authTagLength: tagBytes })
  const box = concat([cipher.update(root), cipher.final(), cipher.getAuthTag()])
  wipe(key)
  return { ephemeral: own.publicKey, box }
}

/** The root in a box that was sealed to us. Throws `Refusal('forged')` for any other box. */
export function openRoot(box: Uint8Array, ephemeral: Uint8Array, own: BoxKey, context: BoxContext): Uint8Array {
  if (box.length !== rootBytes + tagBytes) throw new Refusal('forged', 'the box of the hub session does not open')
  const key = boxSecret(own.privateKey, ephemeral, ephemeral, own.publicKey, context)
  const decipher = createDecipheriv('chacha20-poly1305', key, Buffer.alloc(12), { authTagLength: tagBytes })
  wipe(key)
  decipher.setAuthTag(asBuffer(box).subarray(rootBytes))
  try {
    return Uint8Array.from(concat([decipher.update(asBuffer(box).subarray(0, rootBytes)), decipher.final()]))
  } catch {
    throw new Refusal('forged', 'the box of the hub session does not open')
  }
}

function boxSecret(
  privateKey: KeyObject,
  theirs: Uint8Array,
  ephemeral: Uint8Array,
  boxKey: Uint8Array,
  { fleet, device, bootId, epoch, ordinal }: BoxContext,
): Buffer {
  let shared: Buffer
  try {
    if (theirs.length !== 32) throw new RangeError('a key has 32 bytes')
    const publicKey = createPublicKey({ key: Buffer.concat([spkiPrefix, theirs]), format: 'der', type: 'spki' })
    shared = diffieHellman({ privateKey, publicKey })
  } catch {
    throw new Refusal('forged', 'a box key that is no X25519 key')
  }
  if (equal(shared, new Uint8Array(32))) throw new Refusal('forged', 'a box key of low order')
  const info = encodeCanonical(['ednn/1/root-box', fleet, device, bootId, epoch, ordinal, ephemeral, boxKey])
  const key = Buffer.from(hkdfSync('sha256', shared, utf8('ednn/1/root-box'), info, 32))
  wipe(shared)
  return key
}
