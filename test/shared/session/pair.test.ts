import * as fc from 'fast-check'
import t from 'tap'
import { concat, equal, fromHex, toHex } from '#shared/bytes.js'
import { SteppedClock } from '#shared/clock.js'
import { type Aeads, nodeAeads } from '#shared/crypto/aead.js'
import { portableAeads } from '#shared/crypto/portable.js'
import { ratchet, trafficIv, trafficKey } from '#shared/crypto/schedule.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import { decodeHeader, encodeHeader, type FrameHeader, frameOverhead, maxFrameBytes } from '#shared/protocol/frame.js'
import { maxRatchetsAhead } from '#shared/session/generations.js'
import { type AuthenticationAlert, type PairMaterial, PairSession } from '#shared/session/pair.js'
import { maxBytesPerKey, maxFailuresPerKey, maxFramesPerKey, TrafficKey } from '#shared/session/traffic.js'
import { hex, ownVectors } from '#test/support/vectors.js'

const v = ownVectors('key-schedule.json') as {
  in: { partition: string; devA: string; devB: string; epoch: number }
  classic: { pairPrk: string }
  frame: { plaintext: string; wire: string; seq: number }
}
const fleet: FleetId = `f${v.in.partition}`
const idA: DeviceId = `d${v.in.devA}`
const idB: DeviceId = `d${v.in.devB}`

interface Pair {
  a: PairSession
  b: PairSession
  clock: SteppedClock
  alerts: AuthenticationAlert[]
}
function pair(changes: Partial<PairMaterial> = {}, aeads: Aeads = nodeAeads): Pair {
  const material = { epoch: v.in.epoch, ordinal: 0, alg: 1 as const, prk: hex(v.classic.pairPrk), ...changes }
  const clock = new SteppedClock()
  const alerts: AuthenticationAlert[] = []
  const onAlert = (alert: AuthenticationAlert): void => void alerts.push(alert)
  const side = (self: DeviceId, peer: DeviceId): PairSession =>
    new PairSession({ fleet, self, material: { ...material, peer }, aeads, clock, onAlert })
  return { a: side(idA, idB), b: side(idB, idA), clock, alerts }
}
const bytes = (length: number, fill = 1): Uint8Array => new Uint8Array(length).fill(fill)
const sealed = (session: PairSession, plain = bytes(20)): Uint8Array => concat(session.seal(1, [plain]))
/** The frame with fields of its header changed, ciphertext and tag as they were. */
const relabelled = (frame: Uint8Array, fields: object): Uint8Array =>
  concat([encodeHeader({ ...decodeHeader(frame), ...fields }), frame.subarray(16)])
