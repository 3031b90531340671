/** Names on the wire (WIRE, "Ids"): a device is 16 random bytes, a fleet 8; in text a letter and lower-case hex. */

import { createHash } from 'node:crypto'
import { fromHex, toHex } from './bytes.js'
import { Refusal } from './errors.js'
import type { Random } from './random.js'

/** `d` + 32 hex digits: MQTT client id and topic level. A client is a device with no stage, the hub one too. */
export type DeviceId = `d${string}`
/** `f` + 16 hex digits. FKE/1 calls its bytes `part`. Never a plan id. */
export type FleetId = `f${string}`

export const deviceIdPattern = /^d[0-9a-f]{32}$/
export const fleetIdPattern = /^f[0-9a-f]{16}$/

export function newDeviceId(random: Random): DeviceId {
  return `d${toHex(random(16))}`
}

export function newFleetId(random: Random): FleetId {
  return `f${toHex(random(8))}`
}

/** The fleet of a hub that was given none: the first 8 bytes of the SHA-256 of its key, so it needs no file. */
export function fleetOf(hubKey: Uint8Array): FleetId {
  return `f${createHash('sha256').update(hubKey).digest('hex').slice(0, 16)}`
}

export function isDeviceId(text: string): text is DeviceId {
  return deviceIdPattern.test(text)
}

/** The 16 bytes of a device id or the 8 of a fleet id; throws `Refusal('bad-message')` for any other text. */
export function idBytes(id: DeviceId | FleetId): Uint8Array<ArrayBuffer> {
  if (!deviceIdPattern.test(id) && !fleetIdPattern.test(id)) {
    throw new Refusal('bad-message', `'${id}' is neither a device id (d + 32 hex digits) nor a fleet id (f + 16)`)
  }
  return fromHex(id.slice(1))
}

export function deviceIdOf(bytes: Uint8Array): DeviceId {
  if (bytes.length !== 16) throw new Refusal('bad-message', `a device id has 16 bytes, not ${bytes.length}`)
  return `d${toHex(bytes)}`
}
