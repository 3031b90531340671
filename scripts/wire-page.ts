/** The reference page of the wire, `docs/wire.md`, from the topic table; `npm run generate` writes it. */

import { z } from 'zod'
import { chunkBytes } from '#shared/protocol/chunk.js'
import { topics, type Topic } from '#shared/protocol/topics.js'

const entries: readonly (readonly [string, Topic])[] = Object.entries(topics)

/** The whole page, in Markdown. */
export function wirePage(): string {
  return `${[intro(), tableOf('control'), tableOf('relay'), envelope, rules(), legs, shapes()].join('\n\n')}\n`
}

function intro(): string {
  return `# The wire: MQTT topics and messages

<!-- Made from shared/protocol/topics.ts: change that, then run "npm run generate". -->

MQTT 3.1.1. Every topic lies below \`tessera/1/<fleet>/\`. A fleet is \`f\` and 16 lower-case hex digits, a device \`d\` and 32;
the text form of a device is its MQTT client id. \`<D>\` is the device whose branch a topic lies in, \`<from>\` the one that
writes to it. Nothing outside these tables is carried, and QoS 2 is not used.`
}

function tableOf(plane: Topic['plane']): string {
  const title = {
    control: '## Control\n\nCarried by the broker in the hub.',
    relay: `## Relay\n\nCarried by a broker of its own, on a port of its own, for frames between devices that have no direct link.`,
  }[plane]
  const rows = entries
    .filter(([, entry]) => entry.plane === plane)
    .map(([name, entry]) => {
      const how = `${entry.qos}${entry.retain ? ', kept' : ''}`
      const body = entry.body === undefined ? 'opaque' : `[${name}](#${name.toLowerCase()})`
      const cells = [`\`${entry.path}\``, `${entry.from} → ${entry.to}`, how, sizeOf(entry.maxBytes), body, entry.about]
      return `| ${cells.join(' | ')} |`
    })
  return [
    title,
    '',
    '| topic | from → to | QoS | at most | body | |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n')
}

function sizeOf(bytes: number): string {
  return `${bytes / 1024} KiB`
}

const envelope = `## Envelope

Every payload is one msgpack map:

| field | |
| --- | --- |
| \`v\` | 1 |
| \`id\` | 8 bytes, names the message |
| \`from\` | the device that speaks; the hub has an id like a device |
| \`bootId\` | 8 bytes, fresh at every start of the sender's process |
| \`seq\` | grows with every message of a boot; a last will counts after all of its own connection and before all of the next |
| \`atMs\` | when it was said, Unix time in milliseconds |
| \`expiresMs\` | optional; nobody obeys it after this time |
| \`replyTo\` | optional; 8 bytes, the id of the message that is answered |
| \`trace\` | optional; 25 bytes, W3C trace context in binary |
| \`body\` | bytes: deterministic CBOR (RFC 8949, 4.2.1) where the body has a shape, else opaque (sealed frames, hashed blocks) |
| \`sig\` | 64 bytes where the body has a shape: Ed25519 over the deterministic CBOR of \`["tessera/1/<name>", topic, id, from, bootId, seq, atMs, expiresMs or null, replyTo or null, trace or null, body]\` |

A receiver checks, in this order: size, shape, that \`from\` is whose topic it is, signature, expiry, and that \`seq\` grew since
the last message of this boot on this topic. An empty payload on a kept topic makes the broker forget it; being unsigned, it
orders nothing.`

