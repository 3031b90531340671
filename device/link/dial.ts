/** Opens connections to the hub. */

import { connect, Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** Dials TCP at each call. */
export function dialTcp(where: { readonly host: string; readonly port: number }): () => Duplex {
  return () => connect({ ...where, noDelay: true })
}

/** The stream, set to send small messages at once if it is a socket: with Nagle's algorithm QoS 1 stalls for 40 ms. */
export function sendAtOnce(stream: Duplex): Duplex {
  if (stream instanceof Socket) stream.setNoDelay(true)
  return stream
}
