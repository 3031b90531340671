/**
 * The envelope of every MQTT payload (WIRE, "Encodings"): a plain msgpack map around an opaque body. The signature covers
 * the exact bytes of the body together with where, by whom and when it was said, so that it cannot be moved.
 */

import { Packr } from 'msgpackr'
import { z } from 'zod'
import { decodeCanonical, encodeCanonical } from '../cbor.js'
import { Refusal } from '../errors.js'
import { bytes, bytesUpTo, deviceId, uint } from './messages.js'
import { topics, type BodyOf, type TopicName } from './topics.js'

const packr = new Packr({ useRecords: false, moreTypes: false, int64AsType: 'number' })

const envelope = z.strictObject({
  v: z.literal(1),
  /** Names the message for replies and de-duplication. */
  id: bytes(8),
  from: deviceId,
  /** Fresh at every start of the sender's process. */
  bootId: bytes(8),
  /** Grows with every message of this boot; the numbers of a last will are in `outbox.ts`. */
  seq: uint,
  atMs: uint,
  /** Unix time after which nobody obeys the message any more. */
  expiresMs: uint.optional(),
  replyTo: bytes(8).optional(),
  trace: bytes(25).optional(),
  body: bytesUpTo(2 ** 21),
  sig: bytes(64).optional(),
})
export type Envelope = z.infer<typeof envelope>

/** Signs bytes with the sender's Ed25519 key: 64 bytes. */
export type Sign = (message: Uint8Array) => Uint8Array
/** Whether `signature` over `message` is by the key that belongs to the sender. */
export type Verify = (message: Uint8Array, signature: Uint8Array) => boolean

/** The bytes that are signed: domain label, full topic, everything in the envelope, and the body as it travels. */
function signedBytes(topic: string, name: TopicName, said: Omit<Envelope, 'sig'>): Uint8Array {
  return encodeCanonical([
    `tessera/1/${name}`,
    topic,
    said.id,
    said.from,
    said.bootId,
    said.seq,
    said.atMs,
    said.expiresMs ?? null,
    said.replyTo ?? null,
    said.trace ?? null,
    said.body,
  ])
}

/** The payload for one message. Bodies with a shape are CBOR, others go as they are; signed where the table says so. */
export function encodeMessage<N extends TopicName>(
  topic: string,
  name: N,
  body: BodyOf<N>,
  head: Omit<Envelope, 'v' | 'body' | 'sig'>,
  sign: Sign,
): Uint8Array {
  const entry = topics[name]
  const said = {
    v: 1 as const,
    ...head,
    body: entry.body === undefined ? (body as Uint8Array) : encodeCanonical(withoutUndefined(body)),
  }
  const payload = entry.signed ? { ...said, sig: sign(signedBytes(topic, name, said)) } : said
  const packed = packr.pack(payload)
  if (packed.length > entry.maxBytes) {
    throw new Refusal(
      'over-limit',
      `message '${name}' would have ${packed.length} bytes, its topic takes ${entry.maxBytes}`,
    )
  }
  return Uint8Array.from(packed) // pack() returns a slice of a pool that the next call may reuse
}

/** Optional fields that are not there: CBOR has no word for `undefined` that we accept. */
function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .map(([key, field]) => [key, withoutUndefined(field)]),
  )
}

export interface Message<N extends TopicName> {
  readonly name: N
  readonly envelope: Envelope
  readonly body: BodyOf<N>
}

/**
 * Reads and checks a payload. `keyOf` gives the check for the sender's key, or `undefined` for a stranger (a birth may be
 * checked with the key that it carries: pass a function that looks at the body).
 * Throws `Refusal` and nothing else: `over-limit`, `bad-message`, `unknown-sender`, `bad-signature`.
 */
export function decodeMessage<N extends TopicName>(
  topic: string,
  name: N,
  payload: Uint8Array,
  verifierOf: (said: Envelope, body: BodyOf<N>) => Verify | undefined,
): Message<N> {
  const entry = topics[name]
  if (payload.length > entry.maxBytes) {
    throw new Refusal('over-limit', `message '${name}' has ${payload.length} bytes, its topic takes ${entry.maxBytes}`)
  }
  const said = readEnvelope(name, payload)
  const body = readBody(name, said.body)
  if (entry.signed) {
    const verify = verifierOf(said, body)
    if (verify === undefined) {
      throw new Refusal('unknown-sender', `message '${name}' is from ${said.from}, whose key is not known`)
    }
    if (said.sig === undefined || !verify(signedBytes(topic, name, said), said.sig)) {
      throw new Refusal('bad-signature', `message '${name}' from ${said.from} is not signed by its key`)
    }
  }
  return { name, envelope: said, body }
}

function readEnvelope(name: TopicName, payload: Uint8Array): Envelope {
  let value: unknown
  try {
    value = packr.unpack(payload)
  } catch {
    throw new Refusal('bad-message', `message '${name}' is not msgpack`)
  }
  const read = envelope.safeParse(value)
  if (!read.success) throw new Refusal('bad-message', `message '${name}': envelope ${firstIssue(read.error)}`)
  return read.data
}

function readBody<N extends TopicName>(name: N, body: Uint8Array): BodyOf<N> {
  const shape: z.ZodType | undefined = topics[name].body
  if (shape === undefined) return body as BodyOf<N>
  const read = shape.safeParse(decodeCanonical(body))
  if (!read.success) throw new Refusal('bad-message', `message '${name}': ${firstIssue(read.error)}`)
  return read.data as BodyOf<N>
}

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0]!
  return `${issue.path.length === 0 ? 'it' : issue.path.join('.')}: ${issue.message}`
}