const refusal = (action: () => unknown): string => {
  try {
    action()
    return 'accepted'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}
/** Makes `aeads` that do nothing but count: for limits of millions of frames. */
const idleAeads: Aeads = () => ({
  seal: (_key, _nonce, _ad, parts) => [...parts, bytes(16)],
  open: () => new Uint8Array(0),
})

t.test('the known frame is sealed bit for bit, as the sixth of its session, and opens', (t) => {
  for (const aeads of [nodeAeads, portableAeads]) {
    const { a, b } = pair({}, aeads)
    for (let counter = 0; counter < v.frame.seq; counter++) a.seal(1, [])
    const plaintext = hex(v.frame.plaintext)
    const pieces = a.seal(1, [plaintext.subarray(0, 10), plaintext.subarray(10)])
    t.equal(toHex(concat(pieces)), v.frame.wire)
    t.strictSame(
      pieces.map((piece) => piece.length),
      [16, 10, plaintext.length - 10, 16],
    )
    const opened = b.open(hex(v.frame.wire))
    t.equal(toHex(opened.plaintext), v.frame.plaintext)
    t.equal(opened.seq, BigInt(v.frame.seq))
  }
  t.end()
})

/** A frame made from the key schedule alone, under AES-256-GCM whatever the header says. */
const made = (header: FrameHeader, from: DeviceId, to: DeviceId, ratchets: number): Uint8Array => {
  let prk: Uint8Array = hex(v.classic.pairPrk)
  for (let next = 1; next <= ratchets; next++) prk = ratchet(prk, { fleet, epoch: header.epoch, next })
  const facts = { purpose: header.purpose, fleet, epoch: header.epoch, ratchet: ratchets, from, to }
  const ad = encodeHeader(header)
  const seq = concat([bytes(4, 0), ad.subarray(8)])
  const nonce = trafficIv(prk, facts).map((byte, i) => byte ^ seq[i]!)
  return concat([ad, ...nodeAeads(1).seal(trafficKey(prk, facts), nonce, ad, [bytes(20)])])
}

t.test('ordinal, counter, ratchet, purpose and direction enter key and nonce as the schedule says', (t) => {
  const { a, b } = pair({ ordinal: 0xabcd })
  for (let i = 0; i < 3; i++) b.seal(2, [])
  b.ratchet(2)
  const header: FrameHeader = { purpose: 2, alg: 1, ratchet: 2, epoch: v.in.epoch, ordinal: 0xabcd, counter: 3 }
  const frame = made(header, idB, idA, 2)
  t.equal(toHex(concat(b.seal(2, [bytes(20)]))), toHex(frame))
  t.equal(a.open(frame).seq, 0xabcd_0000_0000_0003n)
  t.end()
})

t.test('a frame that names another cipher than the session has is refused, were it sealed by the peer', (t) => {
  const { b } = pair()
  const header: FrameHeader = { purpose: 1, alg: 2, ratchet: 0, epoch: v.in.epoch, ordinal: 0, counter: 0 }
  t.throws(() => b.open(made(header, idA, idB, 0)), { code: 'forged' })
  t.doesNotThrow(() => b.open(made({ ...header, alg: 1 }, idA, idB, 0)))
  t.end()
})

t.test('opening inverts sealing, both ways, for every purpose, cipher and session', (t) => {
  const frames = fc.array(
    fc.record({
      forth: fc.boolean(),
      purpose: fc.constantFrom(1 as const, 2 as const, 3 as const),
      parts: fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 3 }),
    }),
    { maxLength: 20 },
  )
  const sessions = fc.record({
    alg: fc.constantFrom(1 as const, 2 as const),
    epoch: fc.nat(2 ** 32 - 1),
    ordinal: fc.nat(2 ** 16 - 1),
    prk: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  })
  fc.assert(
    fc.property(sessions, frames, (changes, frames) => {
      const { a, b } = pair(changes)
      const counters = new Map<string, number>()
      return frames.every(({ forth, purpose, parts }) => {
        const [from, to] = forth ? [a, b] : [b, a]
        const frame = concat(from.seal(purpose, parts))
        const opened = to.open(frame)
        const counter = counters.get(`${forth}${purpose}`) ?? 0
        counters.set(`${forth}${purpose}`, counter + 1)
        return (
          equal(opened.plaintext, concat(parts)) &&
          frame.length === opened.plaintext.length + frameOverhead &&
          opened.purpose === purpose &&
          opened.counter === counter &&
          opened.seq === (BigInt(changes.ordinal) << 48n) + BigInt(counter) &&
          opened.epoch === changes.epoch &&
          opened.ordinal === changes.ordinal
        )
      })
    }),
  )
  t.pass('no counterexample')
  t.end()
})

t.test('the plaintext lies alone in its buffer', (t) => {
  const { a, b } = pair()
  const { plaintext } = b.open(sealed(a))
  t.equal(plaintext.byteOffset, 0)
  t.equal(plaintext.buffer.byteLength, 20)
  t.end()
})

t.test('a frame opens once; late ones within the window open, older ones do not', (t) => {
  const { a, b } = pair()
  const frames = Array.from({ length: 1100 }, () => sealed(a))
  b.open(frames[50]!)
  t.throws(() => b.open(frames[50]!), { code: 'replayed' })
  b.open(frames[3]!)
  b.open(frames[1050]!)
  t.throws(() => b.open(frames[26]!), { code: 'replayed' }, '1024 behind: too late to tell')
  b.open(frames[27]!)
  t.throws(() => b.open(frames[27]!), { code: 'replayed' })
  t.end()
})

