/** What a shape expected and what it got, in words for people: the wording of every complaint about settings. */

import type { z } from 'zod'
import { nearest } from './nearest.js'

export type Path = readonly PropertyKey[]

export interface Complaint {
  readonly path: Path
  /** Whether it is the key that is wrong, or what it holds. */
  readonly about: 'key' | 'value'
  readonly says: string
}

type Issue = z.core.$ZodIssue
type Shape = z.core.$ZodType

/** One complaint for each thing that is wrong in `value`, given what zod found. */
export function complaints(issues: readonly Issue[], shape: Shape, value: unknown): Complaint[] {
  // A value of the wrong type also breaks every rule about its size: that goes without saying.
  const mistyped = new Set(issues.filter(({ code }) => code === 'invalid_type').map(({ path }) => inWords(path)))
  return issues.flatMap((issue): Complaint[] => {
    const path = issue.path
    if (issue.code !== 'invalid_type' && mistyped.has(inWords(path))) return []
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({
        path: [...path, key],
        about: 'key',
        says: `'${inWords([...path, key])}' is not a setting${hint(key, keysAt(shape, path))}`,
      }))
    }
    if (issue.code === 'invalid_key') {
      const wanted = unique(issue.issues.map(expectation)).join(' and ')
      return [{ path, about: 'key', says: `the name '${String(path.at(-1))}' must be ${wanted}` }]
    }
    if (issue.code === 'invalid_union') {
      const meant = meantAlternative(issue)
      if (meant !== undefined) {
        const within = meant.map((inner) => ({ ...inner, path: [...path, ...inner.path] }))
        return complaints(within, shape, value)
      }
    }
    const name = inWords(path)
    return [
      { path, about: 'value', says: `${name} must be ${expectation(issue)}, got ${seen(valueAt(value, path), path)}` },
    ]
  })
}

/** `listen.ports[2]`; the file as a whole where the path is empty. */
function inWords(path: Path): string {
  if (path.length === 0) return 'the file'
  return path
    .map((step, at) => (typeof step === 'number' ? `[${step}]` : `${at === 0 ? '' : '.'}${String(step)}`))
    .join('')
}

const typeWords: Partial<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map of settings',
  record: 'a map of settings',
  null: 'null',
}

function expectation(issue: Issue): string {
  // A check with words of its own says best what it wants; zod's own sentences all begin like this.
  if (!/^(Invalid|Too (small|big)|Unrecognized|No matching)/.test(issue.message))
    return issue.message.replace(/^must be /, '')
  switch (issue.code) {
    case 'invalid_type':
      return typeWords[issue.expected] ?? `a ${issue.expected}`
    case 'invalid_value':
      return anyOf(issue.values.map(quoted))
    case 'too_small':
      return `${issue.inclusive === false ? 'more than' : 'at least'} ${counted(issue.minimum, issue.origin)}`
    case 'too_big':
      return `${issue.inclusive === false ? 'less than' : 'at most'} ${counted(issue.maximum, issue.origin)}`
    case 'not_multiple_of':
      return `a multiple of ${issue.divisor}`
    case 'invalid_format':
      return issue.pattern === undefined ? `a valid ${issue.format}` : `a text like ${issue.pattern}`
    case 'invalid_union':
      if (issue.errors.length === 0) return anyOf(('options' in issue ? issue.options : []).map(quoted))
      return unique(issue.errors.flatMap((alternative) => alternative.map(expectation))).join(' or ')
    case 'unrecognized_keys':
    case 'invalid_key':
    case 'invalid_element':
    case 'custom':
      return 'valid'
  }
}

/** Of alternatives that fail inside, the one that fails least is what its writer had in mind. */
function meantAlternative(issue: z.core.$ZodIssueInvalidUnion): readonly Issue[] | undefined {
  const rightType = issue.errors.filter((alternative) =>
    alternative.every((inner) => inner.path.length > 0 || inner.code !== 'invalid_type'),
  )
  const [first, ...others] = [...rightType].sort((a, b) => a.length - b.length)
  return others.length > 0 && others[0]?.length === first?.length ? undefined : first
}

function counted(limit: number | bigint, origin: string): string {
  if (origin === 'string') return `${limit} ${limit === 1 ? 'character' : 'characters'} long`
  const isList = origin === 'array' || origin === 'set' || origin === 'map'
  return isList ? `${limit} ${limit === 1 ? 'entry' : 'entries'} long` : `${limit}`
}

const clipAt = 40
const secretName = /secret|password|token|key|seed|pin$|code/i

/** The value as it stands, clipped; of what sounds secret, only its length: complaints end in logs. */
function seen(value: unknown, path: Path): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'a map'
  const text = `${value as string | number | boolean | null}`
  if (path.some((step) => secretName.test(String(step)))) return `${text.length} characters`
  const clipped = text.length > clipAt ? `${text.slice(0, clipAt)}…` : text
  return typeof value === 'string' ? `'${clipped}'` : clipped
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce((inner, step) => (Object(inner) as Record<PropertyKey, unknown>)[step], value)
}

function hint(key: string, known: readonly string[]): string {
  const meant = nearest(key, known)
  if (meant !== undefined) return `: did you mean '${meant}'?`
  return known.length === 0 ? '' : `; known here: ${known.join(', ')}`
}

/** The keys that a shape knows at `path`, those of all alternatives together. */
function keysAt(shape: Shape, path: Path): string[] {
  const def = (shape as z.core.$ZodTypes)._zod.def
  if ('innerType' in def) return keysAt(def.innerType, path) // optional, nullable, default, readonly …
  if (def.type === 'pipe') return keysAt(def.in, path)
  if (def.type === 'lazy') return keysAt(def.getter(), path)
  if (def.type === 'union') return unique(def.options.flatMap((option) => keysAt(option, path)))
  if (def.type === 'intersection') return unique([...keysAt(def.left, path), ...keysAt(def.right, path)])
  const [step, ...rest] = path
  if (def.type === 'object' && step === undefined) return Object.keys(def.shape)
  if (step === undefined) return []
  if (def.type === 'array') return keysAt(def.element, rest)
  if (def.type === 'record') return keysAt(def.valueType, rest)
  const inner = def.type === 'object' ? def.shape[String(step)] : undefined
  return inner === undefined ? [] : keysAt(inner, rest)
}

function quoted(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}

function anyOf(alternatives: readonly string[]): string {
  return alternatives.length < 2
    ? alternatives.join('')
    : `${alternatives.slice(0, -1).join(', ')} or ${alternatives.at(-1)}`
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)]
}
