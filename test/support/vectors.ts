import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fromHex } from '#shared/bytes.js'

const own = resolve(import.meta.dirname, '../../../test/vectors')

/** The parsed JSON of one of our own vector files (`test/vectors`). */
export function ownVectors(name: string): unknown {
  return readJson(resolve(own, name))
}

export function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8')) as unknown
}

/** The bytes of a hex string in a vector. */
export const hex = fromHex
