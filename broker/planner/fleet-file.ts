/**
 * The file that describes a fleet to plan for: devices, links, and what must hold. People write it, so everything that is
 * wrong is said with its place, all at once; what comes out is a `Fleet`.
 */

import { z } from 'zod'
import { loadConfig, parseConfig } from '#shared/config.js'
import { nearest } from '#shared/nearest.js'
import { fleetOf, hardwareLevels, linkKinds, maxFleetDevices, proximityTiers, type Fleet } from './fleet.js'
import { memoryBytes, rateBytesPerUs, someTimeUs, timeUs } from '#shared/quantity.js'
import { matches, nearestNode } from './node-pattern.js'

const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,47}$/, 'a name of at most 48 letters, digits, dots, dashes and underscores')
const nodePattern = z.string().min(1).max(256)
const hardware = z.enum(hardwareLevels)
const tier = z.enum(proximityTiers)

const device = z.strictObject({
  name: name.describe("The device's name. Of `count` devices it is followed by -1, -2 and so on."),
  count: z.int().min(1).max(maxFleetDevices).default(1).describe('How many such devices there are.'),
  speed: z
    .number()
    .min(1e-6, 'a number above 0, from 0.000001 to 1000000')
    .max(1e6)
    .default(1)
    .describe('How fast it is against the machine that measures the model: 0.5 takes twice the time.'),
  times: z
    .record(nodePattern, someTimeUs)
    .optional()
    .describe('Measured times of nodes on this device, by name or with *; they stand instead of `speed`.'),
  memory: memoryBytes.describe('Memory for a segment: its weights, its activations and the session of the engine.'),
  zone: name.default('here').describe('Where it stands.'),
  hardware: hardware
    .default('plain')
    .describe('Where its keys are: plain file, sealed file, secure element (or TPM), trusted execution environment.'),
  tags: z.array(name).max(16).default([]).describe('Words of your own that demands can ask for.'),
})

const link = {
  rate: rateBytesPerUs.describe('What it carries in each direction.'),
  rtt: timeUs.describe('There and back, of a small message.'),
  message: timeUs.describe('Time that the link is busy with a message, however small.'),
  kind: z.enum(linkKinds).describe('How frames travel: direct over TCP, relay through the hub, none not at all.'),
  tier: tier.describe('How well two such devices can prove that they are near: T0 surveyed, T1 RSSI, T3 ranging.'),
}

const end = z.string().min(1).max(64)
const pair = z.tuple([end, end])

const cost = z.strictObject({
  message: timeUs.describe('For a message, however small.'),
  byte: timeUs.describe('For each byte.'),
})

