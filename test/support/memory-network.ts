/** A network in memory: streams between named hosts, with no ports; every byte can be tapped, every link cut. */

import { duplexPair, type Duplex } from 'node:stream'
import { Refusal } from '#shared/errors.js'
import type { Address, Transport } from '#device/link/transport.js'

/** Sees a chunk on its way; may not keep it without a copy. */
export type Tap = (chunk: Uint8Array, from: string, to: string) => void

export class MemoryNetwork {
  readonly #hosts = new Map<string, (stream: Duplex, origin: string) => void>()
  readonly #links = new Map<Duplex, { from: string; to: string }>()
  readonly #cut = new Set<string>()
  readonly #taps = new Set<Tap>()

  /** Calls `tap` with every chunk from now on; returns how to stop. */
  tap(tap: Tap): () => void {
    this.#taps.add(tap)
    return () => this.#taps.delete(tap)
  }

  /** Takes streams for `host`. */
  listen(host: string, onStream: (stream: Duplex, origin: string) => void): () => void {
    this.#hosts.set(host, onStream)
    return () => this.#hosts.delete(host)
  }

  /** A stream from one host to another; it fails like TCP where nobody listens or the way is cut. */
  dial(from: string, to: string): Duplex {
    const [near, far] = duplexPair()
    const listener = this.#hosts.get(to)
    if (listener === undefined || this.#isCut(from, to)) {
      process.nextTick(() => near.destroy(new Refusal('link-failed', `nobody answers at ${to}`)))
      far.destroy()
      return near
    }
    this.#watch(near, far, from, to)
    this.#watch(far, near, to, from)
    process.nextTick(() => {
      if (near.destroyed) return
      near.emit('connect')
      listener(far, from)
    })
    return near
  }

  /** The transport of one host, as a device wants it. */
  transport(host: string): Transport {
    return {
      listen: (onStream) => {
        const unlisten = this.listen(host, onStream)
        return Promise.resolve({
          addresses: [{ host, port: 1 }],
          close: () => {
            unlisten()
            return Promise.resolve()
          },
        })
      },
      dial: ({ host: to }: Address) => this.dial(host, to),
    }
  }

  /** Ends every stream between the two and refuses new ones until `mend`. */
  cut(a: string, b: string): void {
    this.#cut.add(pair(a, b))
    for (const [stream, { from, to }] of this.#links) if (pair(from, to) === pair(a, b)) stream.destroy()
  }

  mend(a: string, b: string): void {
    this.#cut.delete(pair(a, b))
  }

  #isCut(a: string, b: string): boolean {
    return this.#cut.has(pair(a, b))
  }

  /** Taps what `stream` writes, and ends the other side when it ends. */
  #watch(stream: Duplex, other: Duplex, from: string, to: string): void {
    this.#links.set(stream, { from, to })
    const write = stream._write.bind(stream)
    stream._write = (chunk: Uint8Array, encoding, done) => {
      for (const tap of this.#taps) tap(chunk, from, to)
      write(chunk, encoding, done)
    }
    stream.once('close', () => {
      this.#links.delete(stream)
      other.destroy()
    })
  }
}

function pair(a: string, b: string): string {
  return a < b ? `${a}|${b}` : `${b}|${a}`
}
