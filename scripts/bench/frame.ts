/**
 * `frame`: what a hop between two devices costs by the size of its tensor. Two processes over loopback TCP on the product's
 * path (encode, seal, send, open, decode, acknowledge), against the same without a cipher, bare TCP, and a copy.
 */

import { newDeviceId, newFleetId } from '#shared/ids.js'
import { systemRandom } from '#shared/random.js'
import { figureOf, type Output } from './figure.js'
import type { FrameEnd, HopKind, Load } from './frame-end.js'
import type { PartTimes } from './frame-parts.js'
import { start, type Child } from './processes.js'
import { fitLine, median } from './statistics.js'

const KiB = 1024
const MiB = 1024 * KiB
const sizes = [KiB, 4 * KiB, 16 * KiB, 64 * KiB, 256 * KiB, 784 * KiB, 2 * MiB, 8 * MiB]
const quickSizes = [KiB, 64 * KiB]
const repeats = 9
const quickRepeats = 2
/** A measurement sends about so much, but at least and at most so many tensors. */
const bytesPerMeasurement = 96 * MiB
const [fewest, most] = [24, 2000]
const echoes = 300
const partRuns = 40

interface Hop {
  readonly wallMs: number
  /** Of both processes. */
  readonly cpuMs: number
}

type Contestant = HopKind | 'sealed again'
const contestants: readonly Contestant[] = ['sealed', 'plain', 'raw', 'sealed again']

export async function benchFrame(output: Output, { quick }: { quick: boolean }): Promise<void> {
  const [sender, receiver] = [start<FrameEnd>('frame-end'), start<FrameEnd>('frame-end')]
  try {
    await connectEnds(sender, receiver)
    const points = new Map<Contestant, [number, number][]>(contestants.map((kind) => [kind, []]))
    for (const bytes of quick ? quickSizes : sizes) {
      const count = quick ? fewest : Math.max(fewest, Math.min(most, Math.round(bytesPerMeasurement / bytes)))
      process.stderr.write(`frame: ${nameOf(bytes)}\n`)
      await benchParts(output, sender, bytes, quick ? 4 : partRuns)
      const runs = await interleaved(quick ? quickRepeats : repeats, contestants, (kind) =>
        hop(sender, receiver, { kind: kindOf(kind), bytes, count }),
      )
      for (const kind of contestants) points.get(kind)!.push([bytes, median(cpuUs(runs.get(kind)!))])
      say(output, bytes, runs)
    }
    for (const [kind, line] of points) sayFit(output, kind, line)
    await benchEcho(output, sender, quick)
  } finally {
    await Promise.all([sender.stop(), receiver.stop()])
  }
}

function kindOf(contestant: Contestant): HopKind {
  return contestant === 'sealed again' ? 'sealed' : contestant
}

async function connectEnds(sender: Child<FrameEnd>, receiver: Child<FrameEnd>): Promise<void> {
  const fleet = newFleetId(systemRandom)
  const prk = systemRandom(32)
  const [a, b] = [newDeviceId(systemRandom), newDeviceId(systemRandom)]
  // As between devices, who takes the large frames dials. On bare TCP the sender does.
  for (const kind of ['sealed', 'plain'] as const) {
    const port = await sender.ask('open', { kind, fleet, prk, self: a, peer: b })
    await receiver.ask('open', { kind, fleet, prk, self: b, peer: a, port })
  }
  const port = await receiver.ask('open', { kind: 'raw', fleet, prk, self: b, peer: a })
  await sender.ask('open', { kind: 'raw', fleet, prk, self: a, peer: b, port })
}

/** Each contestant once per repeat, beginning with another one each time; the first repeat warms up and does not count. */
async function interleaved<K, T>(
  repeats: number,
  keys: readonly K[],
  measure: (key: K) => Promise<T>,
): Promise<Map<K, T[]>> {
  const runs = new Map<K, T[]>(keys.map((key) => [key, []]))
  for (let repeat = -1; repeat < repeats; repeat++) {
    for (let i = 0; i < keys.length; i++) {
      const key = keys[(i + repeat + keys.length) % keys.length]!
      const run = await measure(key)
      if (repeat >= 0) runs.get(key)!.push(run)
    }
  }
  return runs
}