t.test('one changed bit anywhere in a frame is refused, and the true frame still opens', (t) => {
  const { a, b } = pair()
  const frame = sealed(a)
  const codes = new Set<string>()
  for (let bit = 0; bit < frame.length * 8; bit++) {
    const changed = Uint8Array.from(frame)
    changed[bit >> 3] = changed[bit >> 3]! ^ (1 << (bit & 7))
    const code = refusal(() => b.open(changed))
    if (code === 'accepted') t.fail(`bit ${bit} made no difference`)
    codes.add(code)
  }
  t.strictSame([...codes].sort(), ['bad-message', 'forged', 'stale-epoch'])
  t.doesNotThrow(() => b.open(frame), 'the window had not moved')
  t.end()
})

t.test('a frame is good for its purpose, direction, epoch, session and cipher only', (t) => {
  const { a, b } = pair()
  const frame = sealed(a)
  t.throws(() => b.open(relabelled(frame, { purpose: 2 })), { code: 'forged' })
  t.throws(() => b.open(relabelled(frame, { alg: 2 })), { code: 'forged' })
  t.throws(() => b.open(relabelled(frame, { counter: 1 })), { code: 'forged' })
  t.throws(() => b.open(relabelled(frame, { ratchet: 1 })), { code: 'forged' })
  t.throws(() => b.open(relabelled(frame, { epoch: 8 })), { code: 'stale-epoch' })
  t.throws(() => b.open(relabelled(frame, { ordinal: 1 })), { code: 'stale-epoch' })
  t.throws(() => b.open(relabelled(frame, { ratchet: 200 })), { code: 'stale-epoch' })
  t.throws(() => a.open(frame), { code: 'forged' }, 'reflected to its sender')
  const other = pair({ prk: bytes(32) })
  t.throws(() => other.b.open(frame), { code: 'forged' })
  const elsewhere = new PairSession({
    fleet: 'f0000000000000000',
    self: idB,
    material: { peer: idA, epoch: v.in.epoch, ordinal: 0, alg: 1, prk: hex(v.classic.pairPrk) },
    aeads: nodeAeads,
  })
  t.throws(() => elsewhere.open(frame), { code: 'forged' }, 'of another fleet')
  t.doesNotThrow(() => b.open(frame))
  t.end()
})

t.test('what is no frame is refused as such', (t) => {
  const { a, b } = pair()
  const frame = sealed(a, new Uint8Array(0))
  t.throws(() => b.open(frame.subarray(0, -1)), { code: 'bad-message' })
  t.throws(() => b.open(new Uint8Array(0)), { code: 'bad-message' })
  t.throws(() => b.open(new Uint8Array(maxFrameBytes + 1)), { code: 'over-limit' })
  t.throws(() => a.seal(1, [new Uint8Array(maxFrameBytes - frameOverhead), bytes(1)]), { code: 'over-limit' })
  t.throws(() => b.open(concat([frame, bytes(1)])), { code: 'forged' })
  t.doesNotThrow(() => b.open(frame))
  t.end()
})

t.test('after a ratchet the old frames open for two seconds, then never', (t) => {
  const { a, b, clock } = pair()
  const frames = Array.from({ length: 3 }, () => sealed(a))
  t.equal(a.ratchet(), 1)
  t.equal(b.ratchet(1), 1)
  t.doesNotThrow(() => b.open(sealed(a)))
  clock.step(1999)
  t.doesNotThrow(() => b.open(frames[0]!))
  t.throws(() => b.open(frames[0]!), { code: 'replayed' })
  clock.step(1)
  t.throws(() => b.open(frames[1]!), { code: 'stale-epoch' })
  t.doesNotThrow(() => b.open(sealed(a)))
  t.end()
})

t.test('a ratchet moves all purposes and both directions', (t) => {
  const { a, b } = pair()
  a.ratchet()
  b.ratchet()
  for (const purpose of [1, 2, 3] as const) {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const frame = concat(from.seal(purpose, [bytes(5)]))
      t.equal(decodeHeader(frame).ratchet, 1)
      t.equal(to.open(frame).ratchet, 1)
    }
  }
  t.end()
})

t.test('a frame from after a ratchet is followed; frames on the way from before still open', (t) => {
  const { a, b } = pair()
  const before = sealed(a)
  const back = sealed(b)
  a.ratchet()
  a.ratchet()
  a.ratchet()
  t.equal(b.open(sealed(a)).ratchet, 3)
  t.equal(b.ratchets, 3)
  t.doesNotThrow(() => b.open(before))
  t.doesNotThrow(() => a.open(back))
  t.doesNotThrow(() => a.open(sealed(b)))
  t.equal(b.ratchet(2), 3, 'a late announcement changes nothing')
  t.end()
})

