/** The settings of `tessera-device`; the sentences go into the JSON schema that editors show. */

import { z } from 'zod'
import { fleetIdPattern, type FleetId } from '#shared/ids.js'
import { memoryBytes } from '#shared/quantity.js'

const uriWords = 'mqtt://HOST:PORT'
const fleetWords = 'f and 16 hex digits, as the hub prints it'

/** What devices and clients have in common: which fleet, and how to reach it. */
const membership = {
  hub: z
    .string(uriWords)
    .regex(/^mqtt:\/\/([^/:[\]\s]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?$/, { error: uriWords, abort: true })
    .refine((text) => URL.canParse(text), uriWords)
    .default('mqtt://127.0.0.1:1883')
    .describe('Where the hub is.'),
  hubKey: z
    .string()
    .regex(/^[0-9a-f]{64}$/, '64 hex digits, as the hub prints them')
    .optional()
    .describe(
      "The hub's key, 64 hex digits, as the hub prints it at its start. When not given, the first hub heard is believed.",
    ),
  fleet: z
    .string(fleetWords)
    .regex(fleetIdPattern, fleetWords)
    .transform((text) => text as FleetId)
    .describe('The fleet to join, f and 16 hex digits, as the hub prints it at its start.'),
  name: z.string().min(1).max(64).optional().describe("The device's name, shown to people. The host's when not given."),
  link: z
    .enum(['auto', 'direct', 'relay'])
    .default('auto')
    .describe("How frames travel: 'direct' over TCP, 'relay' through the hub, 'auto' direct where that works."),
  listen: z
    .strictObject({
      host: z.string().min(1).default('127.0.0.1').describe('Address to take frames at. 0.0.0.0 = every interface.'),
      port: z.int().min(0).max(65535).default(0).describe('Port to take frames at. 0 = any free one.'),
    })
    .prefault({})
    .describe('Where other devices and clients reach this one with frames.'),
}

const wait = z.boolean().describe('Whether to go on trying when no hub answers, instead of giving up after 10 s.')

export const deviceConfig = z.strictObject({
  ...membership,
  state: z
    .string()
    .min(1)
    .default('tessera-device')
    .describe("Folder for the device's identity and its sealed segment, made if missing. Each device has its own."),
  wait: wait.default(true),
  engine: z
    .enum(['auto', 'worker', 'inline'])
    .default('auto')
    .describe(
      "Where inference runs: 'worker' keeps the links responsive, 'inline' is faster for stages of a few ms, 'auto' measures.",
    ),
  memory: memoryBytes
    .optional()
    .describe(
      'What a segment may take here: weights, activations, the session of the engine. All that is free when not given.',
    ),
})
export type DeviceConfig = z.infer<typeof deviceConfig>

export const clientConfig = z.strictObject({
  ...membership,
  state: z
    .string()
    .min(1)
    .optional()
    .describe("Folder for the client's identity, made if missing. When not given, each connection is a new client."),
  wait: wait.default(false),
})
export type ClientConfig = z.infer<typeof clientConfig>
