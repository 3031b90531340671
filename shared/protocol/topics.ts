/**
 * The wire, declared once: every topic with its direction, QoS, retain flag, size limit and shape (WIRE, "Topics").
 * Subscriptions, the hub's access rules and the reference page in `docs` are made from this table.
 */

import type { z } from 'zod'
import { isDeviceId, type DeviceId, type FleetId } from '../ids.js'
import { measure, measured } from './measuring.js'
import * as shape from './messages.js'

/** Who speaks: the hub, the device whose branch it is, or another device that is its peer in a live plan. */
export type Speaker = 'hub' | 'device' | 'peer'
/** Who reads: everybody, the hub, the device whose branch it is, or (presence, endpoints) the hub and its peers. */
export type Reader = 'all' | 'hub' | 'device' | 'hub and peers'

export interface Topic {
  /** Below `tessera/1/<fleet>/`; `<D>` the device whose branch it is, `<from>` a peer, other `<…>` one free level. */
  readonly path: string
  readonly from: Speaker
  readonly to: Reader
  readonly qos: 0 | 1
  readonly retain: boolean
  /** Largest MQTT payload accepted, in bytes. */
  readonly maxBytes: number
  /** Signed bodies are deterministic CBOR; the label of the signature is the topic's name. */
  readonly signed: boolean
  /** Shape of a CBOR body; `undefined` = the body is opaque bytes. */
  readonly body: z.ZodType | undefined
  /** Which broker carries it: control, or the relay for frames. */
  readonly plane: 'control' | 'relay'
  /** One sentence for the reference page. */
  readonly about: string
}

const kib = 1024

export const topics = {
  hub: {
    path: 'hub',
    from: 'hub',
    to: 'all',
    qos: 1,
    retain: true,
    maxBytes: 4 * kib,
    signed: true,
    body: shape.hub,
    plane: 'control',
    about: 'The hub is online, with its key and term.',
  },
  status: {
    path: 'd/<D>/status',
    from: 'device',
    to: 'hub and peers',
    qos: 1,
    retain: true,
    maxBytes: 4 * kib,
    signed: true,
    body: shape.status,
    plane: 'control',
    about: 'Presence of a device; its last will says offline.',
  },
  birth: {
    path: 'd/<D>/birth',
    from: 'device',
    to: 'hub',
    qos: 1,
    retain: false,
    maxBytes: 8 * kib,
    signed: true,
    body: shape.birth,
    plane: 'control',
    about:
      'Who the device is and what it can do; said again whenever it misses something. The hub answers with all it has for it.',
  },
  endpoint: {
    path: 'd/<D>/endpoint',
    from: 'device',
    to: 'hub and peers',
    qos: 1,
    retain: true,
    maxBytes: 4 * kib,
    signed: true,
    body: shape.endpoint,
    plane: 'control',
    about: 'Addresses at which the device takes frames directly.',
  },
  root: {
    path: 'd/<D>/root',
    from: 'hub',
    to: 'device',
    qos: 1,
    retain: false,
    maxBytes: 4 * kib,
    signed: true,
    body: shape.root,
    plane: 'control',
    about: 'Opens the device-hub session until EDHOC does: a pair root boxed to the key of this boot.',
  },
  assignment: {
    path: 'd/<D>/assignment',
    from: 'hub',
    to: 'device',
    qos: 1,
    retain: true,
    maxBytes: 512 * kib,
    signed: true,
    body: shape.assignment,
    plane: 'control',
    about: 'Desired state: which stage of which plan the device is, with the manifest of its segment file.',
  },
  assigned: {
    path: 'd/<D>/assigned',
    from: 'device',
    to: 'hub',
    qos: 1,
    retain: false,
    maxBytes: 8 * kib,
    signed: true,
    body: shape.assigned,
    plane: 'control',
    about:
      'Reported state: loading, ready or failed, and why. The hub publishes the assignment again while the two differ.',
  },
  blobGet: {
    path: 'd/<D>/blob/get',
    from: 'device',
    to: 'hub',
    qos: 1,
    retain: false,
    maxBytes: 8 * kib,
    signed: true,
    body: shape.blobGet,
    plane: 'control',
    about: 'Asks for the missing blocks of a sealed segment file.',
  },
  blob: {
    path: 'd/<D>/blob/<file>/<block>',
    from: 'hub',
    to: 'device',
    qos: 0,
    retain: false,
    maxBytes: 1025 * kib,
    signed: false,
    body: undefined,
    plane: 'control',
    about:
      'One block of a sealed segment file; checked against its hash in the assignment. Lost blocks are asked for again.',
  },
  telemetry: {
    path: 'd/<D>/telemetry/stage',
    from: 'device',
    to: 'hub',
    qos: 0,
    retain: false,
    maxBytes: 16 * kib,
    signed: true,
    body: shape.stageTelemetry,
    plane: 'control',
    about: 'Cumulative counters of a stage, every second or so.',
  },
  command: {
    path: 'd/<D>/command',
    from: 'hub',
    to: 'device',
    qos: 1,
    retain: false,
    maxBytes: 4 * kib,
    signed: true,
    body: shape.command,
    plane: 'control',
    about: 'An order: introduce yourself again, drain, exit.',
  },
  measure: {
    path: 'd/<D>/measure',
    from: 'hub',
    to: 'device',
    qos: 1,
    retain: false,
    maxBytes: 512 * kib,
    signed: true,
    body: measure,
    plane: 'control',
    about: 'An order to measure: the device, a segment on it, or its link to another device. One at a time.',
  },
  measured: {
    path: 'd/<D>/measured',
    from: 'device',
    to: 'hub',
    qos: 1,
    retain: false,
    maxBytes: 8 * kib,
    signed: true,
    body: measured,
    plane: 'control',
    about: 'What came of an order to measure.',
  },
  peer: {
    path: 'd/<D>/peer/<from>',
    from: 'peer',
    to: 'device',
    qos: 1,
    retain: false,
    maxBytes: 9 * kib,
    signed: false,
    body: undefined,
    plane: 'control',
    about: 'A sealed control frame (p = 2 or 3) of at most 8 KiB from a peer or the hub.',
  },
  in: {
    path: 'd/<D>/in/<from>',
    from: 'peer',
    to: 'device',
    qos: 0,
    retain: false,
    maxBytes: 257 * kib,
    signed: false,
    body: undefined,
    plane: 'relay',
    about: 'A relayed frame, in chunks of at most 256 KiB.',
  },
  ok: {
    path: 'd/<D>/ok/<from>',
    from: 'peer',
    to: 'device',
    qos: 0,
    retain: false,
    maxBytes: 9 * kib,
    signed: false,
    body: undefined,
    plane: 'relay',
    about: 'A sealed control frame that acknowledges relayed frames and grants credit.',
  },
} as const satisfies Record<string, Topic>

