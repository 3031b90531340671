/** Every limit of a broker in one place, with its unit and what it protects. */

import { topics, type Topic } from '#shared/protocol/topics.js'

const kib = 1024
const mib = 1024 * kib

export interface Limits {
  /** Open connections, all together and from one address: descriptors and memory of the hub. */
  readonly connections: number
  readonly connectionsPerAddress: number
  /** Time from the first byte of TCP to a CONNECT. */
  readonly connectTimeoutMs: number
  /** Largest packet before the CONNECT was accepted: a stranger pins no more memory than this and one read. */
  readonly strangerPacketBytes: number
  /** Largest packet afterwards. */
  readonly packetBytes: number
  /** What one client may send on average and at once; above that the hub reads more slowly. */
  readonly bytesPerSecond: number
  readonly burstBytes: number
  readonly packetsPerSecond: number
  readonly burstPackets: number
  /** Bytes waiting for one reader above which QoS 0 is dropped for it. */
  readonly dropLagBytes: number
  /** Bytes waiting for one reader above which it is cut when QoS 1 comes for it: it could not be told the truth. */
  readonly closeLagBytes: number
  /** A reader that takes nothing off its socket for this long is cut. */
  readonly drainTimeoutMs: number
  readonly keepaliveSeconds: { readonly min: number; readonly max: number }
  /** Refused messages that a client may have at once, and how many it is forgiven a second, before it is banned. */
  readonly refusals: number
  readonly refusalsForgivenPerSecond: number
  readonly banMs: number
  /** Ids that are remembered: rights, passwords and bans. */
  readonly knownDevices: number
}

/** The largest message that the table allows on a plane, with room for the topic and MQTT's own header. */
function largestPacket(plane: Topic['plane']): number {
  const entries: readonly Topic[] = Object.values(topics)
  return Math.max(...entries.filter((entry) => entry.plane === plane).map((entry) => entry.maxBytes)) + kib
}

const common = {
  connections: 16_384,
  connectionsPerAddress: 1024,
  connectTimeoutMs: 10_000,
  strangerPacketBytes: 8 * kib,
  drainTimeoutMs: 5000,
  keepaliveSeconds: { min: 5, max: 120 },
  refusals: 64,
  refusalsForgivenPerSecond: 0.2,
  banMs: 60_000,
  knownDevices: 16_384,
}

export const defaultLimits: Readonly<Record<Topic['plane'], Limits>> = {
  control: {
    ...common,
    packetBytes: largestPacket('control'),
    bytesPerSecond: 4 * mib,
    burstBytes: 8 * mib,
    packetsPerSecond: 1000,
    burstPackets: 4000,
    // A block of a segment file is up to 1 MiB and QoS 0; an assignment up to 512 KiB and QoS 1.
    dropLagBytes: 2 * mib,
    closeLagBytes: 8 * mib,
  },
  relay: {
    ...common,
    packetBytes: largestPacket('relay'),
    bytesPerSecond: 512 * mib,
    burstBytes: 512 * mib,
    packetsPerSecond: 20_000,
    burstPackets: 40_000,
    dropLagBytes: 8 * mib,
    closeLagBytes: 8 * mib,
  },
}
