/** The settings of `tessera-device`. */

import { z } from 'zod'
import { fleetIdPattern, type FleetId } from '#shared/ids.js'

export const deviceConfig = z.strictObject({
  /** Folder for the device's identity and its sealed segment. Made if missing; only the device's user may read it. */
  state: z.string().default('tessera-device'),
  /** Shown to people; the host's name when not given. */
  name: z.string().min(1).max(64).optional(),
  /** The hub's control broker. */
  hub: z
    .string()
    .regex(/^mqtt:\/\/[^/]+$/, 'must be mqtt://HOST:PORT')
    .default('mqtt://127.0.0.1:1883'),
  /** The hub's Ed25519 key in hex, as the hub prints it; the first one heard is believed when not given. */
  hubKey: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'must be 64 hex digits')
    .optional(),
  fleet: z.custom<FleetId>(
    (value) => typeof value === 'string' && fleetIdPattern.test(value),
    'must be f and 16 hex digits',
  ),
  /** How frames travel: `direct` over TCP, `relay` through the hub, `auto` direct where it works. */
  link: z.enum(['auto', 'direct', 'relay']).default('auto'),
  listen: z
    .strictObject({
      /** Address to take frames at. */
      host: z.string().default('127.0.0.1'),
      /** 0 = any free port. */
      port: z.int().min(0).max(65535).default(0),
    })
    .prefault({}),
  /** Where inference runs: `worker` keeps the links responsive, `inline` is faster for very short stages. */
  engine: z.enum(['auto', 'worker', 'inline']).default('auto'),
})
export type DeviceConfig = z.infer<typeof deviceConfig>