t.test('a forged frame from after a ratchet is not followed', (t) => {
  const { a, b } = pair()
  for (let ahead = 1; ahead <= maxRatchetsAhead; ahead++) {
    t.throws(() => b.open(relabelled(sealed(a), { ratchet: ahead })), { code: 'forged' })
  }
  t.throws(() => b.open(relabelled(sealed(a), { ratchet: maxRatchetsAhead + 1 })), { code: 'stale-epoch' })
  t.equal(b.ratchets, 0)
  t.doesNotThrow(() => b.open(sealed(a)))
  a.ratchet()
  t.doesNotThrow(() => b.open(sealed(a)))
  t.end()
})

t.test('an announcement too far ahead, or of no number, is refused', (t) => {
  const { a } = pair()
  for (const to of [maxRatchetsAhead + 1, 1.5, Number.NaN, 2 ** 40])
    t.throws(() => a.ratchet(to), { code: 'bad-message' })
  t.equal(a.ratchet(maxRatchetsAhead), maxRatchetsAhead)
  t.end()
})

t.test('both ends ratchet past 256, each at its own time, and lose nothing', (t) => {
  const { a, b, clock } = pair()
  for (let i = 1; i <= 600; i++) {
    const late = sealed(a)
    const end = i % 2 === 0 ? a : b
    end.ratchet(i)
    const [one, other] = [sealed(a), sealed(b)]
    if (refusal(() => b.open(late)) !== 'accepted') t.fail(`the late frame of ratchet ${i}`)
    if (refusal(() => b.open(one)) !== 'accepted') t.fail(`forth at ratchet ${i}`)
    if (refusal(() => a.open(other)) !== 'accepted') t.fail(`back at ratchet ${i}`)
    clock.step(1000)
  }
  t.equal(a.ratchets, 600)
  t.equal(b.ratchets, 600)
  t.end()
})

t.test('who ratchets without pause loses the oldest keys early, never more than eight are kept', (t) => {
  const { a, b } = pair()
  const frames: Uint8Array[] = []
  for (let i = 0; i < 12; i++) {
    frames.push(sealed(a))
    a.ratchet()
    b.ratchet()
  }
  const opened = frames.map((frame) => refusal(() => b.open(frame)))
  t.strictSame(opened.slice(0, 4), ['stale-epoch', 'stale-epoch', 'stale-epoch', 'stale-epoch'])
  t.ok(opened.slice(4).every((code) => code === 'accepted'))
  t.end()
})

t.test('a key seals and opens 16 GiB, then names itself exhausted until the ratchet', (t) => {
  const { a, b } = pair({}, idleAeads)
  const big = new Uint8Array(maxFrameBytes - frameOverhead)
  const fit = Math.floor(maxBytesPerKey / big.length)
  let warnedAt = 0
  for (let i = 1; i <= fit; i++) {
    a.seal(1, [big])
    if (warnedAt === 0 && a.needsRatchet) warnedAt = i
  }
  t.equal(warnedAt, Math.ceil((maxBytesPerKey * (15 / 16)) / big.length), 'it says so before')
  t.throws(() => a.seal(1, [big]), { code: 'key-exhausted' })
  t.doesNotThrow(() => a.seal(2, [bytes(4)]), 'other purposes have keys of their own')
  a.ratchet()
  t.notOk(a.needsRatchet)
  t.doesNotThrow(() => a.seal(1, [big]))

  const frame = new Uint8Array(maxFrameBytes)
  const header = { purpose: 1, alg: 1, ratchet: 0, epoch: v.in.epoch, ordinal: 0 } as const
  const receive = (counter: number): unknown => {
    frame.set(encodeHeader({ ...header, counter }))
    return b.open(frame)
  }
  for (let counter = 0; counter < fit; counter++) receive(counter)
  t.throws(() => receive(fit), { code: 'key-exhausted' }, 'the receiver holds the same limit')
  t.end()
})