export const fleetFile = z
  .strictObject({
    client: z
      .strictObject({ zone: name.default('here').describe('Where it stands.') })
      .prefault({})
      .describe('Who sends the requests and gets the results.'),
    devices: z
      .array(device, { error: 'a list of devices' })
      .min(1, 'a list of at least one device')
      .max(maxFleetDevices)
      .describe('The devices that may get a segment.'),
    linkDefaults: z
      .strictObject({
        rate: link.rate.prefault('100 Mbit/s'),
        rtt: link.rtt.prefault('2 ms'),
        message: link.message.prefault('20 us'),
        kind: link.kind.default('direct'),
        tier: link.tier.default('T1'),
      })
      .prefault({})
      .describe('What every link is like where `links` says nothing else.'),
    links: z
      .array(
        z.strictObject({
          between: pair.describe(
            'Two devices or zones, `any` for any device, or `client`. Of several entries that fit, the last one wins.',
          ),
          oneWay: z.boolean().default(false).describe('Only from the first to the second.'),
          rate: link.rate.optional(),
          rtt: link.rtt.optional(),
          message: link.message.optional(),
          kind: link.kind.optional(),
          tier: link.tier.optional(),
        }),
      )
      .max(4096)
      .default([])
      .describe('Links that differ.'),
    policy: z
      .strictObject({
        near: z
          .boolean()
          .default(true)
          .describe(
            'Whether two stages that exchange frames must be near each other: in one zone, or in two of `nearZones`.',
          ),
        nearZones: z.array(pair).max(1024).default([]).describe('Pairs of zones that are near each other.'),
        tier: tier.default('T1').describe('The proof of nearness that a link between two stages must be able to give.'),
      })
      .prefault({})
      .describe('Which edges a plan may have. The client may be far.'),
    demands: z
      .array(
        z.strictObject({
          nodes: nodePattern.describe('Nodes of the model, by name or with *.'),
          hardware: hardware.optional().describe('At least this hardware.'),
          zone: name.optional().describe('Only in this zone.'),
          tag: name.optional().describe('Only on devices with this tag.'),
        }),
      )
      .max(256)
      .default([])
      .describe('What nodes ask of the device that gets them.'),
    pins: z
      .array(
        z.strictObject({
          nodes: nodePattern.describe('Nodes of the model, by name or with *.'),
          device: name.describe('The device, or the devices of this name, that must get them.'),
        }),
      )
      .max(1024)
      .default([])
      .describe('Nodes that must be on a certain device.'),
    overhead: z
      .strictObject({
        stage: timeUs.prefault('50 us').describe('Time of a stage for each request besides its nodes.'),
        open: cost.prefault({ message: '60 us', byte: '0.9 ns' }).describe('To take a message and open it.'),
        seal: cost.prefault({ message: '60 us', byte: '0.9 ns' }).describe('To seal a message and send it.'),
        relay: cost
          .prefault({ message: '100 us', byte: '1.5 ns' })
          .describe('What a link of kind relay costs more: the broker in the hub.'),
        session: memoryBytes
          .prefault('16 MiB')
          .describe('Memory of a session of the engine besides weights and activations.'),
      })
      .prefault({})
      .describe('What is not the model. CPU times are those of a device of speed 1.'),
  })
  .superRefine((file, context) => {
    for (const { path, wanted } of mistakesIn(file))
      context.addIssue({ code: 'custom', path: [...path], message: wanted })
  })

export type FleetFile = z.output<typeof fleetFile>

/** Names in the file that mean no device. */
const reserved = ['client', 'any']

interface Mistake {
  readonly path: readonly (string | number)[]
  /** As in "must be …". */
  readonly wanted: string
}

/** Reads a fleet file. `nodes`: the model's, where they are known, so that names of nodes are checked as well. */
export async function loadFleet(path: string, nodes?: readonly string[]): Promise<Fleet> {
  return fleetOf(await loadConfig(path, shapeFor(nodes)))
}

/** The same from a text. Both throw `Refusal('bad-config')` with file, line and column of every mistake. */
export function parseFleet(text: string, fileName: string, nodes?: readonly string[]): Fleet {
  return fleetOf(parseConfig(text, fileName, shapeFor(nodes)))
}

function shapeFor(nodes: readonly string[] | undefined): typeof fleetFile {
  if (nodes === undefined) return fleetFile
  return fleetFile.superRefine((file, context) => {
    const patterns = [
      ...file.devices.flatMap(({ times }, index) =>
        Object.keys(times ?? {}).map((pattern) => ({ path: ['devices', index, 'times', pattern], pattern })),
      ),
      ...file.demands.map(({ nodes: pattern }, index) => ({ path: ['demands', index, 'nodes'], pattern })),
      ...file.pins.map(({ nodes: pattern }, index) => ({ path: ['pins', index, 'nodes'], pattern })),
    ]
    for (const { path, pattern } of patterns) {
      if (nodes.some((node) => matches(pattern, node))) continue
      context.addIssue({ code: 'custom', path, message: `the name of a node of the model${nodeMeant(pattern, nodes)}` })
    }
  })
}

