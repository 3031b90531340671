import t from 'tap'
import * as fc from 'fast-check'
import { Packr } from 'msgpackr'
import { newIdentity, verifyWith } from '#shared/crypto/identity.js'
import { newDeviceId, newFleetId } from '#shared/ids.js'
import { decodeMessage, encodeMessage, type Envelope, type Message } from '#shared/protocol/codec.js'
import { topicOf, topics, type BodyOf, type TopicName } from '#shared/protocol/topics.js'
import { seededRandom } from '#shared/random.js'
import { sampleBody, topicNames } from '#test/support/messages.js'

const random = seededRandom('codec')
const fleet = newFleetId(random)
const identity = newIdentity(random)
const verify = verifyWith(identity.publicKey)
const from = newDeviceId(random)
const other = newDeviceId(random)
const head: Omit<Envelope, 'v' | 'body' | 'sig'> = {
  id: random(8),
  from,
  bootId: random(8),
  seq: 7,
  atMs: 1_700_000_000_000,
}
const topicFor = (name: TopicName): string =>
  topicOf(
    fleet,
    name,
    ...(name === 'blob' ? [from, 'ab12', 1] : [from, other].slice(0, topics[name].path.split('<').length - 1)),
  )
const packr = new Packr({ useRecords: false, moreTypes: false, int64AsType: 'number' })

const encode = (name: TopicName, body: unknown = sampleBody(name), said = head): Uint8Array =>
  encodeMessage(topicFor(name), name, body as BodyOf<TopicName>, said, identity.sign)
const decode = <N extends TopicName>(name: N, payload: Uint8Array, topic = topicFor(name)): Message<N> =>
  decodeMessage(topic, name, payload, () => verify)
/** The same message with its envelope changed on the way. */
const changed = (name: TopicName, change: (said: Record<string, unknown>) => void): Uint8Array => {
  const said = packr.unpack(encode(name)) as Record<string, unknown>
  change(said)
  return packr.pack(said)
}
const signedNames = topicNames.filter((name) => topics[name].signed)

t.test('every message is read as it was said', (t) => {
  const extra = { expiresMs: 1_700_000_001_000, replyTo: random(8), trace: random(25) }
  for (const name of topicNames) {
    const { envelope, body } = decode(name, encode(name, sampleBody(name), { ...head, ...extra }))
    t.same(body, sampleBody(name), name)
    t.match(envelope, { from, seq: 7, atMs: head.atMs, expiresMs: extra.expiresMs })
    t.same(envelope.replyTo, extra.replyTo)
    t.equal(envelope.sig !== undefined, topics[name].signed)
  }
  t.end()
})

t.test('optional fields may be absent or undefined: both are the same on the wire', (t) => {
  const absent = { rev: 1, state: 'ready' as const }
  t.same(encode('assigned', { ...absent, reason: undefined, computeUs: undefined }), encode('assigned', absent))
  t.end()
})

t.test('a payload does not change when the next one is made', (t) => {
  const first = encode('peer', new Uint8Array(100).fill(1))
  const copy = Uint8Array.from(first)
  for (let i = 0; i < 100; i++) encode('peer', new Uint8Array(100).fill(2))
  t.same(first, copy)
  t.end()
})

