/** The demo: a hub, real devices, a model in sealed pieces, requests through all of it, every result compared. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startHub } from '#broker/start.js'
import { Client } from '#device/client.js'
import { dialTcp } from '#device/link/dial.js'
import type { LinkMode } from '#device/link/peers.js'
import { tcpTransport } from '#device/link/transport.js'
import { systemClock } from '#shared/clock.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { newIdentity } from '#shared/crypto/identity.js'
import { Refusal } from '#shared/errors.js'
import { newDeviceId, newFleetId } from '#shared/ids.js'
import { openLog } from '#shared/log.js'
import { sameBits, type Tensor } from '#shared/onnx/tensor.js'
import { systemRandom } from '#shared/random.js'
import { byBlocks, byLayers, type Granularity } from './layouts.js'
import { postsOf, type RunningDemo } from './running.js'
import { startDevice, type DeviceProcess } from './devices.js'
import { openReference, type Reference } from './reference.js'
import { summaryOf, type Summary } from './summary.js'
import { Tally } from './tally.js'
import type { Workload } from './workload.js'

export interface DemoOptions {
  readonly workload: Workload
  readonly devices: number
  /** Whether a stage has whole layers, or one layer is parted by channels as well. */
  readonly granularity: Granularity
  /** Devices that hold each stage and take requests in turn; with granularity `layer`. */
  readonly replicas: number
  readonly link: LinkMode
  /** Ends after so many; goes on until stopped when not given. */
  readonly requests: number | undefined
  /** Requests under way at once. */
  readonly window: number
  readonly signal: AbortSignal
  /** One step of the start is done: for people. */
  readonly onStep: (text: string) => void
  /** Everything is up; called once. */
  readonly onReady: (demo: RunningDemo) => void
}

const readyWithinMs = 120_000
const telemetryWithinMs = 3000

/** Runs to the end or to the signal; leaves no process, port or file behind, however it ends. Throws `Refusal`. */
export async function runDemo(options: DemoOptions): Promise<Summary> {
  const { workload, devices, granularity, replicas, link, signal, onStep } = options
  const closers: (() => Promise<unknown>)[] = []
  const opened = <T>(thing: T, close: (thing: T) => Promise<unknown>): T => {
    closers.unshift(() => close(thing))
    return thing
  }
  const aborted = new Promise<never>((_, reject) => {
    const stop = (): void => reject(new Refusal('cancelled', 'stopped before every stage was ready'))
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop)
  })
  aborted.catch(() => {})
  try {
    const folder = opened(await mkdtemp(join(tmpdir(), 'tessera-demo-')), (path) =>
      rm(path, { recursive: true, force: true }),
    )
    const log = process.env['TESSERA_LOG'] === undefined ? () => {} : openLog('tessera-demo')
    const fleet = newFleetId(systemRandom)
    const common = { fleet, clock: systemClock, random: systemRandom, aeads: nodeAeads, log }
    const hubIdentity = newIdentity(systemRandom)
    const running = opened(
      await startHub({
        ...common,
        id: newDeviceId(systemRandom),
        identity: hubIdentity,
        host: '127.0.0.1',
        port: 0,
        relayPort: 0,
      }),
      ({ hub }) => hub.close(),
    )
    onStep(`hub ready at ${running.address.host}:${running.address.port}, fleet ${fleet}`)

    const starting = Array.from({ length: devices }, (_, i) =>
      startDevice({
        name: `device-${i}`,
        folder: join(folder, `device-${i}`),
        link,
        joinArguments: running.joinArguments,
      }),
    )
    const processes: DeviceProcess[] = []
    const started = await Promise.allSettled(starting)
    for (const outcome of started)
      if (outcome.status === 'fulfilled') processes.push(opened(outcome.value, (child) => child.stop()))
    for (const outcome of started) if (outcome.status === 'rejected') throw outcome.reason
    const lost = Promise.race(processes.map((child) => child.failed)).then((why) => {
      throw new Refusal('device-lost', why)
    })
    const over = Promise.race([lost, aborted])
    over.catch(() => {}) // whoever waits for something else at that moment hears of it there
    if (signal.aborted) await aborted
    for (const { name, id, pid } of processes) onStep(`${name} joined as ${id}, pid ${pid}`)

    const client = opened(
      await Client.connect({
        ...common,
        id: newDeviceId(systemRandom),
        identity: newIdentity(systemRandom),
        name: 'demo',
        link,
        hubKey: hubIdentity.publicKey,
        dialHub: dialTcp(running.address),
        dialRelay: ({ port }) => dialTcp({ host: running.address.host, port })(),
        transport: tcpTransport(),
      }),
      (member) => member.close(),
    )
    const { hub } = running
    await Promise.race([
      over,
      hub.until(
        () => hub.members().filter((member) => member.state === 'online').length > devices,
        readyWithinMs,
        'that all devices are online',
      ),
    ])
    onStep(
      `cutting '${workload.name}' for ${devices} device${devices === 1 ? '' : 's'}, ${granularity === 'block' ? 'one layer in parts' : 'by layers'}`,
    )
    const ids = hub.online().map(({ id }) => id)
    const deployment = await Promise.race([
      over,
      hub.deploy({
        name: workload.name.slice(0, 48),
        model: workload.model,
        folder: workload.folder,
        sample: workload.sample,
        layout: (facts) => (granularity === 'block' ? byBlocks(facts, ids) : byLayers(facts, ids, replicas)),
      }),
    ])
    for (const { label, device, nodes, channels, sealedBytes } of postsOf(deployment)) {
      const { name } = processes.find(({ id }) => id === device)!
      const part = channels === undefined ? '' : `, channels ${channels.from}-${channels.to}`
      onStep(`segment ${label}: nodes ${nodes}${part}; ${sealedBytes} bytes, sealed for ${name}`)
    }
    await Promise.race([over, Promise.all([hub.ready(readyWithinMs), client.ready()])])
    const reference = opened(await openReference(deployment.cut.whole), (thread) => thread.close())
    const tally = new Tally(systemClock.monotonicMs())
    const demo: RunningDemo = { running, deployment, processes, client, tally }
    onStep('every stage is ready')
    options.onReady(demo)
    await Promise.race([lost, stream(options, demo, reference)])
    if (!signal.aborted) await Promise.race([lost, lastTelemetry(demo)])
    return summaryOf(demo, options, signal.aborted)
  } finally {
    for (const close of closers) await close()
  }
}

