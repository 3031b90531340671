/**
 * Settings, from a YAML or JSON file through a zod shape. Whoever wrote the file hears about all mistakes at once, each
 * with its place: `hub.yaml:3:9  listen.port must be at most 65535, got 99999`.
 *
 * Shapes put the unit into the key (`graceMs`, `cacheBytes`) and the expectation, as a noun phrase, into a check's
 * message: `z.string().regex(address, 'a host and a port like 10.0.0.7:1883')`.
 */

import { readFile } from 'node:fs/promises'
import { type Alias, type Document, isAlias, isMap, isSeq, LineCounter, type Node, parseDocument, visit } from 'yaml'
import { z } from 'zod'
import { Refusal, reasonOf } from './errors.js'
import { complaints, type Complaint, type Path } from './expectation.js'

/** Settings are written by people; what is longer is some other file. */
export const configLimitBytes = 1 << 20
/** More problems than this are one mistake, made early. */
export const shownProblems = 10

/** Settings that were given on the command line: each takes the place of the file's. */
export type Given = Readonly<Record<string, unknown>>

/** Reads a settings file; throws `Refusal('missing-file')` where there is none, `Refusal('bad-config')` for what it says. */
export async function loadConfig<S extends z.ZodType>(path: string, shape: S, given: Given = {}): Promise<z.output<S>> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const reason = error.code === 'ENOENT' ? 'does not exist' : `cannot be read (${error.code})`
    throw new Refusal('missing-file', `${path} ${reason}: name an existing settings file`, { cause: error })
  })
  return parseConfig(text, path, shape, given)
}

/** Settings from the text of a file called `fileName`; an empty text has no key. Throws `Refusal('bad-config')`. */
export function parseConfig<S extends z.ZodType>(
  text: string,
  fileName: string,
  shape: S,
  given: Given = {},
): z.output<S> {
  if (text.length > configLimitBytes) {
    throw new Refusal('bad-config', `${fileName} is longer than ${configLimitBytes} bytes: it is no settings file`)
  }
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, stringKeys: true })
  const problems = [...document.errors, ...document.warnings].map(({ pos, code, message }) => ({
    at: pos[0],
    says: code === 'NON_STRING_KEY' ? 'a key must be a plain text' : `this is no valid YAML: ${message}`,
  }))
  problems.push(...danglingAliases(document))
  if (problems.length > 0) refuse(problems, fileName, lines)

  const value = withGiven(valueOf(document, fileName), given)
  const result = shape.safeParse(value)
  if (result.success) return result.data
  const found = complaints(result.error.issues, shape, value)
  const wrongOptions = found.filter(({ path }) => Object.hasOwn(given, path[0] ?? ''))
  if (wrongOptions.length > 0) refuseGiven(wrongOptions, optionOf)
  const problemsInFile = found.map(({ path, says, about }) => ({ at: placeOf(document, path, about === 'key'), says }))
  return refuse(problemsInFile, fileName, lines)
}

/**
 * Settings that stand in no file, but on a command line or in a program. `spell` gives a setting's name as its writer
 * knows it. Throws `Refusal('bad-config')`.
 */
export function checkSettings<S extends z.ZodType>(given: Given, shape: S, spell = (key: string) => key): z.output<S> {
  const result = shape.safeParse(given)
  return result.success ? result.data : refuseGiven(complaints(result.error.issues, shape, given), spell)
}

/** The option of the command line for a setting: `--hub-key` for `hubKey`. */
export function optionOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

/** What is no map of settings stays as it is: the shape says so. */
function withGiven(value: unknown, given: Given): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value, ...given } : value
}

/** The JSON Schema of what people may write, for editors: `config/schema/*.json` are made by this. */
export function jsonSchemaOf(shape: z.ZodType, title: string): Record<string, unknown> {
  return { ...z.toJSONSchema(shape, { io: 'input' }), title }
}

interface Problem {
  /** Offset in the text. */
  readonly at: number
  readonly says: string
}

function refuseGiven(found: readonly Complaint[], spell: (key: string) => string): never {
  const spelled = found.map(({ path, says }) => {
    const key = String(path[0] ?? '')
    return says.startsWith(key) ? `${spell(key)}${says.slice(key.length)}` : says
  })
  throw new Refusal('bad-config', spelled.join('\n'))
}

function refuse(problems: readonly Problem[], fileName: string, lines: LineCounter): never {
  const sorted = [...problems].sort((a, b) => a.at - b.at)
  const shown = sorted.slice(0, shownProblems).map(({ at, says }) => {
    const { line, col } = lines.linePos(at)
    return `${fileName}:${Math.max(1, line)}:${Math.max(1, col)}  ${says}`
  })
  if (sorted.length > shown.length) shown.push(`… and ${sorted.length - shown.length} more`)
  throw new Refusal('bad-config', shown.join('\n'))
}

/** The document as plain values. Aliases that unfold without end are refused by the parser (a "billion laughs" file). */
function valueOf(document: Document, fileName: string): unknown {
  try {
    return document.contents === null ? {} : document.toJS()
  } catch (error) {
    throw new Refusal('bad-config', `${fileName} cannot be unfolded: ${reasonOf(error)}`, { cause: error })
  }
}

function danglingAliases(document: Document): Problem[] {
  const found: Problem[] = []
  visit(document, {
    Alias(_key, alias: Alias) {
      if (alias.resolve(document) !== undefined) return
      found.push({ at: alias.range?.[0] ?? 0, says: `*${alias.source} refers to an anchor that is not set before it` })
    },
  })
  return found
}

/** Where the value (or the key) at `path` stands; where there is none, the nearest thing around it that is there. */
function placeOf(document: Document, path: Path, wantKey: boolean): number {
  let node: Node | null = document.contents
  let at = node?.range?.[0] ?? 0
  for (const [depth, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document) ?? null
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => String(key) === String(step))
      if (pair === undefined) break
      const key = pair.key as Node
      node = pair.value as Node | null
      at = (wantKey && depth === path.length - 1 ? key : (node ?? key)).range?.[0] ?? at
    } else if (isSeq(node)) {
      node = (node.items[Number(step)] as Node | undefined) ?? null
      at = node?.range?.[0] ?? at
    } else break
  }
  return at
}