t.test('a key allows 2^24 frames, and says when 15/16 of them are used', (t) => {
  const facts = { purpose: 1, fleet, epoch: 1, ratchet: 0, from: idA, to: idB }
  const key = new TrafficKey(bytes(32), facts)
  for (let frames = 0; frames < (maxFramesPerKey / 16) * 15; frames++) {
    if (key.isNearlySpent) t.fail(`nearly spent after ${frames}`)
    key.count(1)
  }
  t.ok(key.isNearlySpent)
  t.ok(key.allows(1))
  for (let frames = 0; frames < maxFramesPerKey / 16; frames++) key.count(1)
  t.notOk(key.allows(0))
  t.end()
})

t.test('64 failures within a minute alert once, slower ones never', (t) => {
  const { a, b, clock, alerts } = pair()
  const bad = sealed(a)
  bad[bad.length - 1]! ^= 1
  for (let i = 0; i < 200; i++) {
    t.throws(() => b.open(bad), { code: 'forged' })
    clock.step(960)
  }
  t.equal(alerts.length, 0, 'one each 960 ms is below 64 a minute')
  clock.step(60_000)
  for (let i = 0; i < 63; i++) refusal(() => b.open(bad))
  t.equal(alerts.length, 0)
  refusal(() => b.open(bad))
  t.strictSame(alerts, [{ peer: idA, epoch: v.in.epoch, ordinal: 0, failures: 64 }])
  for (let i = 0; i < 63; i++) refusal(() => b.open(bad))
  t.equal(alerts.length, 1)
  t.end()
})

t.test(
  'after 65536 failures the key is dropped; those before a hello do not count; a ratchet brings a new one',
  (t) => {
    const failing: Aeads = (alg) => ({
      seal: (...args) => nodeAeads(alg).seal(...args),
      open(key, nonce, ad, frame) {
        if (frame.length === 16) throw Object.assign(new Error('no'), { code: 'forged' })
        return nodeAeads(alg).open(key, nonce, ad, frame)
      },
    })
    const { a, b } = pair({}, failing)
    const [good, bad] = [sealed(a), sealed(a, new Uint8Array(0))]
    for (let i = 0; i < 1000; i++) refusal(() => b.open(bad, { countFailure: false }))
    for (let i = 1; i < maxFailuresPerKey; i++) refusal(() => b.open(bad))
    t.doesNotThrow(() => b.open(good))
    t.throws(() => b.open(bad), { code: 'forged' })
    t.throws(() => b.open(sealed(a)), { code: 'key-exhausted' })
    t.doesNotThrow(() => b.open(concat(a.seal(2, [bytes(3)]))), 'the other purposes go on')
    a.ratchet()
    t.doesNotThrow(() => b.open(sealed(a)))
    t.end()
  },
)

t.test('an erased session refuses everything, wakes no timer, and its secret was its own copy', (t) => {
  const prk = fromHex(v.classic.pairPrk)
  const { a, b, clock } = pair({ prk })
  const frame = sealed(a)
  a.ratchet()
  a.erase()
  b.erase()
  clock.step(5000)
  t.throws(() => a.seal(1, []), { code: 'stale-epoch' })
  t.throws(() => b.open(frame), { code: 'stale-epoch' })
  t.throws(() => a.ratchet(), { code: 'stale-epoch' })
  t.equal(toHex(prk), v.classic.pairPrk)
  t.end()
})

t.test('material that no source may give is a bug', (t) => {
  for (const changes of [
    { prk: bytes(31) },
    { epoch: 2 ** 32 },
    { epoch: -1 },
    { ordinal: 2 ** 16 },
    { ordinal: 0.5 },
  ]) {
    t.throws(() => pair(changes), RangeError, JSON.stringify(Object.keys(changes)))
  }
  const material: PairMaterial = { peer: idA, epoch: 1, ordinal: 0, alg: 1, prk: bytes(32) }
  t.throws(() => new PairSession({ fleet, self: idA, material, aeads: nodeAeads }), RangeError)
  t.end()
})

t.test('arbitrary bytes are refused, and nothing else is thrown', (t) => {
  const { a, b } = pair()
  const start = sealed(a).subarray(0, 16)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(16), (tail, kept) => {
      const code = refusal(() => b.open(concat([start.subarray(0, kept), tail])))
      return ['bad-message', 'forged', 'stale-epoch'].includes(code)
    }),
    { numRuns: 1000 },
  )
  t.pass('no counterexample')
  t.end()
})
