/**
 * Frames that go through the hub, where two devices cannot reach each other directly: in chunks, on a connection of their
 * own, because megabytes in front of a ping would look like a dead device. Frames are sealed; nothing here is signed.
 */

import type { Duplex } from 'node:stream'
import type { Clock } from '#shared/clock.js'
import { every } from '#shared/clock.js'
import { lengthOf } from '#shared/bytes.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import { Assembler, chunksOf } from '#shared/protocol/chunk.js'
import { Inbox } from '#shared/protocol/inbox.js'
import { Outbox } from '#shared/protocol/outbox.js'
import { filtersOf } from '#shared/protocol/topics.js'
import type { Random } from '#shared/random.js'
import { Connection } from './connection.js'

export interface RelayLink {
  /**
   * Sends one sealed frame, given in pieces that are not copied before they are sent: they must not change until the
   * promise settles. Resolves with whether all of it was handed to the socket; a frame that was not is lost, and sent
   * again by whoever waits for its acknowledgement. Frames go one after the other.
   */
  send(to: DeviceId, parts: readonly Uint8Array[]): Promise<boolean>
  /** Sends a sealed acknowledgement of at most 8 KiB. It does not wait for the frames. */
  sendOk(to: DeviceId, bytes: Uint8Array): Promise<boolean>
  /** Hears every whole frame. The bytes may be a view of a larger buffer, at any alignment. */
  onFrame(listener: (from: DeviceId, bytes: Uint8Array) => void): void
  onOk(listener: (from: DeviceId, bytes: Uint8Array) => void): void
  /** The hub gave another token, for a relay that it has started anew: used from the next connection on, tried at once. */
  renew(token: Uint8Array): void
  readonly online: boolean
  onOnline(listener: () => void): void
  onOffline(listener: (reason: string) => void): void
  /** Frames of which a part was lost on the way here. */
  readonly lostFrames: number
  close(): Promise<void>
}

export interface RelayLinkOptions {
  readonly fleet: FleetId
  readonly id: DeviceId
  /** 32 bytes, from the hub. */
  readonly token: Uint8Array
  /** 8 random bytes, fresh at every start of the process. */
  readonly bootId: Uint8Array
  readonly clock: Clock
  readonly random: Random
  readonly connect: () => Duplex
  /** 5 to 120, by default 60: a frame of any size must pass between two signs of life. 0 only over streams in memory. */
  readonly keepaliveSeconds?: number
  /** Largest frame that is put together here; by default 64 MiB. */
  readonly maxFrameBytes?: number
  readonly onRefused?: (refusal: { readonly reason: string; readonly topic: string; readonly message: string }) => void
}

/** Bytes of frames that may wait to be sent. */
const waitingLimitBytes = 128 * 1024 * 1024
/** A frame whose next part does not come for so long is given up. */
const staleMs = 10_000

/**
 * Opens the link; it connects in the background and comes back by itself. `setPeers` is not needed here: whom a device
 * hears is decided by the broker, which lets only its peers write to it.
 */
export function openRelayLink(options: RelayLinkOptions): RelayLink {
  const { fleet, id, bootId, clock, random, connect, keepaliveSeconds = 60, maxFrameBytes = 64 * 2 ** 20 } = options
  const nothingIsSigned = (): never => {
    throw new Error('no message of the relay is signed')
  }
  const outbox = new Outbox({ fleet, from: id, bootId, clock, sign: nothingIsSigned })
  const inbox = new Inbox({ fleet, clock, hub: () => undefined, verifierOf: () => undefined })
  const assembler = new Assembler({ maxFrameBytes, staleMs })
  const stopSweeping = every(clock, staleMs, () => assembler.sweep(clock.monotonicMs()))
  const frameListeners: ((from: DeviceId, bytes: Uint8Array) => void)[] = []
  const okListeners: ((from: DeviceId, bytes: Uint8Array) => void)[] = []
  const onlineListeners: (() => void)[] = []
  const offlineListeners: ((reason: string) => void)[] = []
  const flags = { qos: 0, retain: false } as const
  let { token } = options
  let isOnline = false
  let frameNumber = 0
  let waitingBytes = 0
  let last: Promise<unknown> = Promise.resolve()

  const connection = new Connection({
    id,
    password: () => token,
    connect,
    keepaliveSeconds,
    clock,
    random,
    onUp: () => void up(),
    onDown({ reason }) {
      const wasOnline = isOnline
      isOnline = false
      if (wasOnline) for (const listener of offlineListeners) listener(reason)
    },
    onMessage: take,
  })

  async function up(): Promise<void> {
    try {
      await connection.subscribe(filtersOf(fleet, 'relay', id, []))
    } catch {
      return // ended already; the next connection subscribes again
    }
    isOnline = true
    for (const listener of onlineListeners) listener()
  }

  function take(topic: string, payload: Uint8Array): void {
    try {
      const { message } = inbox.read(topic, payload)
      const { from, bootId: boot } = message.envelope
      if (message.name === 'ok') {
        for (const listener of okListeners) listener(from, message.body)
      } else if (message.name === 'in') {
        const frame = assembler.take(from, boot, message.body, clock.monotonicMs())
        if (frame !== undefined) for (const listener of frameListeners) listener(from, frame)
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      options.onRefused?.({ reason: error.code, topic, message: error.message })
    }
  }

  async function sendChunks(to: DeviceId, parts: readonly Uint8Array[]): Promise<boolean> {
    try {
      for (const chunk of chunksOf(frameNumber++, parts)) {
        if (!isOnline) return false
        await connection.publish(outbox.seal('in', [to, id], chunk), flags) // waits while the socket is full
      }
      return true
    } catch (error) {
      if (error instanceof Refusal) throw error
      return false
    }
  }

  return {
    async send(to, parts) {
      const bytes = lengthOf(parts)
      if (bytes > maxFrameBytes) {
        throw new Refusal(
          'over-limit',
          `a frame of ${bytes} bytes is above the relay's ${maxFrameBytes}: cut the model elsewhere`,
        )
      }
      if (!isOnline || waitingBytes + bytes > waitingLimitBytes) return false
      waitingBytes += bytes
      const sent = last.then(() => sendChunks(to, parts))
      last = sent.catch(() => {}) // its own caller hears of it
      return sent.finally(() => (waitingBytes -= bytes))
    },
    async sendOk(to, bytes) {
      if (!isOnline) return false
      const sealed = outbox.seal('ok', [to, id], bytes)
      return connection.publish(sealed, flags).then(
        () => true,
        () => false,
      )
    },
    onFrame: (listener) => void frameListeners.push(listener),
    onOk: (listener) => void okListeners.push(listener),
    renew(fresh) {
      token = fresh
      connection.tryNow()
    },
    get online() {
      return isOnline
    },
    onOnline: (listener) => void onlineListeners.push(listener),
    onOffline: (listener) => void offlineListeners.push(listener),
    get lostFrames() {
      return assembler.lost
    },
    async close() {
      stopSweeping()
      isOnline = false
      await connection.close()
    },
  }
}
