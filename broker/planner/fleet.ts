/** A fleet to plan for, as values: every device by itself, and the link between any two, or none where policy forbids it. */

import { matches } from './node-pattern.js'
import type { Crossing, Link } from './problem.js'

/** More devices than this are no fleet of one hub. */
export const maxFleetDevices = 512

/** Where a device keeps its keys, from weak to strong: a file, a sealed file, a TPM or secure element, a TEE. */
export const hardwareLevels = ['plain', 'sealed', 'element', 'tee'] as const
export type Hardware = (typeof hardwareLevels)[number]

export const linkKinds = ['direct', 'relay', 'none'] as const
export type LinkKind = (typeof linkKinds)[number]

/** Proof of nearness, from weak to strong. */
export const proximityTiers = ['T0', 'T1', 'T2', 'T3'] as const
export type ProximityTier = (typeof proximityTiers)[number]

export interface FleetDevice {
  readonly name: string
  /** The name in the file, which several devices may share. */
  readonly group: string
  /** Against the machine that measures the model. */
  readonly speed: number
  /** Times that were measured on it, by pattern of node, in microseconds. */
  readonly times: readonly (readonly [pattern: string, us: number])[]
  readonly memoryBytes: number
  readonly zone: string
  readonly hardware: Hardware
  readonly tags: readonly string[]
}

export interface FleetLink {
  readonly kind: Exclude<LinkKind, 'none'>
  readonly bytesPerUs: number
  readonly rttUs: number
  readonly messageUs: number
}

/** Nodes that may only be where `allows` says so, and why. */
export interface Restriction {
  /** Pattern of nodes. */
  readonly nodes: string
  /** As in "conv1 must be …". */
  readonly says: string
  readonly allows: (device: FleetDevice) => boolean
}

export interface Overhead {
  readonly stageUs: number
  readonly open: Crossing
  readonly seal: Crossing
  readonly relay: Crossing
  readonly sessionBytes: number
}

export interface Fleet {
  readonly devices: readonly FleetDevice[]
  /** `links[from][to]`; `links[a][a]` is the one to another device that is like `a`. */
  readonly links: readonly (readonly (FleetLink | undefined)[])[]
  readonly fromClient: readonly (FleetLink | undefined)[]
  readonly toClient: readonly (FleetLink | undefined)[]
  readonly restrictions: readonly Restriction[]
  readonly overhead: Overhead
}

interface LinkWords {
  readonly rate: number
  readonly rtt: number
  readonly message: number
  readonly kind: LinkKind
  readonly tier: ProximityTier
}

/** A field that is not given is `undefined`. */
type SomeLinkWords = { readonly [K in keyof LinkWords]?: LinkWords[K] | undefined }

/** What a fleet file says, checked. */
export interface FleetWords {
  readonly client: { readonly zone: string }
  readonly devices: readonly {
    readonly name: string
    readonly count: number
    readonly speed: number
    readonly times?: Readonly<Record<string, number>> | undefined
    readonly memory: number
    readonly zone: string
    readonly hardware: Hardware
    readonly tags: readonly string[]
  }[]
  readonly linkDefaults: LinkWords
  readonly links: readonly (SomeLinkWords & { readonly between: readonly [string, string]; readonly oneWay: boolean })[]
  readonly policy: {
    readonly near: boolean
    readonly nearZones: readonly (readonly [string, string])[]
    readonly tier: ProximityTier
  }
  readonly demands: readonly {
    readonly nodes: string
    readonly hardware?: Hardware | undefined
    readonly zone?: string | undefined
    readonly tag?: string | undefined
  }[]
  readonly pins: readonly Pin[]
  readonly overhead: {
    readonly stage: number
    readonly open: CostWords
    readonly seal: CostWords
    readonly relay: CostWords
    readonly session: number
  }
}

interface CostWords {
  readonly message: number
  readonly byte: number
}

/** Nodes that must be on a device, or on one of the devices of a name. */
export interface Pin {
  readonly nodes: string
  readonly device: string
}

/** The fleet that a file describes. */
export function fleetOf(words: FleetWords): Fleet {
  const devices = words.devices.flatMap(expanded)
  const client: Place = { name: 'client', group: 'client', zone: words.client.zone }
  const linkBetween = linker(words)
  const { overhead } = words
  return {
    devices,
    links: devices.map((from) => devices.map((to) => linkBetween(from, to, true))),
    fromClient: devices.map((device) => linkBetween(client, device, false)),
    toClient: devices.map((device) => linkBetween(device, client, false)),
    restrictions: [...words.demands.map(demanded), ...words.pins.map(pinned)],
    overhead: {
      stageUs: overhead.stage,
      open: crossing(overhead.open),
      seal: crossing(overhead.seal),
      relay: crossing(overhead.relay),
      sessionBytes: overhead.session,
    },
  }
}

