/**
 * A client and its stages in one process, made of the real `Channel`, `Stage` and `Client` over a network that a seed
 * decides: links are reliable until they break, or lose, repeat and reorder frame by frame; processes die and come back
 * with nothing but their name. No sockets; time is stepped.
 */

import { PairRoots } from '#broker/keys/roots.js'
import { clientWork, peersIn, stageWork, type Plan } from '#broker/planner/plan.js'
import { pipelineOf } from '#device/pipeline.js'
import type { StageEngine } from '#device/runtime/engine.js'
import { Stage } from '#device/runtime/stage.js'
import { concat, equal } from '#shared/bytes.js'
import { type Cancel, SteppedClock } from '#shared/clock.js'
import { nodeAeads, type Aeads } from '#shared/crypto/aead.js'
import { Refusal } from '#shared/errors.js'
import { newDeviceId, type DeviceId, type FleetId } from '#shared/ids.js'
import { seededRandom, unitFrom, type Random } from '#shared/random.js'
import type { Window } from '#shared/session/backlog.js'
import { Channel, type Arrival, type Carrier, type ChannelEvents, type LinkKind } from '#shared/session/channel.js'
import { Client, type Result } from '#shared/session/client.js'
import { Keyring } from '#shared/session/keyring.js'
import {
  chainOf,
  devicesFor,
  made,
  makingsOf,
  nameOf,
  planFor,
  stageHeldBy,
  valueBytes,
  wholeOf,
  type Maker,
  type Making,
} from './graph-plan.js'

const fleet: FleetId = 'f00000000000000aa'
/** Frames that a direct link holds before it says that it is full. */
const socketFrames = 4
const redialMs = 50
const maxSteps = 100_000

/** How a relay treats each frame; probabilities, and the longest time on the way. */
export interface Weather {
  readonly loss: number
  readonly repeat: number
  readonly maxDelayMs: number
}

export interface WorldOptions {
  /** A chain of so many stages, in place of `makers`. */
  readonly stages?: number
  /** What makes which value, from which others. */
  readonly makers?: readonly Maker[]
  readonly seed: number | string
  readonly links?: LinkKind
  readonly weather?: Weather
  readonly window?: Window
  readonly aeads?: Aeads
  /** What the engine of each stage takes. */
  readonly computeMs?: number
}

/** A clock that knows how many timers wait. */
export class WatchedClock extends SteppedClock {
  readonly #pending = new Set<symbol>()

  get pending(): number {
    return this.#pending.size
  }

  override after(delayMs: number, action: () => void): Cancel {
    const timer = Symbol('timer')
    this.#pending.add(timer)
    const cancel = super.after(delayMs, () => {
      this.#pending.delete(timer)
      action()
    })
    return () => {
      this.#pending.delete(timer)
      cancel()
    }
  }
}

/** One life of a stage or of the client. */
export interface Life {
  readonly id: DeviceId
  readonly bootId: Uint8Array
  readonly channels: Map<DeviceId, Channel>
  readonly keyrings: Map<DeviceId, Keyring>
  isAlive: boolean
  stage?: Stage
  client?: Client
  /** Frames in the queue, by sender. */
  readonly untaken: Map<DeviceId, { frames: number; bytes: number }>
  /** How often the hub had told of clients when it last told this one: it does not obey older news. */
  told: number
}

interface Link {
  readonly ends: readonly [number, number]
  kind: LinkKind
  /** Grows with everything that ends what is under way. */
  generation: number
  isDown: boolean
}

/** One direction of a connection: what goes over it comes in order and complete until the link is interrupted. */
interface Direct {
  readonly carrier: Carrier
  readonly inOrder: (arrive: () => void) => void
}

export interface Sent {
  readonly input: Uint8Array
  readonly life: Life
  results: Result[]
  failures: Refusal[]
}