export type TopicName = keyof typeof topics

/** The decoded body of a topic: the type of its shape, or opaque bytes. */
export type BodyOf<N extends TopicName> = (typeof topics)[N]['body'] extends z.ZodType
  ? z.infer<(typeof topics)[N]['body']>
  : Uint8Array

/** What fills the `<…>` levels of a path, in order: `<D>` first. */
export type Levels = readonly (string | number)[]

/** `tessera/1/<fleet>` */
export function fleetRoot(fleet: FleetId): string {
  return `tessera/1/${fleet}`
}

/** The topic to publish on, e.g. `topicOf(fleet, 'peer', to, from)`. */
export function topicOf(fleet: FleetId, name: TopicName, ...levels: Levels): string {
  return `${fleetRoot(fleet)}/${fill(topics[name].path, levels)}`
}

/** The filter that subscribes to a topic; levels that are not given become `+`. */
export function filterOf(fleet: FleetId, name: TopicName, ...levels: Levels): string {
  return `${fleetRoot(fleet)}/${fill(topics[name].path, levels, '+')}`
}

function fill(path: string, levels: Levels, missing?: string): string {
  let next = 0
  return path.replace(/<[^>]+>/g, (place) => {
    const level = levels[next++] ?? missing
    if (level === undefined) throw new Error(`topic ${path} needs a value for ${place}`)
    return String(level)
  })
}

/** A topic of the table as read from the wire: its name and what stood in its free levels. */
export interface ReadTopic {
  readonly name: TopicName
  readonly levels: readonly string[]
}

const patterns = Object.entries(topics).map(([name, topic]) => ({
  name: name as TopicName,
  parts: topic.path.split('/'),
}))

/** What may stand in a free level that is no device id: short, and without wildcards or control characters. */
const freeLevel = /^[0-9a-z-]{1,64}$/

/**
 * Finds the entry of the table that `topic` is an instance of; `undefined` for any other topic or fleet, also where a
 * level that names a device (`<D>`, `<from>`) holds no device id.
 */
export function readTopic(fleet: FleetId, topic: string): ReadTopic | undefined {
  const root = `${fleetRoot(fleet)}/`
  if (!topic.startsWith(root)) return undefined
  const parts = topic.slice(root.length).split('/')
  for (const { name, parts: pattern } of patterns) {
    if (pattern.length !== parts.length) continue
    const levels: string[] = []
    const fits = pattern.every((place, i) => {
      const part = parts[i]!
      if (!place.startsWith('<')) return place === part
      levels.push(part)
      return place === '<D>' || place === '<from>' ? isDeviceId(part) : freeLevel.test(part)
    })
    if (fits) return { name, levels }
  }
  return undefined
}

/** One subscription of a device. */
export interface Filter {
  readonly name: TopicName
  readonly filter: string
  readonly qos: 0 | 1
}

/**
 * All that a device reads on a plane, in the order of the table: one filter for each purpose (for each peer where the
 * purpose is a peer's), none overlapping another, or the broker would deliver twice.
 */
export function filtersOf(
  fleet: FleetId,
  plane: Topic['plane'],
  device: DeviceId,
  peers: Iterable<DeviceId>,
): readonly Filter[] {
  const others = [...new Set(peers)].filter((peer) => peer !== device)
  return Object.entries(topics).flatMap(([key, entry]: [string, Topic]) => {
    if (entry.plane !== plane) return []
    const name = key as TopicName
    const filter = (...levels: Levels): Filter => ({ name, filter: filterOf(fleet, name, ...levels), qos: entry.qos })
    const byReader: Record<Reader, () => Filter[]> = {
      all: () => [filter()],
      device: () => [filter(device)],
      'hub and peers': () => others.map((peer) => filter(peer)),
      hub: () => [],
    }
    return byReader[entry.to]()
  })
}

/** The branch that a topic lies in, for the access rules. */
export function branchOf(read: ReadTopic): DeviceId | undefined {
  return topics[read.name].path.startsWith('d/<D>/') ? (read.levels[0] as DeviceId) : undefined
}
