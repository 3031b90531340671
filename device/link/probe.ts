/**
 * Measures the way to one peer with probes that travel as activations do: the time there and back, what each message costs,
 * and what each byte costs. Some dozens of messages and at most a few MiB; one probe is under way at a time but for one
 * short burst.
 */

import type { Clock } from '#shared/clock.js'
import { Refusal } from '#shared/errors.js'
import type { Channel, LinkKind } from '#shared/session/channel.js'

export interface LinkCost {
  readonly link: LinkKind
  /** Time that the way is busy for a message: fixed, and for each byte. Sealing and opening are not in it. */
  readonly messageNs: number
  readonly bytePs: number
  /** Of an empty message, both ends' work included. */
  readonly roundTripNs: number
}

/** Empty probes, one after the other; and how many of them must come back. */
const pings = 12
const fewestEchoes = 4
/** Probes in a burst. */
const burstProbes = 16
/** Fillings, so often each, until one takes longer than this: a slow link need not carry the large ones. */
const fillings = [16 << 10, 64 << 10, 256 << 10, 1 << 20] as const
const runsEach = 3
const slowMs = 50
/** A probe without an echo for so long is lost. */
const lostAfterMs = 1000

interface Echo {
  readonly elapsedNs: number
  readonly openNs: number
  readonly sealNs: number
}

/**
 * The cost of the way that `channel` uses now. Throws `Refusal`: `link-failed` where echoes do not come, `cancelled` where
 * `isWanted` says so meanwhile.
 */
export async function probeLink(channel: Channel, clock: Clock, isWanted: () => boolean): Promise<LinkCost> {
  const link = channel.link
  let next = 0
  const waiting = new Map<number, (openNs: number) => void>()
  channel.prober = {
    answers: channel.prober?.answers ?? false,
    onEcho: (probe, openNs) => waiting.get(probe)?.(openNs),
  }

  /** One probe; `undefined` when it is lost. */
  function probe(bytes: number): Promise<Echo | undefined> {
    const number = next++
    const startMs = clock.monotonicMs()
    const sealNs = channel.probe(number, new Uint8Array(bytes))
    if (sealNs === undefined || link === 'none') throw noWay(channel)
    return new Promise((resolve) => {
      const end = (echo?: Echo): void => {
        cancel()
        waiting.delete(number)
        resolve(echo)
      }
      const cancel = clock.after(lostAfterMs, () => end())
      waiting.set(number, (openNs) => end({ elapsedNs: (clock.monotonicMs() - startMs) * 1e6, openNs, sealNs }))
    })
  }

  /** So many one after the other, without those that are lost; sorted by what the way took: what else goes on only adds. */
  async function inTurn(count: number, bytes: number): Promise<Echo[]> {
    const echoes: Echo[] = []
    for (let run = 0; run < count; run++) {
      if (!isWanted()) throw new Refusal('cancelled', `measuring the link to ${channel.peer} was given up`)
      const echo = await probe(bytes)
      if (echo !== undefined) echoes.push(echo)
    }
    return echoes.sort((a, b) => onTheWay(a) - onTheWay(b))
  }

  try {
    const empty = await inTurn(pings, 0)
    if (empty.length < fewestEchoes) throw noWay(channel)
    const ping = empty[0]!
    const messageNs = await burst()
    let bytePs = 0
    for (const bytes of fillings) {
      const filled = await inTurn(runsEach, bytes)
      const [echo] = filled
      if (echo === undefined) break // lost, where smaller ones are not: what these said stands
      bytePs = (Math.max(0, onTheWay(echo) - onTheWay(ping)) * 1000) / bytes
      if (echo.elapsedNs > slowMs * 1e6) break
    }
    if (channel.link !== link || link === 'none') {
      throw new Refusal('cancelled', `the way to ${channel.peer} changed while it was measured`)
    }
    return {
      link,
      messageNs: Math.round(messageNs),
      bytePs: Math.round(bytePs),
      roundTripNs: Math.round(ping.elapsedNs),
    }
  } finally {
    if (channel.prober !== undefined) channel.prober = { ...channel.prober, onEcho: () => {} }
    for (const end of waiting.values()) end(0) // their timers with them
  }

  /** The pace of messages that go at once. */
  async function burst(): Promise<number> {
    const startMs = clock.monotonicMs()
    const ends = await Promise.all(
      Array.from({ length: burstProbes }, () => probe(0).then((echo) => echo && clock.monotonicMs())),
    )
    const came = ends.filter((end) => end !== undefined)
    const first = Math.min(...came)
    // The first needs the whole way, each later one only so much longer.
    return came.length < 2 ? 0 : ((Math.max(...came) - Math.max(first, startMs)) * 1e6) / (came.length - 1)
  }
}

function onTheWay({ elapsedNs, openNs, sealNs }: Echo): number {
  return elapsedNs - openNs - sealNs
}

function noWay({ peer, link }: Channel): Refusal {
  const why = link === 'none' ? 'there is no link' : `no echo comes back over the ${link} link`
  return new Refusal('link-failed', `the link to ${peer} was not measured: ${why}`)
}
