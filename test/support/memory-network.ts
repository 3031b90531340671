/** A network in memory: streams between named hosts, with no ports; every byte can be tapped, every way cut. */

import type { Duplex } from 'node:stream'
import type { Transport } from '#device/link/transport.js'
import { Refusal } from '#shared/errors.js'
import { memoryLink } from './memory-link.js'

/** Sees bytes on their way between two hosts; may not keep them without a copy. */
export type Tap = (bytes: Uint8Array, way: readonly [string, string]) => void

export class MemoryNetwork {
  readonly #hosts = new Map<string, (stream: Duplex, origin: string) => void>()
  readonly #open = new Set<{ readonly end: Duplex; readonly way: readonly [string, string] }>()
  readonly #cut = new Set<string>()
  readonly #taps = new Set<Tap>()

  /** Calls `tap` with all bytes from now on; returns how to stop. */
  tap(tap: Tap): () => void {
    this.#taps.add(tap)
    return () => this.#taps.delete(tap)
  }

  /** Takes streams for `host`; returns how to stop. */
  listen(host: string, onStream: (stream: Duplex, origin: string) => void): () => void {
    this.#hosts.set(host, onStream)
    return () => this.#hosts.delete(host)
  }

  /** A stream between two hosts; it fails as TCP does where nobody listens or the way is cut. */
  dial(from: string, to: string): Duplex {
    const way = [from, to] as const
    const [near, far] = memoryLink({
      onBytes: (bytes) => this.#taps.forEach((tap) => tap(bytes, way)),
      isDeferred: true,
    })
    const listener = this.#hosts.get(to)
    if (listener === undefined || this.#cut.has(nameOf(way))) {
      process.nextTick(() => near.destroy(new Refusal('link-failed', `nobody answers at ${to}`)))
      return near
    }
    const entry = { end: near, way }
    this.#open.add(entry)
    near.once('close', () => this.#open.delete(entry))
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
          close() {
            unlisten()
            return Promise.resolve()
          },
        })
      },
      dial: ({ host: to }) => this.dial(host, to),
    }
  }

  /** Ends every stream between the two and refuses new ones until `mend`. */
  cut(a: string, b: string): void {
    this.#cut.add(nameOf([a, b]))
    for (const { end, way } of this.#open) if (nameOf(way) === nameOf([a, b])) end.destroy()
  }

  mend(a: string, b: string): void {
    this.#cut.delete(nameOf([a, b]))
  }

  /** Ends every stream of a host, as when its process is killed. */
  drop(host: string): void {
    for (const { end, way } of this.#open) if (way.includes(host)) end.destroy()
  }
}

function nameOf(way: readonly [string, string]): string {
  return way.toSorted().join('|')
}