function rules(): string {
  return `## Rules

- A device publishes on its own branch where the table says \`device\`, and where it says \`peer\` on \`d/<other>/…/<itself>\` of
  its peers (the other ends of its edges in any live plan) and of the hub. QoS and retain flag must be those of the table.
- It subscribes to exactly these filters: each topic to \`all\`; each topic to \`device\` in its own branch, with \`+\` for the
  further levels; each topic to \`hub and peers\` in the branch of each peer. No wider and no narrower ones.
- Sessions are clean; the keepalive is 5 to 120 s; the last will, if any, is a signed \`status\` of \`offline\` on the own topic.
- The user name is not looked at. The password is 32 bytes: on the relay the token that the hub handed out, on the control
  plane whatever the first connection of this id brought.
- What is refused is acknowledged, dropped and counted; who goes on is banned for a minute. What comes late for a former
  peer is dropped and counted only.
- The body of \`in\` is a chunk of a frame: frame number (uint32), part and parts (uint16 each), big-endian, then data; all parts
  but the last have ${chunkBytes} bytes.`
}

const legs = `## Legs

A plan is a graph of stages, numbered so that each takes from earlier ones only. What one sends to another for a request is one
frame, and a leg of the assignment of either end:

- \`stage\` is the stage at the other end; the number of stages stands for the client. A frame names the stage that is to take it.
- \`devices\` hold that stage. Request number r of a client goes to, and comes from, \`devices[r mod count]\`; with none, the client
  whose request it is. Whoever else sends it is refused.
- \`tensors\` is all that goes. With a \`slice\`, only a part of the tensor of this name that this end has: \`shape[axis]\` elements from
  \`at\` on, of \`of\`. A receiver's slices of a tensor make it up: none twice, none over another, none missing.

A stage runs a request when a frame of it has come by each leg of \`takes\`, sends by each leg of \`sends\`, and tells those that sent it
that it is settled when all to whom it went have settled it. A failure that comes by one leg goes out by all, when the others have
come. \`clients\` names the process (bootId) of each client that runs now: what an earlier one of it asked, nobody waits for.
What a hop took rides in the frame, once for each stage that it came through.`

function shapes(): string {
  const sections = entries.flatMap(([name, { body }]) => {
    if (body === undefined) return []
    return [
      `### ${name}`,
      '',
      '```text',
      printed(z.toJSONSchema(body, { unrepresentable: 'any', override: bytesOverride })),
      '```',
      '',
    ]
  })
  return ['## Bodies', '', 'Fields that may be absent have a `?`; no other fields are allowed.', '', ...sections]
    .join('\n')
    .trimEnd()
}

/** Byte strings are custom checks for zod; their message says how long they are. */
function bytesOverride({
  zodSchema,
  jsonSchema,
}: {
  zodSchema: z.core.$ZodTypes
  jsonSchema: Record<string, unknown>
}): void {
  if (zodSchema._zod.def.type !== 'custom') return
  const probe = z.safeParse(zodSchema, Symbol('nothing is like this'))
  const says = probe.success ? '' : (probe.error.issues[0]?.message ?? '')
  jsonSchema['title'] = says.replace(/^must be /, '').replace(/^bytes, at most (\d+)$/, 'at most $1 bytes')
}

interface Schema {
  readonly type?: string
  readonly title?: string
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly minimum?: number
  readonly maximum?: number
  readonly maxLength?: number
  readonly maxItems?: number
}

function printed(given: unknown, indent = ''): string {
  const schema = given as Schema
  const inner = `${indent}  `
  const choices = schema.anyOf ?? schema.oneOf
  if (schema.title !== undefined) return schema.title
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  if (choices !== undefined) return choices.map((one) => printed(one, indent)).join(' | ')
  if (schema.type === 'object') {
    const fields = Object.entries(schema.properties ?? {}).map(([name, field]) => {
      const mark = schema.required?.includes(name) === true ? '' : '?'
      return `${inner}${name}${mark}: ${printed(field, inner)}`
    })
    return `{\n${fields.join('\n')}\n${indent}}`
  }
  if (schema.type === 'array') return `at most ${schema.maxItems} of ${printed(schema.items, indent)}`
  if (schema.type === 'string') return `text, at most ${schema.maxLength} characters`
  if (schema.type === 'integer')
    return `${schema.minimum}..${schema.maximum === Number.MAX_SAFE_INTEGER ? '' : schema.maximum}`
  return schema.type ?? 'anything'
}
