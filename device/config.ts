/** The settings of `tessera-device`; the sentences go into the JSON schema that editors show. */

import { z } from 'zod'
import { fleetIdPattern, type FleetId } from '#shared/ids.js'

/** How a member finds its hub. */
export const hubUri = z
  .string('mqtt://HOST:PORT')
  .regex(/^mqtt:\/\/([^/:[\]\s]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?$/, 'mqtt://HOST:PORT')

const fleetWords = 'f and 16 hex digits, as the hub prints it'
export const fleetId = z
  .string(fleetWords)
  .regex(fleetIdPattern, fleetWords)
  .transform((text) => text as FleetId)

export const hubKey = z.string().regex(/^[0-9a-f]{64}$/, '64 hex digits, as the hub prints them')

export const linkMode = z.enum(['auto', 'direct', 'relay'])

export const deviceConfig = z.strictObject({
  state: z
    .string()
    .min(1)
    .default('tessera-device')
    .describe("Folder for the device's identity and its sealed segment, made if missing. Each device has its own."),
  name: z.string().min(1).max(64).optional().describe("The device's name, shown to people. The host's when not given."),
  hub: hubUri.default('mqtt://127.0.0.1:1883').describe('Where the hub is.'),
  hubKey: hubKey
    .optional()
    .describe(
      "The hub's key, 64 hex digits, as the hub prints it at its start. When not given, the first hub heard is believed.",
    ),
  fleet: fleetId.describe('The fleet to join, f and 16 hex digits, as the hub prints it at its start.'),
  link: linkMode
    .default('auto')
    .describe("How frames travel: 'direct' over TCP, 'relay' through the hub, 'auto' direct where that works."),
  listen: z
    .strictObject({
      host: z.string().min(1).default('127.0.0.1').describe('Address to take frames at. 0.0.0.0 = every interface.'),
      port: z.int().min(0).max(65535).default(0).describe('Port to take frames at. 0 = any free one.'),
    })
    .prefault({})
    .describe('Where other devices and clients reach this one with frames.'),
  engine: z
    .enum(['auto', 'worker', 'inline'])
    .default('auto')
    .describe(
      "Where inference runs: 'worker' keeps the links responsive, 'inline' is faster for stages of a few ms, 'auto' measures.",
    ),
})
export type DeviceConfig = z.infer<typeof deviceConfig>