async function hop(sender: Child<FrameEnd>, receiver: Child<FrameEnd>, load: Load): Promise<Hop> {
  const before = (await sender.cpuMs()) + (await receiver.cpuMs())
  const { wallMs } = await sender.ask('send', load)
  const cpuMs = (await sender.cpuMs()) + (await receiver.cpuMs()) - before
  return { wallMs: wallMs / load.count, cpuMs: cpuMs / load.count }
}

const cpuUs = (hops: readonly Hop[]): number[] => hops.map(({ cpuMs }) => cpuMs * 1000)

function say(output: Output, bytes: number, runs: ReadonlyMap<Contestant, readonly Hop[]>): void {
  const rate = (kind: Contestant): number[] => runs.get(kind)!.map(({ wallMs }) => bytes / wallMs / 1000)
  const cpu = (kind: Contestant): number[] => cpuUs(runs.get(kind)!)
  const what = { bench: 'frame', case: nameOf(bytes) }
  const isLarge = bytes >= 256 * KiB
  const bar = !isLarge ? {} : { bar: bytes <= 2 * MiB ? { atLeast: 0.6, limit: 0.66 } : { atLeast: 0.5 } }
  output.figure(
    figureOf({ ...what, figure: 'sealed hop, 8 under way', unit: 'MB/s' }, rate('sealed'), {
      peer: 'plain framed',
      peers: rate('plain'),
      ...bar,
    }),
  )
  const sealed = { ...what, figure: 'sealed hop', unit: 'us CPU' }
  output.figure(figureOf(sealed, cpu('sealed'), { peer: 'plain framed', peers: cpu('plain') }))
  output.figure(figureOf(sealed, cpu('sealed'), { peer: 'raw TCP', peers: cpu('raw') }))
  output.figure(figureOf(sealed, cpu('sealed'), { peer: 'itself (A/A)', peers: cpu('sealed again') }))
  output.figure(
    figureOf({ ...what, figure: 'raw TCP', unit: 'MB/s' }, rate('raw'), { peer: 'sealed hop', peers: rate('sealed') }),
  )
}

async function benchParts(output: Output, sender: Child<FrameEnd>, bytes: number, count: number): Promise<void> {
  const runs: PartTimes[] = []
  for (let repeat = 0; repeat < 3; repeat++) runs.push(await sender.ask('parts', { bytes, count }))
  for (const part of ['encode', 'seal', 'open', 'decode'] as const) {
    output.figure(
      figureOf(
        { bench: 'frame', case: nameOf(bytes), figure: part, unit: 'us' },
        runs.map((run) => run[part]),
        {
          peer: 'memcpy',
          peers: runs.map((run) => run.memcpy),
        },
      ),
    )
  }
}

/** `CPU = fixed + slope * bytes` of both ends together. */
function sayFit(output: Output, kind: Contestant, line: readonly (readonly [number, number])[]): void {
  const { fixed, slope } = fitLine(line)
  const bars = kind === 'sealed'
  const what = { bench: 'frame', case: `${kind}, fit over all sizes` }
  output.figure(
    figureOf({ ...what, figure: 'fixed', unit: 'us CPU' }, [fixed], bars ? { bar: { atMost: 50, limit: 40 } } : {}),
  )
  output.figure(
    figureOf(
      { ...what, figure: 'per byte', unit: 'ns CPU' },
      [slope * 1000],
      bars ? { bar: { atMost: 1.8, limit: 1.4 } } : {},
    ),
  )
}

async function benchEcho(output: Output, sender: Child<FrameEnd>, quick: boolean): Promise<void> {
  const kinds = ['sealed', 'plain', 'raw'] as const
  const runs = await interleaved(quick ? quickRepeats : repeats, kinds, async (kind) =>
    median(await sender.ask('echo', { kind, bytes: KiB, count: quick ? 20 : echoes })),
  )
  for (const peer of ['plain', 'raw'] as const) {
    output.figure(
      figureOf({ bench: 'frame', case: '1 KiB there and back', figure: 'sealed', unit: 'ms' }, runs.get('sealed')!, {
        peer,
        peers: runs.get(peer)!,
      }),
    )
  }
}

function nameOf(bytes: number): string {
  return bytes >= MiB ? `${bytes / MiB} MiB` : `${bytes / KiB} KiB`
}