/** The stages report every second: waits until each has told of the last frame, so that the summary adds up. */
async function lastTelemetry({ running: { hub }, deployment, tally }: RunningDemo): Promise<void> {
  const hasTold = (): boolean =>
    deployment.plan.stages.every(({ holders }) => {
      const told = hub.members().filter(({ id }) => holders.some(({ device }) => device === id))
      return told.reduce((sum, { telemetry }) => sum + (telemetry?.frames ?? 0), 0) >= tally.results
    })
  await hub.until(hasTold, telemetryWithinMs, 'that every stage reports its last frame').catch(() => {}) // then without
}

/** Keeps the window full until all requests are sent, then waits for the last result. */
async function stream(options: DemoOptions, { client, tally }: RunningDemo, reference: Reference): Promise<void> {
  const { workload, requests, window, signal } = options
  const answered = new Set<number>()
  let next = 0
  async function serve(): Promise<void> {
    while (!signal.aborted && (requests === undefined || next < requests)) {
      const index = next++
      const inputs = workload.request(index)
      tally.sent++
      const [{ outputs, latencyMs, hops }, expected] = await Promise.all([client.infer(inputs), reference.run(inputs)])
      if (answered.has(index)) tally.duplicated++
      answered.add(index)
      const isExact = sameOutputs(outputs, expected)
      const label = workload.label(index)
      const isCorrect = label === undefined ? isExact : argMax(outputs) === label
      tally.add({ isExact, isCorrect, latencyMs, hops }, systemClock.monotonicMs())
    }
  }
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  await Promise.race([aborted, Promise.all(Array.from({ length: window }, serve))])
}

function sameOutputs(got: Readonly<Record<string, Tensor>>, expected: Readonly<Record<string, Tensor>>): boolean {
  const names = Object.keys(expected)
  return (
    names.length === Object.keys(got).length &&
    names.every((name) => name in got && sameBits(got[name]!, expected[name]!))
  )
}

/** The class that the first output speaks for. */
function argMax(outputs: Readonly<Record<string, Tensor>>): number {
  const { data } = Object.values(outputs)[0]!
  const bytes = Uint8Array.from(data as Uint8Array)
  const scores = new Float32Array(bytes.buffer)
  return scores.indexOf(scores.reduce((most, score) => Math.max(most, score), -Infinity))
}
