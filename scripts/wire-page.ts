/** `docs/wire.md`: the topic table and the shape of every message, as the code declares them. */

import { z } from 'zod'
import { topics, type Topic } from '#shared/protocol/topics.js'

type Shape = z.core.$ZodType

const intro = `# The wire

Made by \`npm run generate\` from \`shared/protocol/topics.ts\` and \`messages.ts\`; not written by hand.

All topics are below \`tessera/1/<fleet>/\`. \`<D>\` is the id of the device whose branch it is, \`<from>\` that of a peer.
Every payload is a msgpack envelope \`{v, id, from, bootId, seq, atMs, expiresMs?, replyTo?, trace?, body, sig?}\`. Where a
topic is signed, \`sig\` is the sender's Ed25519 signature over the exact bytes of \`body\` under the topic's name, and the
body is deterministic CBOR. QoS 2 is never used. Tensors travel in sealed frames only: over direct TCP links, or through
\`in\` and \`ok\` of the relay broker.
`

export function wirePage(): string {
  const entries: [string, Topic][] = Object.entries(topics)
  const rows = entries.map(([name, topic]) => [
    `\`${topic.path}\``,
    name,
    `${topic.from} → ${topic.to}`,
    `${topic.qos}${topic.retain ? ', retained' : ''}`,
    showBytes(topic.maxBytes),
    topic.signed ? 'signed' : '',
    topic.plane,
    topic.about,
  ])
  const head = ['topic', 'name', 'from → to', 'QoS', 'at most', 'signed', 'broker', 'what for']
  const bodies = entries.flatMap(([name, { body }]) =>
    body === undefined ? [] : [`### ${name}\n\n${table(['field', 'what it holds'], fieldsOf(body, ''))}`],
  )
  return `${intro}\n## Topics\n\n${table(head, rows)}\n## Bodies\n\n\`?\` marks a field that may be absent; no others are taken.\n\n${bodies.join('\n')}`
}

function fieldsOf(shape: Shape, path: string): string[][] {
  const def = defOf(shape)
  if (def.type === 'object') {
    return Object.entries(def.shape).flatMap(([key, inner]) => {
      const { type, isOptional } = unwrapped(inner)
      const name = `${path}${path === '' ? '' : '.'}${key}${isOptional ? '?' : ''}`
      return nested(type) ? fieldsOf(type, name) : [[`\`${name}\``, inWords(type)]]
    })
  }
  if (def.type === 'array') return fieldsOf(def.element, `${path}[]`)
  if (def.type === 'union') return def.options.flatMap((option) => alternative(option, path))
  return [[`\`${path}\``, inWords(shape)]]
}

function defOf(shape: Shape): z.core.$ZodTypes['_zod']['def'] {
  return (shape as z.core.$ZodTypes)._zod.def
}

/** Whether a shape has fields of its own. */
function nested(shape: Shape): boolean {
  const def = defOf(shape)
  if (def.type === 'array') return nested(def.element)
  return def.type === 'object' || (def.type === 'union' && def.options.some((option) => nested(option)))
}

function unwrapped(shape: Shape): { type: Shape; isOptional: boolean } {
  const def = defOf(shape)
  return def.type === 'optional' ? { type: def.innerType, isOptional: true } : { type: shape, isOptional: false }
}

/** The fields of one alternative, which its `kind` tells from the others. */
function alternative(option: Shape, path: string): string[][] {
  const def = defOf(option)
  const kind = def.type === 'object' ? inWords(def.shape['kind']!) : inWords(option)
  return fieldsOf(option, path).map(([name, what]) => [`${name} of ${kind}`, what!])
}

function inWords(shape: Shape): string {
  const def = defOf(shape)
  if (def.type === 'enum') return Object.values(def.entries).map(quoted).join(' or ')
  if (def.type === 'literal') return def.values.map(quoted).join(' or ')
  if (def.type === 'union') return def.options.map((option) => inWords(option)).join(' or ')
  if (def.type === 'custom') return expectationOf(shape)
  const { maxLength, maxItems, minimum, maximum } = z.toJSONSchema(shape, { unrepresentable: 'any' })
  if (def.type === 'array') return `list${upTo(maxItems, ' of at most')}, each ${inWords(def.element)}`
  if (def.type === 'string') return `text${upTo(maxLength, ' of at most', ' characters')}`
  if (def.type === 'number') return `whole number${upTo(minimum, ' from')}${upTo(maximum, ' to')}`
  return def.type
}

/** A limit in words; nothing for one that every number keeps. */
function upTo(limit: number | undefined, before: string, after = ''): string {
  return limit === undefined || Math.abs(limit) >= Number.MAX_SAFE_INTEGER ? '' : `${before} ${limit}${after}`
}

/** A check of our own says what it wants when it is not met. */
function expectationOf(shape: Shape): string {
  const { error } = z.safeParse(shape, undefined)
  return error?.issues[0]?.message.replace(/^must be /, '') ?? ''
}

function quoted(value: unknown): string {
  return `\`${String(value)}\``
}

function showBytes(bytes: number): string {
  return `${bytes / 1024} KiB`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('')
}