t.test('a signed message is refused once anything in it or about it is another', (t) => {
  const changes: Record<string, (said: Record<string, unknown>) => void> = {
    id: (said) => (said['id'] = new Uint8Array(8)),
    from: (said) => (said['from'] = other),
    bootId: (said) => (said['bootId'] = new Uint8Array(8)),
    seq: (said) => (said['seq'] = 8),
    atMs: (said) => (said['atMs'] = 1),
    expiresMs: (said) => (said['expiresMs'] = 1),
    replyTo: (said) => (said['replyTo'] = new Uint8Array(8)),
    trace: (said) => (said['trace'] = new Uint8Array(25)),
    sig: (said) => (said['sig'] = new Uint8Array(64)),
    'no sig': (said) => delete said['sig'],
  }
  for (const name of signedNames) {
    for (const [field, change] of Object.entries(changes)) {
      t.throws(
        () => decode(name, changed(name, change)),
        { name: 'Refusal', code: 'bad-signature' },
        `${name}: ${field}`,
      )
    }
    const foreign = topicFor(name).replace(fleet, newFleetId(random))
    t.throws(() => decode(name, encode(name), foreign), { code: 'bad-signature' }, `${name}: on another topic`)
  }
  t.throws(
    () => decodeMessage(topicFor('status'), 'status', encode('status'), () => verifyWith(random(32))),
    { code: 'bad-signature' },
    'by another key',
  )
  t.throws(() => decodeMessage(topicFor('status'), 'status', encode('status'), () => undefined), {
    code: 'unknown-sender',
  })
  const flipped = encode('command')
  const said = packr.unpack(flipped) as Envelope
  const body = Uint8Array.from(said.body)
  body[body.length - 1]! ^= 1 // 'drain' becomes 'draio', which is no command
  t.throws(() => decode('command', packr.pack({ ...said, body })), { code: 'bad-message' })
  t.end()
})

t.test('an envelope with a field missing, too many, of another type or length is refused', (t) => {
  const fields: Record<string, readonly unknown[]> = {
    v: [undefined, 0, 2, '1'],
    id: [undefined, new Uint8Array(7), new Uint8Array(9), 'abcdefgh', null],
    from: [undefined, from + '0', from.slice(1), 'hub', 'constructor', '', 7],
    bootId: [undefined, new Uint8Array(7), new Uint8Array(9), 5],
    seq: [undefined, -1, 1.5, 2 ** 53, NaN, Infinity, '7', null],
    atMs: [undefined, -1, 0.5, 'now'],
    expiresMs: [-1, '1', null],
    replyTo: [new Uint8Array(0), new Uint8Array(9), null],
    trace: [new Uint8Array(24), new Uint8Array(26), ''],
    body: [undefined, 'text', 7, null, [], {}],
    sig: [new Uint8Array(63), new Uint8Array(65), null, ''],
    more: [1],
  }
  for (const [field, values] of Object.entries(fields)) {
    for (const value of values) {
      const payload = changed('peer', (said) => {
        if (value === undefined) delete said[field]
        else said[field] = value
      })
      t.throws(() => decode('peer', payload), { name: 'Refusal', code: 'bad-message' }, `${field} = ${String(value)}`)
    }
  }
  for (const payload of [packr.pack(7), packr.pack([]), packr.pack(null), new Uint8Array(0), Uint8Array.of(0xc1)]) {
    t.throws(() => decode('peer', payload), { name: 'Refusal', code: 'bad-message' })
  }
  t.end()
})

/** Every value inside a body, with a way to replace it. */
function* leavesOf(
  body: unknown,
  path = '',
): Generator<{ path: string; value: unknown; with: (value: unknown) => unknown }> {
  if (typeof body !== 'object' || body === null || body instanceof Uint8Array) return
  for (const [key, value] of Object.entries(body)) {
    const replaced = (next: unknown): unknown =>
      Array.isArray(body) ? body.with(Number(key), next) : { ...body, [key]: next }
    yield { path: `${path}.${key}`, value, with: replaced }
    for (const leaf of leavesOf(value, `${path}.${key}`)) yield { ...leaf, with: (next) => replaced(leaf.with(next)) }
  }
}

const wrongFor = (value: unknown): readonly unknown[] => {
  if (typeof value === 'string') return [7, 'x'.repeat(3000), null, new Uint8Array(1)]
  if (typeof value === 'number') return ['1', -1, 0.5, null]
  if (typeof value === 'boolean') return [1, 'true', null]
  if (value instanceof Uint8Array) return ['text', 7, null]
  if (Array.isArray(value)) return [null, {}, [null]]
  return [null, 7, [], { ...(value as object), unexpected: 1 }]
}

/** Fields that a body may lack. */
const optional = new Set([
  'assignment.work.sends.0.tensors.0.slice',
  'assigned.reason',
  'assigned.blocks',
  'assigned.computeUs',
])

