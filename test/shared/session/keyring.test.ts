import * as fc from 'fast-check'
import t from 'tap'
import { concat } from '#shared/bytes.js'
import { SteppedClock } from '#shared/clock.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import { decodeHeader } from '#shared/protocol/frame.js'
import { seededRandom } from '#shared/random.js'
import { Keyring, maxSessionsPerEpoch } from '#shared/session/keyring.js'
import { type AuthenticationAlert, type PairMaterial } from '#shared/session/pair.js'

const fleet: FleetId = 'f0102030405060708'
const idA: DeviceId = 'd000000000000000000000000000000aa'
const idB: DeviceId = 'd000000000000000000000000000000bb'
const plain = Uint8Array.of(1, 2, 3)

const random = seededRandom('keyring')
const roots = new Map<string, Uint8Array>()
/** The same secret for the same session, as both ends get it. */
function material(peer: DeviceId, epoch: number, ordinal = 0): PairMaterial {
  const key = `${epoch}/${ordinal}`
  const prk = roots.get(key) ?? random(32)
  roots.set(key, prk)
  return { peer, epoch, ordinal, alg: 1, prk }
}

interface Ends {
  a: Keyring
  b: Keyring
  alerts: AuthenticationAlert[]
  /** Gives both ends the same secret. */
  readonly add: (epoch: number, ordinal?: number) => void
}
function ends(): Ends {
  const clock = new SteppedClock()
  const alerts: AuthenticationAlert[] = []
  const onAlert = (alert: AuthenticationAlert): void => void alerts.push(alert)
  const a = new Keyring({ fleet, self: idA, peer: idB, aeads: nodeAeads, clock })
  const b = new Keyring({ fleet, self: idB, peer: idA, aeads: nodeAeads, clock, onAlert })
  return {
    a,
    b,
    alerts,
    add(epoch, ordinal) {
      a.add(material(idB, epoch, ordinal))
      b.add(material(idA, epoch, ordinal))
    },
  }
}
const sealed = (ring: Keyring): Uint8Array => concat(ring.seal(1, [plain]))
const refusal = (action: () => unknown): string => {
  try {
    action()
    return 'accepted'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

t.test('add opens, use seals, drop wipes: a rotation in which no frame on the way is lost', (t) => {
  const { a, b, add } = ends()
  add(7)
  t.throws(() => sealed(a), { code: 'stale-epoch' }, 'nothing is sealed before an epoch is in use')
  a.use(7)
  b.use(7)
  const old = [sealed(a), sealed(a)]
  b.add(material(idA, 8))
  t.equal(decodeHeader(sealed(b)).epoch, 7, 'what was added does not seal yet')
  a.add(material(idB, 8))
  a.use(8)
  const early = sealed(a)
  t.equal(decodeHeader(early).epoch, 8)
  t.doesNotThrow(() => b.open(early), 'but it opens')
  t.doesNotThrow(() => b.open(old[0]!), 'and so does the epoch before')
  t.strictSame(b.epochs, { previous: 7, current: 8, next: undefined })
  b.drop(7)
  t.throws(() => b.open(old[1]!), { code: 'stale-epoch' })
  t.strictSame(b.epochs, { previous: undefined, current: 8, next: undefined })
  t.end()
})

t.test('the first valid frame of the next epoch puts it to use; a forged one does not', (t) => {
  const { a, b, add } = ends()
  add(7)
  a.use(7)
  const forged = sealed(a)
  forged[20]! ^= 1
  t.throws(() => b.open(forged), { code: 'forged' })
  t.equal(b.epochs.current, undefined)
  b.open(sealed(a))
  t.equal(b.epochs.current, 7)
  t.equal(decodeHeader(sealed(b)).epoch, 7)
  t.end()
})

t.test('no epoch is used while the one before the last is held, be it on notice or by a frame', (t) => {
  const { a, b, add } = ends()
  for (const epoch of [7, 8]) {
    add(epoch)
    a.use(epoch)
    b.use(epoch)
  }
  add(9)
  t.throws(() => b.use(9), { code: 'not-allowed' })
  a.drop(7)
  a.use(9)
  t.doesNotThrow(() => b.open(sealed(a)), 'the frame is not lost')
  t.strictSame(b.epochs, { previous: 7, current: 8, next: 9 })
  b.drop(7)
  b.open(sealed(a))
  t.strictSame(b.epochs, { previous: 8, current: 9, next: undefined })
  t.end()
})

t.test('an epoch that was not added cannot be used, nor an older one again', (t) => {
  const { a } = ends()
  t.throws(() => a.use(7), { code: 'stale-epoch' })
  a.add(material(idB, 7))
  a.use(7)
  a.use(7)
  a.add(material(idB, 8))
  a.use(8)
  t.throws(() => a.use(7), { code: 'stale-epoch' })
  t.throws(() => a.use(9), { code: 'stale-epoch' })
  t.end()
})

t.test('a later epoch is refused while one still waits, and taken once that one is dropped', (t) => {
  const { a } = ends()
  a.add(material(idB, 7))
  a.use(7)
  a.add(material(idB, 8))
  t.throws(() => a.add(material(idB, 9)), { code: 'not-allowed' })
  a.drop(8)
  a.add(material(idB, 10))
  t.strictSame(a.epochs, { previous: undefined, current: 7, next: 10 })
  t.end()
})

t.test('a new session of the epoch in use seals at once; the one before still opens until dropped', (t) => {
  const { a, b, add } = ends()
  add(7)
  a.use(7)
  b.use(7)
  const old = [sealed(a), sealed(a)]
  add(7, 1)
  t.equal(decodeHeader(sealed(a)).ordinal, 1)
  t.doesNotThrow(() => b.open(sealed(a)))
  t.equal(b.open(old[0]!).ordinal, 0)
  b.drop(7, 0)
  t.throws(() => b.open(old[1]!), { code: 'stale-epoch' })
  t.doesNotThrow(() => b.open(sealed(a)))
  t.end()
})

t.test('where the only session of the epoch in use was dropped, the next one takes over at once', (t) => {
  const { a, add } = ends()
  add(7)
  a.use(7)
  a.drop(7, 0)
  t.throws(() => sealed(a), { code: 'stale-epoch' })
  a.add(material(idB, 7, 1))
  t.equal(decodeHeader(sealed(a)).ordinal, 1)
  t.end()
})

t.test('an epoch that waits does not seal for having a second session', (t) => {
  const { a, add } = ends()
  add(7)
  a.use(7)
  a.add(material(idB, 8))
  a.add(material(idB, 8, 1))
  t.equal(decodeHeader(sealed(a)).epoch, 7)
  a.use(8)
  t.equal(decodeHeader(sealed(a)).ordinal, 1)
  t.end()
})

t.test('a peer that restarts again and again leaves no more than four sessions', (t) => {
  const { a, b, add } = ends()
  const frames: Uint8Array[] = []
  for (let ordinal = 0; ordinal < maxSessionsPerEpoch + 2; ordinal++) {
    add(7, ordinal)
    a.use(7)
    frames.push(sealed(a))
  }
  const opened = frames.map((frame) => refusal(() => b.open(frame)))
  t.strictSame(opened, ['stale-epoch', 'stale-epoch', 'accepted', 'accepted', 'accepted', 'accepted'])
  t.end()
})

t.test('the same delivery again changes nothing: counters go on', (t) => {
  const { a, b, add } = ends()
  add(7)
  a.use(7)
  b.open(sealed(a))
  add(7)
  t.equal(b.open(sealed(a)).counter, 1)
  t.end()
})

t.test('what was dropped, or is older than what was here, never comes back', (t) => {
  const { a } = ends()
  a.add(material(idB, 7, 3))
  a.use(7)
  t.throws(() => a.add(material(idB, 7, 2)), { code: 'stale-epoch' })
  t.throws(() => a.add(material(idB, 6, 9)), { code: 'stale-epoch' })
  a.drop(7)
  t.throws(() => a.add(material(idB, 7, 3)), { code: 'stale-epoch' })
  a.add(material(idB, 7, 4))
  a.erase()
  t.throws(() => a.add(material(idB, 7, 4)), { code: 'stale-epoch' })
  t.strictSame(a.epochs, { previous: undefined, current: undefined, next: undefined })
  t.end()
})

t.test('a second secret under one name, or one of another peer, is refused', (t) => {
  const { a } = ends()
  a.add(material(idB, 7))
  t.throws(() => a.add({ ...material(idB, 7), prk: random(32) }), { code: 'bad-message' })
  t.throws(() => a.add(material(idA, 8)), RangeError)
  t.end()
})

t.test('a frame of an unknown epoch or session is stale, what is no frame is a bad message', (t) => {
  const { a, b, add } = ends()
  add(7)
  a.use(7)
  a.add(material(idB, 7, 1))
  t.throws(() => b.open(sealed(a)), { code: 'stale-epoch' })
  a.add(material(idB, 8))
  a.use(8)
  t.throws(() => b.open(sealed(a)), { code: 'stale-epoch' })
  t.throws(() => b.open(new Uint8Array(40)), { code: 'bad-message' })
  b.erase()
  t.throws(() => b.open(sealed(a)), { code: 'stale-epoch' })
  t.end()
})

t.test('the session in use is ratcheted, and an announcement is followed in the session it names', (t) => {
  const { a, b, add } = ends()
  t.throws(() => a.ratchet(), { code: 'stale-epoch' })
  t.equal(a.needsRatchet, false)
  add(7)
  add(7, 1)
  a.use(7)
  const at = a.ratchet()
  t.strictSame(at, { epoch: 7, ordinal: 1, ratchet: 1 })
  b.follow(at)
  b.use(7)
  t.equal(a.open(sealed(b)).ratchet, 1)
  t.throws(() => b.follow({ ...at, epoch: 9 }), { code: 'stale-epoch' })
  t.throws(() => b.follow({ ...at, ratchet: 50 }), { code: 'bad-message' })
  t.end()
})

t.test('failures reach the alert, with what they were failures of', (t) => {
  const { a, b, add, alerts } = ends()
  add(7)
  a.use(7)
  const forged = sealed(a)
  forged[20]! ^= 1
  for (let i = 0; i < 64; i++) refusal(() => b.open(forged, { countFailure: false }))
  t.equal(alerts.length, 0)
  for (let i = 0; i < 64; i++) refusal(() => b.open(forged))
  t.strictSame(alerts, [{ peer: idA, epoch: 7, ordinal: 0, failures: 64 }])
  t.end()
})

/** The slot rule of FKE 3.6 and nothing else; answers with the code of the refusal, or `'accepted'`. */
class SlotRule {
  previous: number | undefined
  current: number | undefined
  next: number | undefined
  readonly #sessions = new Set<string>()
  readonly #taken = new Set<string>()
  #highest: readonly [epoch: number, ordinal: number] = [-1, -1]

  add(epoch: number, ordinal: number): string {
    if (this.#sessions.has(`${epoch}/${ordinal}`)) return 'accepted'
    const [highestEpoch, highestOrdinal] = this.#highest
    if (epoch < highestEpoch || (epoch === highestEpoch && ordinal <= highestOrdinal)) return 'stale-epoch'
    if (this.next !== undefined && this.next !== epoch) return 'not-allowed'
    if (this.current !== epoch && this.previous !== epoch) this.next = epoch
    this.#highest = [epoch, ordinal]
    this.#sessions.add(`${epoch}/${ordinal}`)
    return 'accepted'
  }

  use(epoch: number): string {
    if (this.current === epoch) return 'accepted'
    if (this.next !== epoch) return 'stale-epoch'
    if (this.previous !== undefined) return 'not-allowed'
    this.previous = this.current
    this.current = epoch
    this.next = undefined
    return 'accepted'
  }

  drop(epoch: number): string {
    for (const slot of ['previous', 'current', 'next'] as const) if (this[slot] === epoch) this[slot] = undefined
    for (const session of this.#sessions) if (session.startsWith(`${epoch}/`)) this.#sessions.delete(session)
    return 'accepted'
  }

  /** The first and only frame of a session, as often as it comes. */
  open(epoch: number, ordinal: number): string {
    const session = `${epoch}/${ordinal}`
    if (!this.#sessions.has(session)) return 'stale-epoch'
    if (this.#taken.has(session)) return 'replayed'
    this.#taken.add(session)
    if (this.next === epoch && this.previous === undefined) this.use(epoch)
    return 'accepted'
  }

  seal(): string {
    return this.current === undefined ? 'stale-epoch' : 'accepted'
  }
}

t.test('whatever the order of the verbs, the keyring does as the slot rule says', (t) => {
  const verb = fc.record({
    verb: fc.constantFrom('add' as const, 'use' as const, 'drop' as const, 'open' as const, 'seal' as const),
    epoch: fc.nat(5),
    ordinal: fc.nat(2),
  })
  const answers = new Set<string>()
  // An end that has this session alone, so that it can seal the first frame of any.
  const firstFrameOf = (epoch: number, ordinal: number): Uint8Array => {
    const other = new Keyring({ fleet, self: idB, peer: idA, aeads: nodeAeads, clock: new SteppedClock() })
    other.add(material(idA, epoch, ordinal))
    other.use(epoch)
    return sealed(other)
  }
  fc.assert(
    fc.property(fc.array(verb, { minLength: 20, maxLength: 100, size: 'max' }), (verbs) => {
      const ring = new Keyring({ fleet, self: idA, peer: idB, aeads: nodeAeads, clock: new SteppedClock() })
      const rule = new SlotRule()
      type Ask = (epoch: number, ordinal: number) => [answer: string, expected: string]
      const ask: Record<'add' | 'use' | 'open' | 'seal' | 'drop', Ask> = {
        add: (epoch, ordinal) => [refusal(() => ring.add(material(idB, epoch, ordinal))), rule.add(epoch, ordinal)],
        use: (epoch) => [refusal(() => ring.use(epoch)), rule.use(epoch)],
        open: (epoch, ordinal) => [refusal(() => ring.open(firstFrameOf(epoch, ordinal))), rule.open(epoch, ordinal)],
        seal: () => [refusal(() => sealed(ring)), rule.seal()],
        drop: (epoch) => [refusal(() => ring.drop(epoch)), rule.drop(epoch)],
      }
      return verbs.every(({ verb, epoch, ordinal }) => {
        const [answer, expected] = ask[verb](epoch, ordinal)
        answers.add(`${verb} ${answer}`)
        const { previous, current, next } = ring.epochs
        const slots = [previous, current, next].filter((slot) => slot !== undefined)
        const isRising = slots.every((slot, i) => i === 0 || slot > slots[i - 1]!)
        const isSame = previous === rule.previous && current === rule.current && next === rule.next
        return answer === expected && isSame && isRising
      })
    }),
    { numRuns: 400 },
  )
  t.strictSame([...answers].sort(), [
    'add accepted',
    'add not-allowed',
    'add stale-epoch',
    'drop accepted',
    'open accepted',
    'open replayed',
    'open stale-epoch',
    'seal accepted',
    'seal stale-epoch',
    'use accepted',
    'use not-allowed',
    'use stale-epoch',
  ])
  t.end()
})
