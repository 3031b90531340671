/** The settings of `tessera-hub`. */

import { z } from 'zod'
import { fleetIdPattern, type FleetId } from '#shared/ids.js'

const port = z.int().min(0).max(65535)

export const hubConfig = z.strictObject({
  /** Folder for the hub's identity. Made if missing; only the hub's user may read it. */
  state: z.string().default('tessera-hub'),
  /** The fleet's id; made of the hub's key when not given. */
  fleet: z
    .custom<FleetId>((value) => typeof value === 'string' && fleetIdPattern.test(value), 'must be f and 16 hex digits')
    .optional(),
  listen: z
    .strictObject({
      /** Loopback only, until devices enrol and the link is TLS. */
      host: z.enum(['127.0.0.1', '::1', 'localhost']).default('127.0.0.1'),
      /** Control broker. */
      port: port.default(1883),
      /** Relay broker, for frames of devices that cannot reach each other. */
      relayPort: port.default(1884),
    })
    .prefault({}),
  /** The model to run, deployed as soon as enough devices are online. */
  deploy: z
    .strictObject({
      name: z.string().min(1).max(48),
      /** Path of the ONNX file, relative to the configuration file. */
      model: z.string().min(1),
      /** Folder with `test_data_set_0`: gives the shapes of a model with dynamic ones. */
      data: z.string().min(1).optional(),
      stages: z.int().min(1).max(64),
      optimisation: z.enum(['disabled', 'basic', 'extended', 'all']).default('all'),
    })
    .optional(),
})
export type HubConfig = z.infer<typeof hubConfig>
