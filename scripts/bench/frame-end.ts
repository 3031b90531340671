/**
 * One end of a hop between two processes over loopback TCP, with the parts that two devices have: channel, keyring,
 * sealed or null, and direct link. A third kind of hop is nothing but a socket.
 */

import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { DirectLinks } from '#device/link/direct.js'
import { tcpTransport } from '#device/link/transport.js'
import { systemClock } from '#shared/clock.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import { tuneV8 } from '#shared/v8.js'
import type { WireTensor } from '#shared/protocol/tensors.js'
import { Channel, defaultWindow } from '#shared/session/channel.js'
import { Keyring } from '#shared/session/keyring.js'
import { frameParts, type PartTimes } from './frame-parts.js'
import { nullAeads } from './null-sealer.js'
import { serve, type Handlers } from './processes.js'

/** `sealed` and `plain` are the product's path with a cipher and with the null sealer; `raw` is bare TCP. */
export type HopKind = 'sealed' | 'plain' | 'raw'

export interface OpenEnd {
  readonly kind: HopKind
  readonly fleet: FleetId
  readonly self: DeviceId
  readonly peer: DeviceId
  /** The pair's secret. */
  readonly prk: Uint8Array
  /** Where the other end listens; this one listens when absent. */
  readonly port?: number
}

/** How much to send. */
export interface Load {
  readonly kind: HopKind
  readonly bytes: number
  readonly count: number
}

/** The way to the other end. */
interface End {
  readonly port: number
  /** Sends `count` tensors of `bytes` bytes; resolves when all are settled. */
  send(bytes: number, count: number): Promise<void>
  /** Sends one after the other, each when the one before has come back; the times in milliseconds. */
  echo(bytes: number, count: number): Promise<number[]>
}

/** Frames that the receiver lets be under way, and tensors handed to the channel at once. */
const window = { ...defaultWindow, frames: 8 }
const ahead = 64
const run = new Uint8Array(8)
/** An activation of this stage is sent back, others are only settled. */
const echoStage = 1
/** Tensors are sent from so many different places of memory, as outputs of an engine would be. */
const places = 4

tuneV8()

const ends = new Map<HopKind, End>()
const tensors = new Map<number, WireTensor[]>()

const handlers = {
  async open(given: OpenEnd): Promise<number> {
    const end = given.kind === 'raw' ? await openRaw(given.port) : await openChannel(given)
    ends.set(given.kind, end)
    return end.port
  },
  async send({ kind, bytes, count }: Load): Promise<{ wallMs: number }> {
    const startMs = performance.now()
    await ends.get(kind)!.send(bytes, count)
    return { wallMs: performance.now() - startMs }
  },
  echo: ({ kind, bytes, count }: Load): Promise<number[]> => ends.get(kind)!.echo(bytes, count),
  parts: ({ bytes, count }: { bytes: number; count: number }): PartTimes => frameParts(tensorsOf(bytes)[0]!, count),
} satisfies Handlers
export type FrameEnd = typeof handlers

serve(handlers)

function tensorsOf(bytes: number): WireTensor[] {
  let made = tensors.get(bytes)
  if (made === undefined) {
    made = Array.from({ length: places }, (_, place) => ({
      name: 'activation',
      dtype: 'float32',
      shape: [1, bytes / 4],
      data: new Uint8Array(bytes).fill(place + 1),
    }))
    tensors.set(bytes, made)
  }
  return made
}

