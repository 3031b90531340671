/** Who somebody is: an Ed25519 key pair (RFC 8032). The hub and every device have one; it signs their messages. */

import {
  createPrivateKey,
  createPublicKey,
  sign as signWith,
  verify as verifySignature,
  type KeyObject,
} from 'node:crypto'
import { open, readFile, rm } from 'node:fs/promises'
import { asBuffer, concat, fromHex } from '../bytes.js'
import { Refusal, reasonOf } from '../errors.js'
import { systemRandom, type Random } from '../random.js'

export interface Identity {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** The 64-byte signature over `message`. */
  readonly sign: (message: Uint8Array) => Uint8Array
}

/** Private keys stay out of the object that is passed around, so that no log or message can contain one. */
const privateKeys = new WeakMap<Identity, KeyObject>()

/** DER in front of the 32 bytes of a private key (RFC 8410, PKCS #8) and of a public one (SPKI). */
const pkcs8Prefix = fromHex('302e020100300506032b657004220420')
const spkiPrefix = fromHex('302a300506032b6570032100')

/** A fresh identity. */
export function newIdentity(random: Random = systemRandom): Identity {
  return identityFrom(random(32))
}

/** The identity of a 32-byte seed; throws `RangeError` for any other length. */
export function identityFrom(seed: Uint8Array): Identity {
  if (seed.length !== 32) throw new RangeError(`a seed has 32 bytes, not ${seed.length}`)
  const der = asBuffer(concat([pkcs8Prefix, seed]))
  return identityOf(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }))
}

function identityOf(key: KeyObject): Identity {
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
  const identity: Identity = {
    publicKey: Uint8Array.from(spki.subarray(-32)),
    sign: (message) => Uint8Array.from(signWith(null, message, key)),
  }
  privateKeys.set(identity, key)
  return identity
}

/**
 * The check of signatures by `publicKey`. It never throws: whatever is no key or no signature is refused. Strict: a key
 * of small order, for which one signature would fit many messages, is refused like an encoding that is not canonical.
 */
export function verifyWith(publicKey: Uint8Array): (message: Uint8Array, signature: Uint8Array) => boolean {
  const key = publicKeyOf(publicKey)
  if (key === undefined) return () => false
  return (message, signature) => signature.length === 64 && verifySignature(null, message, key, signature)
}

function publicKeyOf(bytes: Uint8Array): KeyObject | undefined {
  if (bytes.length !== 32 || !isCanonical(bytes) || isOfSmallOrder(bytes)) return undefined
  try {
    const der = asBuffer(concat([spkiPrefix, bytes]))
    return createPublicKey({ key: der, format: 'der', type: 'spki' })
  } catch {
    return undefined
  }
}

/** RFC 8032 5.1.3: the y coordinate, without the sign bit, is below p = 2^255 - 19. */
function isCanonical(key: Uint8Array): boolean {
  return !(key[0]! >= 0xed && key.subarray(1, 31).every((byte) => byte === 0xff) && (key[31]! & 0x7f) === 0x7f)
}

/** The y coordinates of the eight points whose order divides 8. */
const smallOrder = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
].map(fromHex)

function isOfSmallOrder(key: Uint8Array): boolean {
  return smallOrder.some((y) => y.every((byte, i) => byte === (i === 31 ? key[i]! & 0x7f : key[i]!)))
}

/**
 * Writes the identity to a new file (PKCS #8 in PEM) that only its owner can read. Throws `Refusal('bad-config')` where
 * a file is already: an identity is never replaced by accident.
 */
export async function saveIdentity(path: string, identity: Identity): Promise<void> {
  const key = privateKeys.get(identity)
  if (key === undefined) throw new TypeError('this identity was not made here, its private key cannot be written')
  let file
  try {
    file = await open(path, 'wx', 0o600)
  } catch (error) {
    throw new Refusal('bad-config', `cannot write the identity to a new file ${path}: ${reasonOf(error)}`)
  }
  try {
    await file.writeFile(key.export({ format: 'pem', type: 'pkcs8' }))
    await file.sync()
  } catch (error) {
    await rm(path, { force: true }) // half an identity would bar the next start
    throw new Refusal('bad-config', `cannot write the identity to ${path}: ${reasonOf(error)}`, { cause: error })
  } finally {
    await file.close()
  }
}

/**
 * Reads an identity back. Throws `Refusal`: `missing-file`, or `bad-config` for a file that group or others may touch or
 * that holds no Ed25519 key.
 */
export async function loadIdentity(path: string): Promise<Identity> {
  let pem: string
  let file
  try {
    file = await open(path, 'r')
  } catch (error) {
    throw new Refusal('missing-file', `cannot read the identity file ${path}: ${reasonOf(error)}`)
  }
  try {
    const mode = (await file.stat()).mode & 0o777
    // Windows has no such bits.
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new Refusal(
        'bad-config',
        `identity file ${path} is open to others (mode ${mode.toString(8)}): run chmod 600 on it and consider the key known`,
      )
    }
    pem = await readFile(file, 'utf8')
  } finally {
    await file.close()
  }
  let key: KeyObject | undefined
  try {
    key = createPrivateKey(pem)
  } catch {
    key = undefined
  }
  if (key?.asymmetricKeyType !== 'ed25519') {
    throw new Refusal(
      'bad-config',
      `identity file ${path} holds no Ed25519 key in PKCS #8 PEM: restore it or enrol anew`,
    )
  }
  return identityOf(key)
}
