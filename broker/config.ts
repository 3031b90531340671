/** The settings of `tessera-hub`; the sentences go into the JSON schema that editors show. */

import { z } from 'zod'
import { fleetIdPattern, type FleetId } from '#shared/ids.js'

const port = z.int().min(0).max(65535)

export const hubConfig = z.strictObject({
  state: z
    .string()
    .min(1)
    .default('tessera-hub')
    .describe(
      "Folder for the hub's identity, made if missing. Only the hub's user may read it. Paths are relative to this file.",
    ),
  fleet: z
    .string()
    .regex(fleetIdPattern, 'f and 16 hex digits')
    .transform((text) => text as FleetId)
    .optional()
    .describe("The fleet's id, f and 16 hex digits. Made of the hub's key when not given."),
  listen: z
    .strictObject({
      host: z
        .enum(['127.0.0.1', '::1', 'localhost'])
        .default('127.0.0.1')
        .describe('Address to listen on. Loopback only, until devices enrol and the link is TLS.'),
      port: port
        .default(1883)
        .describe('Port of the control broker, where devices and clients find the hub. 0 = any free one.'),
      relayPort: port
        .default(1884)
        .describe('Port of the relay broker, for frames of devices that cannot reach each other. 0 = any free one.'),
    })
    .prefault({})
    .describe('Where the hub listens.'),
  deploy: z
    .strictObject({
      name: z.string().min(1).max(48).describe("The model's name, for people."),
      model: z.string().min(1).describe('Path of the ONNX file.'),
      data: z
        .string()
        .min(1)
        .optional()
        .describe('Folder with test_data_set_0/input_0.pb and so on. Gives the shapes of a model with dynamic ones.'),
      stages: z.int().min(1).max(64).describe('Into how many segments the model is cut, one for each device.'),
      objective: z
        .enum(['throughput', 'latency', 'memory'])
        .optional()
        .describe(
          "What the plan is to be best at, by what was measured of the devices. 'stages' says then for how many to wait. Equal segments for 'stages' devices when not given.",
        ),
      optimisation: z
        .enum(['disabled', 'basic', 'extended', 'all'])
        .default('all')
        .describe(
          "How far ONNX Runtime optimises the model before it is cut. 'all' for devices of one CPU class, else 'extended'.",
        ),
    })
    .optional()
    .describe('The model to run, deployed as soon as enough devices are online. None when not given.'),
})
/** The same for a hub in a program of one's own: where it keeps its identity and what it runs is that program's matter. */
export const hubSettings = hubConfig.omit({ deploy: true }).extend({ state: z.string().min(1).optional() })
export type HubConfig = z.infer<typeof hubConfig>
