/** Which key epoch a hub is in: kept on disk, since it may never go back while a device that knows a later one lives. */

import { open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { Refusal, reasonOf } from '#shared/errors.js'

const maxEpoch = 2 ** 32 - 1

/**
 * The epoch of a hub that starts: one above that of its last start, noted before it is used. The seeds of the hub die with
 * its process, so no two starts may share an epoch. Throws `Refusal('bad-config')`.
 */
export async function nextEpoch(folder: string): Promise<number> {
  const path = join(folder, 'epoch')
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '0'
    throw new Refusal('bad-config', `cannot read '${path}' (${reasonOf(error)}): make it readable`, { cause: error })
  })
  const last = Number(text)
  if (!/^\d+\s*$/.test(text) || last >= maxEpoch) {
    throw new Refusal(
      'bad-config',
      `'${path}' holds no epoch: write the last one into it, or a number above all that devices may have seen`,
    )
  }
  try {
    const file = await open(`${path}.new`, 'w', 0o600)
    try {
      await file.writeFile(`${last + 1}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(`${path}.new`, path)
  } catch (error) {
    throw new Refusal('bad-config', `cannot write '${path}' (${reasonOf(error)}): make room, or make it writable`, {
      cause: error,
    })
  }
  return last + 1
}
