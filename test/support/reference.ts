import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
const root = resolve(process.env['TESSERA_REFERENCE'] ?? resolve(import.meta.dirname, '../../../../shared'))
/** The path of a file or folder of the reference material, or undefined where this machine does not have it. */
export function referencePath(...parts: string[]): string | undefined {
  const path = resolve(root, ...parts)
  return existsSync(path) ? path : undefined
}
