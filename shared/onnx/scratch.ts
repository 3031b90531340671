/** A private folder for files that an engine insists on. Models never touch a disk in clear: memory where there is some. */

import { access, constants, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Gives `use` a fresh folder of mode 0700, on tmpfs where the system has one, and removes it whatever happens. */
export async function withScratch<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const inMemory = await access('/dev/shm', constants.W_OK).then(
    () => true,
    () => false,
  )
  const folder = await mkdtemp(join(inMemory ? '/dev/shm' : tmpdir(), 'tessera-'))
  try {
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
