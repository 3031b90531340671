/** Byte streams between devices as an argument: TCP here, in-memory pairs in a fleet within one process. */

import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Duplex } from 'node:stream'
import { Refusal } from '#shared/errors.js'

export interface Address {
  readonly host: string
  readonly port: number
}

export interface Listener {
  /** Where others can reach us. */
  readonly addresses: readonly Address[]
  close(): Promise<void>
}

export interface Transport {
  /** Takes streams from others; `origin` tells connections of one source apart, for limits. */
  listen(onStream: (stream: Duplex, origin: string) => void): Promise<Listener>
  /**
   * Opens a stream; emits `error` or `close` when it cannot. What comes is given to `take`, each chunk good until `take`
   * returns, and not emitted.
   */
  dial(address: Address, take: (chunk: Uint8Array) => void): Duplex
}

/** A connection that we opened is read into memory of its own, of so many bytes, again and again. */
const readBytes = 512 << 10

/** TCP without Nagle's delay. `host` is the address to listen on; the port is the system's choice unless given. */
export function tcpTransport(host = '127.0.0.1', port = 0): Transport {
  return {
    async listen(onStream) {
      const open = new Set<Socket>()
      const server = createServer({ noDelay: true }, (socket) => {
        open.add(socket)
        socket.on('close', () => open.delete(socket))
        onStream(socket, socket.remoteAddress ?? 'unknown')
      })
      await new Promise<void>((resolve, reject) => {
        // Stays: what goes wrong with one connection later (too many open files) ends no process.
        server.on('error', (error: NodeJS.ErrnoException) => reject(cannotListen(error, host, port)))
        server.listen({ host, port }, resolve)
      })
      const bound = (server.address() as AddressInfo).port
      return {
        addresses: reachable(host).map((address) => ({ host: address, port: bound })),
        close: () =>
          new Promise((resolve) => {
            server.close(() => resolve())
            for (const socket of open) socket.destroy()
          }),
      }
    },
    dial: ({ host: to, port: toPort }, take) =>
      connect({
        host: to,
        port: toPort,
        noDelay: true,
        // Otherwise Node takes fresh memory for every 64 KiB, which costs more than reading them. It offers this to the
        // side that connects alone: hence whoever takes the large frames should be the one to dial.
        onread: {
          buffer: Buffer.allocUnsafeSlow(readBytes),
          callback(bytes, buffer) {
            take(buffer.subarray(0, bytes))
            return true
          },
        },
      }),
  }
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number): Refusal {
  return error.code === 'EADDRINUSE'
    ? new Refusal(
        'port-in-use',
        `port ${port} on ${host} is taken: stop the program that holds it, or set another port`,
      )
    : new Refusal('link-failed', `cannot listen on ${host}:${port}: ${error.message}`)
}

/** The addresses that a listener on `host` can be reached at: itself, or every interface's when it is a wildcard. */
function reachable(host: string): string[] {
  if (host !== '0.0.0.0' && host !== '::') return [host]
  return Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .filter((entry) => !entry.internal && (host === '::' || entry.family === 'IPv4'))
    .map((entry) => entry.address)
}