export class World {
  readonly clock = new WatchedClock()
  readonly options: Required<Omit<WorldOptions, 'stages'>>
  /** The stages of the plan. */
  readonly makings: readonly Making[]
  /** The client first, then the devices, stage by stage. */
  readonly lives: Life[] = []
  readonly sent: Sent[] = []
  readonly refusals: string[] = []
  /** The most that any receiver had in its queue from one sender. */
  readonly mostUntaken = { frames: 0, bytes: 0 }
  /** Engine runs, by stage. */
  readonly runs: number[]
  readonly #ids: DeviceId[]
  readonly #links: Link[]
  readonly #random: Random
  readonly #roots: PairRoots
  readonly #stalled = new Set<number>()
  /** How often the hub has told of clients. */
  #told = 0
  readonly #held: (() => void)[] = []
  /** Inputs in flight by number, so that each is another. */
  #count = 0
  plan = 1

  constructor({ stages = 1, ...given }: WorldOptions) {
    this.options = {
      makers: chainOf(stages),
      links: 'direct',
      weather: { loss: 0, repeat: 0, maxDelayMs: 2 },
      window: { frames: 4, bytes: 100_000 },
      aeads: nodeAeads,
      computeMs: 1,
      ...given,
    }
    const { makers, seed, links } = this.options
    this.makings = makingsOf(makers)
    this.#random = seededRandom(seed)
    this.#roots = new PairRoots(this.#random)
    this.runs = this.makings.map(() => 0)
    this.#ids = Array.from({ length: devicesFor(makers) + 1 }, () => newDeviceId(this.#random))
    for (const node of this.#ids.keys()) this.lives.push(this.#born(node))
    const peers = peersIn(this.planned)
    const pairs = this.#ids.flatMap((one, i) =>
      this.#ids.flatMap((other, j): [number, number][] =>
        i < j && peers.get(one)?.has(other) === true ? [[i, j]] : [],
      ),
    )
    this.#links = pairs.map((ends) => ({ ends, kind: links, generation: 0, isDown: false }))
    for (const link of this.#links) {
      this.#giveKeys(link)
      this.#connect(link)
    }
  }

  get client(): Client {
    return this.lives[0]!.client!
  }

  /** The stage that a device holds. */
  stage(device: number): Stage {
    return this.lives[device + 1]!.stage!
  }

  /** Everybody but the client. */
  get devices(): number {
    return this.#ids.length - 1
  }

  /** The plan in force, as the hub would tell it. */
  get planned(): Plan {
    const [client, ...devices] = this.#ids as [DeviceId, ...DeviceId[]]
    const run = this.lives[0]?.bootId ?? new Uint8Array(8)
    return planFor(this.options.makers, { plan: this.plan, devices, clients: [{ device: client, run }] })
  }

  get links(): number {
    return this.#links.length
  }

  /** Sends one request with an input of its own; what comes of it is noted. */
  infer(input: Uint8Array = this.#input()): Sent {
    const life = this.lives[0]!
    const sent: Sent = { input, life, results: [], failures: [] }
    this.sent.push(sent)
    life.client!.infer([{ name: nameOf(-1), dtype: 'uint8', shape: [input.length], data: input }]).then(
      (result) => sent.results.push(result),
      (error: unknown) => {
        if (!(error instanceof Refusal)) throw error
        sent.failures.push(error)
      },
    )
    return sent
  }

  /** Whether a result is all that it must be for `input`. */
  isRight(input: Uint8Array, { tensors }: Result): boolean {
    const whole = wholeOf(this.options.makers, input)
    return (
      tensors.length === this.planned.outputs.length &&
      tensors.every(({ name, data }) => equal(data as Uint8Array, whole.get(name)!))
    )
  }

  /** The engine of a stage settles no run from now on. */
  stall(index: number): void {
    this.#stalled.add(index)
  }

  resume(index: number): void {
    this.#stalled.delete(index)
    for (const run of this.#held.splice(0)) run()
  }

  /** Kills the process of a node (0 is the client) and starts it again, with fresh state and fresh keys. */
  restart(node: number): void {
    const old = this.lives[node]!
    old.isAlive = false
    for (const channel of old.channels.values()) channel.close()
    for (const keyring of old.keyrings.values()) keyring.erase()
    void old.stage?.close()
    this.lives[node] = this.#born(node)
    if (node === 0) this.#tellOfClient()
    for (const link of this.#links) {
      if (!link.ends.includes(node)) continue
      this.#interrupt(link)
      this.#giveKeys(link)
    }
  }

  /** Ends what is under way on a link; it comes back by itself. */
  cut(link: number): void {
    this.#interrupt(this.#links[link]!)
  }

  /** Another kind of link from now on. */
  change(link: number, kind: LinkKind): void {
    const changed = this.#links[link]!
    changed.kind = kind
    this.#interrupt(changed)
  }

  /** Takes a link away until `mend`. */
  takeDown(link: number): void {
    this.#links[link]!.isDown = true
    this.cut(link)
  }

  mend(link: number): void {
    this.#links[link]!.isDown = false
    this.#connect(this.#links[link]!)
  }

  /** All stages are another plan's, with nothing of what they had; the client is told in the end. */
  replan(): void {
    this.plan++
    for (const life of this.lives.slice(1).reverse()) {
      for (const channel of life.channels.values()) channel.clear()
      void life.stage!.close()
      life.stage = this.#stageOf(life)
    }
    this.#givePipeline(this.lives[0]!)
  }

  async step(ms = 2): Promise<void> {
    this.clock.step(ms)
    await new Promise((resolve) => setImmediate(resolve))
  }

  async run(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 2) await this.step()
  }

  /** Steps until `condition` holds; throws where it never does. */
  async until(condition: () => boolean, what: string): Promise<void> {
    for (let step = 0; !condition(); step++) {
      if (step === maxSteps) throw new Error(`it never was so that ${what}: ${JSON.stringify(this.state())}`)
      // When nothing happens for long, only timers of seconds are left.
      await this.step(step < 2000 ? 2 : 50)
    }
  }

  /** Whether nothing is held anywhere and no timer waits. */
  get isAtRest(): boolean {
    const { held, open, timers } = this.state()
    return held === 0 && open === 0 && timers === 0
  }

  state() {
    const channels = this.lives.flatMap(({ channels }) => [...channels.values()])
    const stages = this.lives.flatMap(({ stage }) => (stage === undefined ? [] : [stage]))
    return {
      clientOpen: this.client.open,
      held: channels.reduce((sum, channel) => sum + channel.held, 0),
      open: stages.reduce((sum, stage) => sum + stage.open + stage.queued + stage.retained, 0),
      timers: this.clock.pending,
      links: channels.map(({ link }) => link),
    }
  }

  async close(): Promise<void> {
    for (const link of this.#links) link.generation++
    for (const life of this.lives) {
      for (const channel of life.channels.values()) channel.close()
      for (const keyring of life.keyrings.values()) keyring.erase()
    }
    for (const life of this.lives) await life.stage?.close()
  }

  #input(): Uint8Array {
    const input = new Uint8Array(valueBytes)
    new DataView(input.buffer).setUint32(0, this.#count++)
    return input
  }

  #born(node: number): Life {
    const life: Life = {
      id: this.#ids[node]!,
      bootId: this.#random(8),
      channels: new Map(),
      keyrings: new Map(),
      isAlive: true,
      untaken: new Map(),
      told: this.#told,
    }
    const { window, aeads } = this.options
    const { clock } = this
    for (const peer of peersIn(this.planned).get(life.id) ?? []) {
      const keyring = new Keyring({ fleet, self: life.id, peer, clock, aeads })
      const channel = new Channel({ peer, keyring, clock, window, events: this.#eventsOf(life) })
      life.keyrings.set(peer, keyring)
      life.channels.set(peer, channel)
    }
    if (node === 0) {
      life.client = new Client({ id: life.id, bootId: life.bootId, clock })
      this.#givePipeline(life)
    } else life.stage = this.#stageOf(life)
    return life
  }

  /** The hub tells every device of the client's new process, sooner or later. */
  #tellOfClient(): void {
    const { clients } = this.planned
    const told = ++this.#told
    for (const life of this.lives.slice(1)) {
      this.clock.after(this.#delay(50), () => {
        if (!life.isAlive || told < life.told) return
        life.told = told
        life.stage!.serve(clients)
      })
    }
  }

  #givePipeline(life: Life): void {
    life.client!.use(pipelineOf(clientWork(this.planned), { channel: (device) => channelTo(life, device) }))
  }

  #stageOf(life: Life): Stage {
    const plan = this.planned
    const index = stageHeldBy(plan, life.id)
    const place = stageWork(plan, index).get(life.id)!
    const stage = new Stage({
      place,
      engine: this.#engineOf(life, index),
      clock: this.clock,
      events: {
        send: (activation, to) => channelTo(life, to).offer(activation),
        settle: (to, key) => channelTo(life, to).settle(key),
      },
    })
    stage.serve(place.clients)
    return stage
  }

  #engineOf(life: Life, index: number): StageEngine {
    let isClosed = false
    return {
      mode: 'inline',
      run: (feeds) => {
        this.runs[index]!++
        const { value, from, at, bytes } = this.makings[index]!
        const whole = made(
          value,
          from.map((source) => feeds[nameOf(source)]!.data as Uint8Array),
        )
        const data = whole.slice(at, at + bytes)
        const outputs = { [nameOf(value)]: { dtype: 'uint8' as const, shape: [bytes], data } }
        return new Promise((resolve) => {
          const settle = (): void => {
            if (isClosed || !life.isAlive) return
            if (this.#stalled.has(index)) this.#held.push(settle)
            else resolve({ outputs, computeUs: 1 })
          }
          this.clock.after(this.options.computeMs, settle)
        })
      },
      close() {
        isClosed = true
        return Promise.resolve()
      },
    }
  }

  #eventsOf(life: Life): ChannelEvents {
    return {
      onActivation: (arrival) => {
        const counted = this.#counted(life, arrival)
        if (life.client !== undefined) life.client.arrived(counted)
        else life.stage!.arrived(counted)
        const { frames, bytes } = life.untaken.get(arrival.from)!
        this.mostUntaken.frames = Math.max(this.mostUntaken.frames, frames)
        if (frames > 1) this.mostUntaken.bytes = Math.max(this.mostUntaken.bytes, bytes)
      },
      onSettled: (keys, by) => life.stage?.settled(keys, by),
    }
  }

  /** The same arrival, with its time in the queue watched. */
  #counted(life: Life, arrival: Arrival): Arrival {
    const bytes = arrival.activation.tensors.reduce((sum, { data }) => sum + data.length, 0)
    const queue = life.untaken.get(arrival.from) ?? { frames: 0, bytes: 0 }
    life.untaken.set(arrival.from, queue)
    queue.frames++
    queue.bytes += bytes
    let isTaken = false
    return {
      ...arrival,
      took: () => {
        if (!isTaken) {
          queue.frames--
          queue.bytes -= bytes
        }
        isTaken = true
        arrival.took()
      },
    }
  }

  /** Gives both ends the root of the two processes that run now, each when its message comes. */
  #giveKeys(link: Link): void {
    const [a, b] = link.ends.map((node) => this.lives[node]!) as [Life, Life]
    const { ordinal, root } = this.#roots.between(a, b)
    const prk = Uint8Array.from(root)
    for (const [life, peer] of [
      [a, b],
      [b, a],
    ] as const) {
      this.clock.after(this.#delay(20), () => {
        if (!life.isAlive) return
        try {
          const keyring = life.keyrings.get(peer.id)!
          keyring.add({ peer: peer.id, epoch: 1, ordinal, alg: 1, prk })
          keyring.use(1)
          // As a direct link is made anew under new keys.
          if (link.kind === 'direct') this.#interrupt(link)
          life.channels.get(peer.id)!.renewed({ epoch: 1, ordinal })
        } catch (error) {
          this.#note(error) // a root that was overtaken by the next one
        }
      })
    }
  }

  #interrupt(link: Link): void {
    const { generation } = link
    link.generation++
    for (const [life, peer] of this.#directions(link)) {
      const channel = life.channels.get(peer.id)!
      // The two notice it at different times.
      this.clock.after(this.#delay(10), () => {
        if (link.generation === generation + 1) channel.detach()
      })
    }
    this.clock.after(10 + this.#delay(redialMs), () => {
      if (link.generation === generation + 1) this.#connect(link)
    })
  }

  #connect(link: Link): void {
    if (link.isDown) return
    const generation = ++link.generation
    for (const [life, peer] of this.#directions(link)) {
      if (link.kind === 'relay') life.channels.get(peer.id)!.attach(this.#relay(link, life, peer))
    }
    if (link.kind === 'relay') return
    const [dialler, listener] = link.ends.map((node) => this.lives[node]!) as [Life, Life]
    const there = this.#direct(link, dialler, listener)
    const back = this.#direct(link, listener, dialler)
    this.#sayHello(link, dialler, listener, there, () => {
      this.#sayHello(link, listener, dialler, back, () => channelTo(dialler, listener.id).attach(there.carrier))
      if (link.generation === generation) channelTo(listener, dialler.id).attach(back.carrier)
    })
  }

  #sayHello(link: Link, from: Life, to: Life, { inOrder }: Direct, then: () => void): void {
    try {
      const sealed = concat(channelTo(from, to.id).sealHello(from.bootId))
      inOrder(() => {
        if (channelTo(to, from.id).isHello(sealed)) then()
        else this.#interrupt(link)
      })
    } catch (error) {
      this.#note(error)
      this.#interrupt(link) // no keys yet: dialled again
    }
  }

  #directions(link: Link): [Life, Life][] {
    const [a, b] = link.ends.map((node) => this.lives[node]!) as [Life, Life]
    return [
      [a, b],
      [b, a],
    ]
  }

  #direct(link: Link, from: Life, to: Life): Direct {
    const { generation } = link
    const { clock } = this
    let under = 0
    let lastMs = 0
    const inOrder = (arrive: () => void): void => {
      lastMs = Math.max(lastMs, clock.monotonicMs() + this.#delay(3))
      clock.after(lastMs - clock.monotonicMs(), () => {
        if (link.generation === generation) arrive()
      })
    }
    const arrive = (frame: Uint8Array): void => {
      try {
        this.#unwanted(channelTo(to, from.id).receive(frame))
      } catch (error) {
        this.#note(error)
        this.#interrupt(link)
      }
    }
    const carrier: Carrier = {
      kind: 'direct',
      reliable: true,
      get isReady() {
        return under < socketFrames && link.generation === generation
      },
      sendFrame: (sealed) => {
        const frame = concat(sealed)
        under++
        inOrder(() => {
          under--
          arrive(frame)
          channelTo(from, to.id).pump()
        })
      },
      sendControl: (sealed) => {
        const frame = concat(sealed)
        inOrder(() => arrive(frame))
      },
    }
    return { carrier, inOrder }
  }

  #relay(link: Link, from: Life, to: Life): Carrier {
    const { generation } = link
    const { clock, options } = this
    const { loss, repeat, maxDelayMs } = options.weather
    const deliver = (frame: Uint8Array): void => {
      if (this.#chance(loss)) return
      clock.after(this.#delay(maxDelayMs), () => {
        if (!to.isAlive || link.generation !== generation) return
        try {
          this.#unwanted(channelTo(to, from.id).receive(Uint8Array.from(frame)))
        } catch (error) {
          this.#note(error)
        }
      })
    }
    const send = (sealed: readonly Uint8Array[]): void => {
      const frame = concat(sealed)
      deliver(frame)
      if (this.#chance(repeat)) deliver(frame)
    }
    return { kind: 'relay', reliable: false, isReady: true, sendFrame: send, sendControl: send }
  }

  #unwanted(refusal: Refusal | undefined): void {
    if (refusal !== undefined) this.#note(refusal)
  }

  #note(error: unknown): void {
    if (!(error instanceof Refusal)) throw error
    this.refusals.push(error.code)
  }

  #chance(probability: number): boolean {
    return unitFrom(this.#random) < probability
  }

  #delay(maxMs: number): number {
    return Math.floor(unitFrom(this.#random) * (maxMs + 1))
  }
}

function channelTo(life: Life, peer: DeviceId): Channel {
  const channel = life.channels.get(peer)
  if (channel === undefined) throw new Refusal('unknown-sender', `${peer} is no peer`)
  return channel
}