async function openChannel({ kind, fleet, self, peer, prk, port }: OpenEnd): Promise<End> {
  const aeads = kind === 'sealed' ? nodeAeads : nullAeads
  const clock = systemClock
  const keyring = new Keyring({ fleet, self, peer, aeads, clock })
  keyring.add({ peer, epoch: 1, ordinal: 0, alg: 1, prk })
  keyring.use(1)
  let settled: (count: number) => void = () => {}
  let returned: () => void = () => {}
  const channel = new Channel({
    peer,
    keyring,
    clock,
    window,
    events: {
      onActivation(arrival) {
        const { activation } = arrival
        arrival.took()
        channel.settle(activation)
        if (activation.stage === echoStage) channel.offer({ ...activation, stage: echoStage + 1 })
        else if (activation.stage > echoStage) returned()
      },
      onSettled: (requests) => settled(requests.length),
    },
  })
  channel.renewed({ epoch: 1, ordinal: 0 })
  const links = new DirectLinks({
    self,
    bootId: run,
    clock,
    transport: tcpTransport(),
    channelOf: (id) => (id === peer ? channel : undefined),
    onRefused: (reason) => {
      throw reason
    },
    onChange: () => up(),
    onFailure: () => {},
  })
  let up: () => void = () => {}
  const isUp = new Promise<void>((resolve) => {
    up = resolve
  })
  const [own] = await links.listen()
  if (port !== undefined) {
    links.dial(peer, [{ host: '127.0.0.1', port }])
    await isUp
  }
  let request = 0
  const offer = (bytes: number, stage: number): void => {
    const tensor = tensorsOf(bytes)[request % places]!
    channel.offer({ plan: 1, client: self, run, request, low: 0, stage, hops: [], tensors: [tensor] })
    request++
  }
  return {
    port: own!.port,
    send: (bytes, count) =>
      new Promise((resolve) => {
        let sent = 0
        let open = 0
        const fill = (): void => {
          for (; sent < count && open < ahead; sent++, open++) offer(bytes, 0)
          if (open === 0) resolve()
        }
        settled = (released) => {
          open -= released
          fill()
        }
        fill()
      }),
    async echo(bytes, count) {
      settled = () => {}
      const times: number[] = []
      for (let i = 0; i < count; i++) {
        const startMs = performance.now()
        await new Promise<void>((resolve) => {
          returned = resolve
          offer(bytes, echoStage)
        })
        times.push(performance.now() - startMs)
      }
      return times
    },
  }
}

/** First what is to come: bytes in all (0 = each chunk is sent back), as a double; then the bytes; at their end one byte back. */
const orderBytes = 8

async function openRaw(port: number | undefined): Promise<End> {
  if (port === undefined) {
    const server = createServer({ noDelay: true }, serveRaw)
    await new Promise<void>((resolve) => {
      server.listen({ host: '127.0.0.1', port: 0 }, resolve)
    })
    return { port: (server.address() as AddressInfo).port, send: neverSends, echo: neverSends }
  }
  const dial = async (): Promise<Socket> => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve).once('error', reject)
    })
    return socket
  }
  return {
    port,
    async send(bytes, count) {
      const socket = await dial()
      const done = new Promise((resolve) => socket.once('data', resolve))
      socket.write(order(bytes * count))
      for (let i = 0; i < count; i++) {
        const isFull = !socket.write(tensorsOf(bytes)[i % places]!.data as Uint8Array)
        if (isFull) await new Promise((resolve) => socket.once('drain', resolve))
      }
      await done
      socket.destroy()
    },
    async echo(bytes, count) {
      const socket = await dial()
      socket.write(order(0))
      const times: number[] = []
      let came = 0
      let returned: () => void = () => {}
      socket.on('data', (chunk: Buffer) => {
        came += chunk.length
        if (came === bytes) returned()
      })
      for (let i = 0; i < count; i++) {
        const startMs = performance.now()
        await new Promise<void>((resolve) => {
          returned = resolve
          came = 0
          socket.write(tensorsOf(bytes)[i % places]!.data as Uint8Array)
        })
        times.push(performance.now() - startMs)
      }
      socket.destroy()
      return times
    },
  }
}

function order(total: number): Buffer {
  const bytes = Buffer.alloc(orderBytes)
  bytes.writeDoubleBE(total)
  return bytes
}

function serveRaw(socket: Socket): void {
  let total: number | undefined
  let came = 0
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    let rest = chunk
    if (total === undefined) {
      total = chunk.readDoubleBE()
      rest = chunk.subarray(orderBytes)
    }
    came += rest.length
    if (total === 0) socket.write(rest)
    else if (came === total) socket.write('.')
  })
}

function neverSends(): Promise<never> {
  return Promise.reject(new Error('the listening end of a raw hop only answers'))
}
