/**
 * `tessera-edge/device`: a device of a fleet, in a program of one's own; `tessera-device` is one.
 *
 *     const device = await joinFleet({ hub: 'mqtt://127.0.0.1:1883', fleet: 'f0123456789abcdef', state: './device-1' })
 */

import { join } from 'node:path'
import type { z } from 'zod'
import { checkSettings } from '#shared/config.js'
import { deviceConfig } from './config.js'
import { Device, type DeviceOptions } from './device.js'
import { membership } from './membership.js'
import { folderStore } from './vault/store.js'

export { Device, type DeviceOptions } from './device.js'
export { memoryStore, folderStore, type SegmentStore } from './vault/store.js'
export { Refusal, type RefusalCode } from '#shared/errors.js'

/** Where the fleet is and who this device is; only `fleet` must be given. */
export type DeviceSettings = z.input<typeof deviceConfig>

/**
 * Joins a fleet as a device, which serves until closed. `parts` replaces what a device is made of: clock, randomness,
 * ciphers, streams, store, log. Throws `Refusal`: `bad-config`, `folder-in-use`, `port-in-use`, `cancelled` by
 * `parts.signal`; where told not to `wait` for the hub also `hub-unreachable` and `not-allowed`.
 */
export async function joinFleet(settings: DeviceSettings, parts: Partial<DeviceOptions> = {}): Promise<Device> {
  const { engine, memory, ...config } = checkSettings(settings, deviceConfig)
  const store = folderStore(join(config.state, 'segments'))
  const limits = memory === undefined ? {} : { memoryBytes: memory }
  return Device.start({ engine, store, ...limits, ...parts, ...(await membership(config, parts)) })
}
