/** Where a hub or a device keeps who it is: a folder of its own with its id and its identity key. */

import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Refusal, reasonOf } from '../errors.js'
import { isDeviceId, newDeviceId, type DeviceId } from '../ids.js'
import type { Random } from '../random.js'
import { loadIdentity, newIdentity, saveIdentity, type Identity } from './identity.js'

export interface MemberFile {
  readonly id: DeviceId
  readonly identity: Identity
}

/**
 * Reads `identity.pem` and `id` in `folder`, which are made at the first start. Throws `Refusal('bad-config')` for files
 * that are damaged, that others can read, or that cannot be written.
 */
export async function loadMember(folder: string, random: Random): Promise<MemberFile> {
  const keyPath = join(folder, 'identity.pem')
  const idPath = join(folder, 'id')
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    if (!(await exists(idPath))) {
      if (!(await exists(keyPath))) await saveIdentity(keyPath, newIdentity(random))
      await writeFile(idPath, `${newDeviceId(random)}\n`, { mode: 0o600, flag: 'wx' })
    }
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw new Refusal('bad-config', `cannot keep an identity in '${folder}': ${reasonOf(error)}`, { cause: error })
  }
  const id = (await readFile(idPath, 'utf8')).trim()
  if (!isDeviceId(id)) {
    throw new Refusal(
      'bad-config',
      `'${idPath}' holds no device id: restore the folder, or remove it to start as a new device`,
    )
  }
  return { id, identity: await loadIdentity(keyPath) }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