/** What no single field shows: names that are there twice, and names of nothing. */
function mistakesIn({ client, devices, links, policy, demands, pins }: FleetFile): Mistake[] {
  const found: Mistake[] = []
  const say = (wanted: string, ...path: (string | number)[]): void => void found.push({ path, wanted })
  const zones = new Set([client.zone, ...devices.map(({ zone }) => zone)])
  const groups = devices.map((given) => given.name)
  const owners = new Map<string, number>()
  let total = 0
  for (const [index, { name: given, count }] of devices.entries()) {
    total += count
    if (reserved.includes(given)) say(`another name: '${given}' has a meaning of its own`, 'devices', index, 'name')
    else if (zones.has(given)) say('another name: it is that of a zone as well', 'devices', index, 'name')
    for (const one of new Set([given, ...namesOf(given, count)])) {
      const owner = owners.get(one)
      if (owner === undefined) owners.set(one, index)
      else
        say(`a name of its own: device ${owner + 1} of the list is called '${one}' as well`, 'devices', index, 'name')
    }
  }
  if (total > maxFleetDevices) say(`at most ${maxFleetDevices} devices in all, they are ${total}`, 'devices')
  for (const zone of zones) {
    const index = devices.findIndex((given) => given.zone === zone)
    if (reserved.includes(zone)) {
      const path = index === -1 ? ['client', 'zone'] : ['devices', index, 'zone']
      say(`another name: '${zone}' has a meaning of its own`, ...path)
    }
  }
  const known = [...owners.keys(), ...zones, ...reserved]
  for (const [index, { between }] of links.entries()) {
    for (const [side, given] of between.entries()) {
      if (known.includes(given)) continue
      say(`a device, a zone, client or any${meaning(given, known)}`, 'links', index, 'between', side)
    }
    if (between[0] === 'client' && between[1] === 'client')
      say('two ends, of which one is a device', 'links', index, 'between')
  }
  for (const [index, given] of policy.nearZones.entries()) {
    for (const [side, zone] of given.entries()) {
      if (!zones.has(zone)) say(`a zone of a device${meaning(zone, [...zones])}`, 'policy', 'nearZones', index, side)
    }
  }
  const tags = [...new Set(devices.flatMap((given) => given.tags))]
  for (const [index, { zone, tag, hardware: level }] of demands.entries()) {
    if (zone === undefined && tag === undefined && level === undefined)
      say('a demand with hardware, zone or tag', 'demands', index)
    if (zone !== undefined && !devices.some((given) => given.zone === zone))
      say(`a zone of a device${meaning(zone, [...zones])}`, 'demands', index, 'zone')
    if (tag !== undefined && !tags.includes(tag)) say(`a tag of a device${meaning(tag, tags)}`, 'demands', index, 'tag')
    if (level !== undefined && !devices.some((given) => isAtLeast(given.hardware, level)))
      say('a level that a device of the fleet has', 'demands', index, 'hardware')
  }
  for (const [index, { device: given }] of pins.entries()) {
    const names = [...new Set([...groups, ...owners.keys()])]
    if (!names.includes(given)) say(`a device of the list${meaning(given, names)}`, 'pins', index, 'device')
  }
  return found
}

function isAtLeast(level: (typeof hardwareLevels)[number], wanted: (typeof hardwareLevels)[number]): boolean {
  return hardwareLevels.indexOf(level) >= hardwareLevels.indexOf(wanted)
}

function namesOf(given: string, count: number): string[] {
  return count === 1 ? [given] : Array.from({ length: count }, (_, index) => `${given}-${index + 1}`)
}

function nodeMeant(pattern: string, nodes: readonly string[]): string {
  const meant = nearestNode(pattern, nodes)
  return meant === undefined ? meaning('', nodes) : ` (did you mean '${meant}'?)`
}

function meaning(given: string, known: readonly string[]): string {
  const meant = nearest(given, known)
  if (meant !== undefined) return ` (did you mean '${meant}'?)`
  const shown = known.slice(0, 8).join(', ')
  return known.length === 0 ? '' : ` (there are ${shown}${known.length > 8 ? ' …' : ''})`
}
