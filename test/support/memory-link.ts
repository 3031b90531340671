/** Two ends of a connection in memory: like TCP, what closes one end closes the other. */

import { duplexPair, type Duplex } from 'node:stream'

export interface MemoryLinkOptions {
  /** Sees every byte that either end sends, before the other end does. */
  readonly onBytes?: (bytes: Uint8Array) => void
  /** Bytes come only after their sender has returned to the event loop, as over a socket. */
  readonly isDeferred?: boolean
}

/** A connected pair of streams. Destroying one end closes the other, as a reset does. */
export function memoryLink({ onBytes, isDeferred = false }: MemoryLinkOptions = {}): [Duplex, Duplex] {
  const [here, there] = duplexPair()
  const ends: [Duplex, Duplex] = [here, there]
  for (const [end, other] of [ends, [there, here] as const]) {
    end.once('close', () => other.destroy())
    if (onBytes === undefined && !isDeferred) continue
    const write = end._write.bind(end)
    end._write = (chunk: Uint8Array, encoding, done) => {
      const deliver = (): void => {
        onBytes?.(chunk)
        write(chunk, encoding, done)
      }
      if (isDeferred) process.nextTick(deliver)
      else deliver()
    }
  }
  return ends
}

/** What a device dials: gives one end and hands the other to `accept`. */
export function memoryDial(accept: (stream: Duplex) => void, options?: MemoryLinkOptions): () => Duplex {
  return () => {
    const [here, there] = memoryLink(options)
    accept(there)
    return here
  }
}
