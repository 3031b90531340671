/** Profiles at rest: one JSON file in the hub's folder, replaced in one step, so that others may read it at any time. */

import { open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { z } from 'zod'
import type { Cancel, Clock } from '#shared/clock.js'
import { Refusal, reasonOf } from '#shared/errors.js'

const fileName = 'profiles.json'
/** Changes that come one after the other are written together. */
const writeAfterMs = 500
/** A file of profiles; a larger one is not read. */
const maxFileBytes = 64 << 20

/**
 * What a hub's folder holds; `undefined` where it holds none. Throws `Refusal('bad-config')` for a file that cannot be read
 * or is none of this version.
 */
export async function readProfiles<T>(folder: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const path = join(folder, fileName)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new Refusal('bad-config', `cannot read '${path}' (${reasonOf(error)}): make it readable`, { cause: error })
  }
  const read = text.length > maxFileBytes ? undefined : schema.safeParse(parsed(text))
  if (read?.success === true) return read.data
  const issue = read?.error.issues[0]
  const why = issue === undefined ? 'it is too large' : `${issue.path.join('.') || 'it'}: ${issue.message}`
  throw new Refusal('bad-config', `'${path}' holds no profiles of this version (${why}): remove it, they are made anew`)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Keeps a value, and a copy of it in a folder where there is one. */
export class ProfileStore<T> {
  readonly #folder: string | undefined
  readonly #clock: Clock
  readonly #onFailure: (reason: Refusal) => void
  #value: T
  #cancel: Cancel | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(options: { value: T; clock: Clock; folder?: string; onFailure?: (reason: Refusal) => void }) {
    this.#value = options.value
    this.#clock = options.clock
    this.#folder = options.folder
    this.#onFailure = options.onFailure ?? (() => {})
  }

  get value(): T {
    return this.#value
  }

  set(value: T): void {
    this.#value = value
    if (this.#folder !== undefined) this.#cancel ??= this.#clock.after(writeAfterMs, () => this.#write())
  }

  /** Resolves when all is written. */
  async close(): Promise<void> {
    if (this.#cancel !== undefined) this.#write()
    await this.#writing
  }

  #write(): void {
    this.#cancel?.()
    this.#cancel = undefined
    const text = `${JSON.stringify(this.#value, undefined, 2)}\n`
    const path = join(this.#folder!, fileName)
    this.#writing = this.#writing
      .then(() => replace(path, text))
      .catch((error: unknown) => {
        this.#onFailure(new Refusal('bad-config', `cannot write '${path}' (${reasonOf(error)}): make room`))
      })
  }
}

async function replace(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
}