t.test('a body with any field missing, too many, too long or of another type is refused, well signed or not', (t) => {
  for (const name of signedNames) {
    const body = sampleBody(name)
    for (const { path, value, with: replaced } of leavesOf(body)) {
      for (const wrong of wrongFor(value)) {
        const refused = { name: 'Refusal', code: 'bad-message' }
        t.throws(
          () => decode(name, encode(name, replaced(wrong))),
          refused,
          `${name}${path} = ${String(wrong).slice(0, 20)}`,
        )
      }
      if (/\.\d+$/.test(path)) continue // an element of a list
      const payload = encode(name, replaced(undefined))
      if (optional.has(name + path)) t.ok(decode(name, payload))
      else t.throws(() => decode(name, payload), { name: 'Refusal', code: 'bad-message' }, `${name}${path} missing`)
    }
    t.throws(() => decode(name, encode(name, { ...(body as object), more: 1 })), { code: 'bad-message' })
  }
  t.end()
})

t.test('lists and byte strings stop at their limits', (t) => {
  const address = { host: 'h', port: 1 }
  const tooMuch: readonly [TopicName, unknown][] = [
    ['endpoint', { addresses: Array.from({ length: 9 }, () => address) }],
    ['endpoint', { addresses: [{ host: 'h'.repeat(256), port: 1 }] }],
    ['endpoint', { addresses: [{ host: 'h', port: 65_536 }] }],
    ['birth', { ...sampleBody('birth'), name: 'n'.repeat(65) }],
    ['birth', { ...sampleBody('birth'), key: new Uint8Array(33) }],
    ['birth', { ...sampleBody('birth'), key: new Uint8Array(31) }],
    ['root', { ...sampleBody('root'), box: new Uint8Array(129) }],
    ['root', { ...sampleBody('root'), ordinal: 65_536 }],
    ['blobGet', { ...sampleBody('blobGet'), count: 8193 }],
    ['blobGet', { ...sampleBody('blobGet'), count: 0 }],
    ['blobGet', { ...sampleBody('blobGet'), missing: new Uint8Array(1025) }],
  ]
  for (const [name, body] of tooMuch)
    t.throws(() => decode(name, encode(name, body)), { name: 'Refusal', code: 'bad-message' })
  t.end()
})

t.test('a message above the limit of its topic is neither made nor read', (t) => {
  for (const name of topicNames) {
    const { maxBytes } = topics[name]
    if (topics[name].body === undefined) {
      t.throws(() => encode(name, new Uint8Array(maxBytes)), { name: 'Refusal', code: 'over-limit' }, name)
    }
    t.throws(() => decode(name, new Uint8Array(maxBytes + 1)), { name: 'Refusal', code: 'over-limit' }, name)
  }
  t.end()
})

t.test('a body in any other than its deterministic encoding is refused', (t) => {
  const proper = (packr.unpack(encode('status')) as Envelope).body
  t.equal(proper[0], 0xa1, 'a map of one')
  const stretched = Uint8Array.from([0xb8, 1, ...proper.subarray(1)]) // the same, with its length in a byte of its own
  const said = { v: 1, ...head, body: stretched, sig: identity.sign(stretched) }
  t.throws(() => decode('status', packr.pack(said)), { code: 'bad-message' })
  t.end()
})

t.test('whatever bytes come, they are refused by name', (t) => {
  const messages = topicNames.map((name) => [name, encode(name)] as const)
  fc.assert(
    fc.property(
      fc.constantFrom(...messages),
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      ([name, valid], flips) => {
        const bytes = Uint8Array.from(valid)
        for (const [at, value] of flips) bytes[at % bytes.length] = value
        try {
          decode(name, bytes)
        } catch (error) {
          t.match(error, { name: 'Refusal' })
        }
      },
    ),
    { numRuns: 1000 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(...topicNames), (bytes, name) => {
      t.throws(() => decode(name, bytes), { name: 'Refusal' })
    }),
    { numRuns: 500 },
  )
  t.end()
})
