import * as fc from 'fast-check'
import t from 'tap'
import { concat } from '#shared/bytes.js'
import { SteppedClock } from '#shared/clock.js'
import type { AlgId } from '#shared/crypto/aead.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import { purposes } from '#shared/protocol/frame.js'
import { seededRandom } from '#shared/random.js'
import { Keyring } from '#shared/session/keyring.js'
import type { PairMaterial } from '#shared/session/pair.js'
import { recordingAeads } from '#test/support/recording-aead.js'

const fleet: FleetId = 'f0102030405060708'
const ids: readonly [DeviceId, DeviceId] = ['d000000000000000000000000000000aa', 'd000000000000000000000000000000bb']

/**
 * Two ends and a hub that draws a secret per pair of boots and epoch, and delivers it to each, again and again, late, or
 * after it was dropped: but never to a later life of a process, as a key source promises.
 */
class Site {
  readonly recording = recordingAeads()
  readonly #clock = new SteppedClock()
  readonly #random = seededRandom('nonces')
  readonly #alg: AlgId
  #rings: [Keyring, Keyring]
  #secrets: Omit<PairMaterial, 'peer'>[] = []
  #epoch = 1
  #ordinal = 0
  readonly #onTheWay: { to: 0 | 1; frame: Uint8Array }[] = []

  constructor(alg: AlgId) {
    this.#alg = alg
    this.#rings = [this.#ring(0), this.#ring(1)]
    this.draw()
  }

  #ring(end: 0 | 1): Keyring {
    return new Keyring({
      fleet,
      self: ids[end],
      peer: ids[1 - end]!,
      aeads: this.recording.aeads,
      clock: this.#clock,
    })
  }

  draw(): void {
    this.#secrets.push({ epoch: this.#epoch, ordinal: this.#ordinal++, alg: this.#alg, prk: this.#random(32) })
  }

  rotate(): void {
    this.#epoch++
    this.#ordinal = 0
    this.draw()
  }

  deliver(end: 0 | 1, which: number): void {
    // Every second time the newest, or hardly a session would have two ends.
    const secret = this.#secrets.at(which % 2 === 0 ? -1 : which % this.#secrets.length)!
    polite(() => this.#rings[end].add({ ...secret, peer: ids[1 - end]! }))
  }

  use(end: 0 | 1, which: number): void {
    const ring = this.#rings[end]
    const { previous, next } = ring.epochs
    if (previous !== undefined && which % 2 === 0) ring.drop(previous)
    polite(() => ring.use(next ?? this.#epoch))
  }

  drop(end: 0 | 1, which: number): void {
    const { epoch, ordinal } = this.#secrets[which % this.#secrets.length]!
    this.#rings[end].drop(epoch, which % 3 === 0 ? undefined : ordinal)
  }

  seal(end: 0 | 1, which: number): void {
    polite(() => {
      const frame = concat(this.#rings[end].seal(purposes[which % 3]!, [new Uint8Array(which % 5)]))
      this.#onTheWay.push({ to: end === 0 ? 1 : 0, frame })
    })
  }

  /** One frame of those ever sent, so also a replayed one, or of a life before. */
  receive(which: number): void {
    const sent = this.#onTheWay[this.#onTheWay.length - 1 - (which % 8)]
    if (sent !== undefined) polite(() => this.#rings[sent.to].open(sent.frame))
  }

  ratchet(end: 0 | 1): void {
    polite(() => this.#rings[end].ratchet())
  }

  restart(end: 0 | 1): void {
    this.#rings[end].erase()
    this.#rings[end] = this.#ring(end)
    this.#secrets = []
    this.draw()
  }

  wait(which: number): void {
    this.#clock.step(which * 100)
  }
}

/** Lets a refusal pass, nothing else: above all not the recorder's finding. */
function polite(action: () => unknown): void {
  try {
    action()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
  }
}

const steps = ['deliver', 'use', 'drop', 'seal', 'receive', 'ratchet', 'restart', 'draw', 'rotate', 'wait'] as const
const weights: Record<(typeof steps)[number], number> = {
  deliver: 8,
  use: 4,
  drop: 1,
  seal: 20,
  receive: 10,
  ratchet: 3,
  restart: 1,
  draw: 1,
  rotate: 1,
  wait: 1,
}
const step = fc.record({
  what: fc.oneof(...steps.map((what) => ({ weight: weights[what], arbitrary: fc.constant(what) }))),
  end: fc.constantFrom(0 as const, 1 as const),
  which: fc.nat(60),
})

t.test(
  'no (key, nonce) seals twice, whatever is sealed, ratcheted, rotated, redelivered, dropped and restarted',
  (t) => {
    let seals = 0
    fc.assert(
      fc.property(
        fc.constantFrom<AlgId>(1, 2),
        fc.array(step, { minLength: 100, maxLength: 300, size: 'max' }),
        (alg, plan) => {
          const site = new Site(alg)
          for (const { what, end, which } of plan) {
            switch (what) {
              case 'deliver':
                site.deliver(end, which)
                break
              case 'use':
                site.use(end, which)
                break
              case 'drop':
                site.drop(end, which)
                break
              case 'seal':
                site.seal(end, which)
                break
              case 'receive':
                site.receive(which)
                break
              case 'ratchet':
                site.ratchet(end)
                break
              case 'restart':
                site.restart(end)
                break
              case 'draw':
                site.draw()
                break
              case 'rotate':
                site.rotate()
                break
              case 'wait':
                site.wait(which)
            }
          }
          seals += site.recording.seals()
        },
      ),
      { numRuns: 150 },
    )
    t.ok(seals > 2000, `${seals} frames sealed, each under a pair of its own`)
    t.end()
  },
)

t.test('the recorder does find a nonce used twice: a secret given to a second life', (t) => {
  const { aeads } = recordingAeads()
  const prk = new Uint8Array(32)
  const life = (): void => {
    const ring = new Keyring({ fleet, self: ids[0], peer: ids[1], aeads, clock: new SteppedClock() })
    ring.add({ peer: ids[1], epoch: 1, ordinal: 0, alg: 1, prk })
    ring.use(1)
    ring.seal(1, [])
  }
  life()
  t.throws(life, /nonce was used twice/)
  t.end()
})
