/** What Aedes does not do for a connection: limit the size of packets before they are buffered, and their rate. */

import type { Aedes, Client } from 'aedes'
import type { Clock } from '#shared/clock.js'
import { TokenBucket } from './bucket.js'
import type { Limits } from './limits.js'

/** The parts of an Aedes 1.2 client that we reach into; `package.json` pins `~1.2.0` because of them. */
interface Inside {
  _parser: {
    parse(chunk: Buffer): number
    /** The packet being read; its length is known once its first bytes are. */
    packet: { length: number }
    prependListener(event: 'packet', listener: (packet: { subscriptions?: { qos: number }[] }) => void): void
  }
  duplicates: Record<string, number>
}

/**
 * Works around the silent loss of acknowledged messages (moscajs/aedes issues 484, 955, 994): Aedes drops what was
 * numbered before something that overtook it in the store, taking it for a duplicate. Here nothing is a duplicate: the
 * filters that a client may have never overlap (`access.ts`), so the broker has no reason to deliver twice.
 */
export function withoutDeduplication(aedes: Aedes): void {
  aedes.on('client', (client) => {
    const inside = client as unknown as Inside
    inside.duplicates = new Proxy<Record<string, number>>({}, { get: () => 0, set: () => true })
  })
}

/**
 * Watches what a client sends, from its first byte on. Must be called in the tick in which Aedes took the stream. A
 * packet that is announced longer than allowed ends the connection before it is buffered; a client that is faster than
 * allowed is read from more slowly, so that TCP tells it.
 */
export function guard(client: Client, limits: Limits, clock: Clock, onTooLong: () => void): void {
  const { _parser: parser } = client as unknown as Inside
  const nowMs = clock.monotonicMs()
  const bytes = new TokenBucket({ capacity: limits.burstBytes, perSecond: limits.bytesPerSecond, nowMs })
  const packets = new TokenBucket({ capacity: limits.burstPackets, perSecond: limits.packetsPerSecond, nowMs })

  const conn = client.conn
  const read = conn.read.bind(conn)
  let isPaused = false
  // Aedes takes all that there is with read(null) whenever the stream is readable; Node itself calls read(0).
  conn.read = (size?: number) => (isPaused && size !== 0 ? null : read(size))
  const pause = (forMs: number): void => {
    if (forMs === 0 || isPaused) return
    isPaused = true
    const cancel = clock.after(forMs, () => {
      isPaused = false
      conn.emit('readable')
    })
    conn.once('close', cancel)
  }

  const parse = parser.parse.bind(parser)
  let packetsNow = 0
  parser.prependListener('packet', ({ subscriptions = [] }) => {
    packetsNow++
    // QoS 2 is not granted. Later is too late: Aedes answers with what was asked for here.
    for (const subscription of subscriptions) subscription.qos = Math.min(subscription.qos, 1)
  })
  parser.parse = (chunk) => {
    let left = 0
    packetsNow = 0
    try {
      left = parse(chunk)
    } catch (error) {
      // Handlers of ours run later (`bus.ts`), so this is the parser, on bytes that are no MQTT.
      client.emit('error', error instanceof Error ? error : new Error(String(error)))
      return 0
    }
    const limit = client.connected ? limits.packetBytes : limits.strangerPacketBytes
    if (parser.packet.length > limit) {
      onTooLong()
      client.emit('error', new Error(`packet of ${parser.packet.length} bytes, at most ${limit} are taken`))
      return 0
    }
    const now = clock.monotonicMs()
    pause(Math.max(bytes.take(chunk.length, now), packets.take(packetsNow, now)))
    return left
  }
}
