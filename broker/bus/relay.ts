/**
 * The broker for relayed frames: the safe broker again, on the relay plane, in a thread of its own, so that megabytes of
 * frames never delay what the hub says. The hub tells it who may come, with which token, and to whom they may send.
 */

import type { Duplex } from 'node:stream'
import { Worker } from 'node:worker_threads'
import { reasonOf, Refusal, type RefusalCode } from '#shared/errors.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import { createBroker, type BrokerRefusal } from './broker.js'
import type { Limits } from './limits.js'

export interface RelayGrant {
  /** 32 random bytes that the hub gave to this device over a sealed channel: its password here. */
  readonly token?: Uint8Array
  /** To whom it may send and from whom it may receive. */
  readonly peers?: ReadonlySet<DeviceId>
}

export interface Relay {
  /** Where it listens; `undefined` in process without a port. */
  readonly address: { readonly host: string; readonly port: number } | undefined
  allow(device: DeviceId, grant: RelayGrant): void
  /** Takes all rights and cuts the connection. */
  forget(device: DeviceId): void
  /** What was refused, by reason. */
  readonly refused: ReadonlyMap<string, number>
  /** Serves a stream in memory; only in process. */
  handle(stream: Duplex): void
  close(): Promise<void>
}

export interface RelayOptions {
  readonly fleet: FleetId
  readonly hub: DeviceId
  readonly limits?: Partial<Limits>
  /** Runs in the caller's thread: for fleets in one process. */
  readonly inProcess?: boolean
  /** Where to listen; port 0 picks a free one. Needed unless in process. */
  readonly listen?: { readonly host: string; readonly port: number }
  readonly onRefused?: (refusal: BrokerRefusal) => void
  /** The thread ended by a fault: frames go by direct links only until the hub starts another relay. */
  readonly onStopped?: (reason: string) => void
}

/** What the hub's thread tells the relay's. */
export type RelayOrder =
  | { readonly do: 'allow'; readonly device: DeviceId; readonly grant: RelayGrant }
  | { readonly do: 'forget'; readonly device: DeviceId }
  | { readonly do: 'close' }

/** What the relay's thread tells the hub's. */
export type RelayReport =
  | { readonly is: 'listening'; readonly host: string; readonly port: number }
  | { readonly is: 'failed'; readonly code: RefusalCode; readonly message: string }
  | { readonly is: 'refused'; readonly refusal: BrokerRefusal }

/** What the thread is started with. */
export interface RelayStart {
  readonly fleet: FleetId
  readonly hub: DeviceId
  readonly limits: Partial<Limits>
  readonly listen: { readonly host: string; readonly port: number }
}

/** Starts the relay. Throws `Refusal('port-in-use' | 'bad-config')` where it cannot listen. */
export async function createRelay(options: RelayOptions): Promise<Relay> {
  if (options.inProcess === true) return relayHere(options)
  if (options.listen === undefined) throw new TypeError('a relay in a thread of its own needs a port to listen on')
  return relayInThread(options, options.listen)
}

async function relayHere({ fleet, hub, limits = {}, listen, onRefused }: RelayOptions): Promise<Relay> {
  const broker = await createBroker({ fleet, plane: 'relay', hub, limits })
  if (onRefused !== undefined) broker.onRefused(onRefused)
  let address
  try {
    address = listen === undefined ? undefined : await broker.listen(listen)
  } catch (error) {
    await broker.close()
    throw error
  }
  return {
    address,
    refused: broker.refused,
    allow: (device, grant) => broker.allow(device, grant),
    forget: (device) => broker.forget(device),
    handle: (stream) => broker.handle(stream, { mayIdle: true }),
    close: () => broker.close(),
  }
}

async function relayInThread(options: RelayOptions, listen: { host: string; port: number }): Promise<Relay> {
  const { fleet, hub, limits = {}, onRefused, onStopped } = options
  const start: RelayStart = { fleet, hub, limits, listen }
  const worker = new Worker(new URL('relay-worker.js', import.meta.url), { workerData: start, name: 'relay' })
  const refused = new Map<string, number>()
  let isClosed = false
  const stopped = new Promise<void>((resolve) => worker.once('exit', () => resolve()))

  const address = await new Promise<{ host: string; port: number }>((resolve, reject) => {
    worker.on('error', (error) => {
      reject(error)
      if (!isClosed) onStopped?.(reasonOf(error))
    })
    worker.on('message', (report: RelayReport) => {
      switch (report.is) {
        case 'listening':
          resolve({ host: report.host, port: report.port })
          break
        case 'failed':
          reject(new Refusal(report.code, report.message))
          break
        case 'refused': {
          const { reason } = report.refusal
          refused.set(reason, (refused.get(reason) ?? 0) + 1)
          onRefused?.(report.refusal)
        }
      }
    })
  })

  const tell = (order: RelayOrder): void => worker.postMessage(order, []) // nothing is transferred
  return {
    address,
    refused,
    allow: (device, grant) => tell({ do: 'allow', device, grant }),
    forget: (device) => tell({ do: 'forget', device }),
    handle() {
      throw new TypeError('a relay in a thread of its own takes TCP connections only')
    },
    async close() {
      if (isClosed) return
      isClosed = true
      tell({ do: 'close' })
      await stopped
    },
  }
}