/** The restriction that a pin is. */
export function pinned({ nodes, device }: Pin): Restriction {
  return { nodes, says: `on ${device}`, allows: ({ name, group }) => name === device || group === device }
}

/** The time of a node on a device, given its time on the machine that measured it. */
export function nodeTimeUs({ times, speed }: FleetDevice, node: string, measuredUs: number): number {
  const own = times.findLast(([pattern]) => matches(pattern, node))
  return own === undefined ? measuredUs / speed : own[1]
}

/** A link as the planner counts it. */
export function plannedLink(link: FleetLink | undefined, relay: Crossing): Link | undefined {
  if (link === undefined) return undefined
  const more = link.kind === 'relay' ? relay : { messageUs: 0, byteUs: 0 }
  return {
    messageUs: link.messageUs + more.messageUs,
    byteUs: 1 / link.bytesPerUs + more.byteUs,
    latencyUs: link.rttUs / 2,
  }
}

type Place = Pick<FleetDevice, 'name' | 'group' | 'zone'>

function expanded(words: FleetWords['devices'][number]): FleetDevice[] {
  const { name, count, speed, memory, zone, hardware, tags } = words
  const times = Object.entries(words.times ?? {})
  return Array.from({ length: count }, (_, index) => ({
    name: count === 1 ? name : `${name}-${index + 1}`,
    group: name,
    speed,
    times,
    memoryBytes: memory,
    zone,
    hardware,
    tags,
  }))
}

function linker({ linkDefaults, links, policy }: FleetWords) {
  const nearPairs = new Set(policy.nearZones.flatMap(([a, b]) => [`${a} ${b}`, `${b} ${a}`]))
  // Devices of one kind in one place have the same links: most pairs are looked up, not worked out.
  const known = new Map<string, FleetLink | undefined>()
  return (from: Place, to: Place, isBetweenStages: boolean): FleetLink | undefined => {
    const key = [from.name, from.group, from.zone, to.name, to.group, to.zone].join(' ')
    if (!known.has(key)) known.set(key, made(from, to, isBetweenStages))
    return known.get(key)
  }

  function made(from: Place, to: Place, isBetweenStages: boolean): FleetLink | undefined {
    let words = linkDefaults
    for (const { between, oneWay, ...own } of links) {
      const [a, b] = between
      const fits = (isAt(from, a) && isAt(to, b)) || (!oneWay && isAt(from, b) && isAt(to, a))
      if (fits) words = { ...words, ...given(own) }
    }
    const { kind, rate, rtt, message, tier } = words
    if (kind === 'none') return undefined
    if (isBetweenStages) {
      if (proximityTiers.indexOf(tier) < proximityTiers.indexOf(policy.tier)) return undefined
      if (policy.near && from.zone !== to.zone && !nearPairs.has(`${from.zone} ${to.zone}`)) return undefined
    }
    return { kind, bytesPerUs: rate, rttUs: rtt, messageUs: message }
  }
}

/** Without the fields that are not given. */
function given(words: SomeLinkWords): Partial<LinkWords> {
  return Object.fromEntries(Object.entries(words).filter(([, value]) => value !== undefined))
}

function isAt(place: Place, end: string): boolean {
  // The client is named, and is not `any`: a rule for the devices should not change how results come home.
  if (place.name === 'client') return end === 'client' || end === place.zone
  return end === 'any' || end === place.name || end === place.group || end === place.zone
}

function demanded({ nodes, hardware, zone, tag }: FleetWords['demands'][number]): Restriction {
  const parts = [
    ...(hardware === undefined ? [] : [`on hardware '${hardware}' or better`]),
    ...(zone === undefined ? [] : [`in zone '${zone}'`]),
    ...(tag === undefined ? [] : [`on a device tagged '${tag}'`]),
  ]
  return {
    nodes,
    says: parts.join(' and '),
    allows: (device) =>
      (hardware === undefined || hardwareLevels.indexOf(device.hardware) >= hardwareLevels.indexOf(hardware)) &&
      (zone === undefined || device.zone === zone) &&
      (tag === undefined || device.tags.includes(tag)),
  }
}

function crossing({ message, byte }: CostWords): Crossing {
  return { messageUs: message, byteUs: byte }
}
