/** Where a hub or a device keeps who it is: a folder of its own with its id and its identity key. */

import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Refusal, reasonOf } from '../errors.js'
import { lockFolder } from '../folder-lock.js'
import { isDeviceId, newDeviceId, type DeviceId } from '../ids.js'
import type { Random } from '../random.js'
import { loadIdentity, newIdentity, saveIdentity, type Identity } from './identity.js'

export interface MemberFile {
  readonly id: DeviceId
  readonly identity: Identity
  /** Lets another process have the folder. */
  readonly release: () => Promise<void>
}

/**
 * Takes `folder` for this process and reads `identity.pem` and `id` in it, which are made at the first start. Throws
 * `Refusal`: `folder-in-use`, or `bad-config` for files that are damaged, that others can read, or that cannot be written.
 */
export async function openMember(folder: string, random: Random): Promise<MemberFile> {
  const lock = await orRefuse(folder, async () => {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    return lockFolder(folder)
  })
  try {
    return { ...(await load(folder, random)), release: () => lock.release() }
  } catch (error) {
    await lock.release()
    throw error
  }
}

async function load(folder: string, random: Random): Promise<Omit<MemberFile, 'release'>> {
  const keyPath = join(folder, 'identity.pem')
  const idPath = join(folder, 'id')
  await orRefuse(folder, async () => {
    if (await exists(idPath)) return
    if (!(await exists(keyPath))) await saveIdentity(keyPath, newIdentity(random))
    await writeNew(idPath, `${newDeviceId(random)}\n`)
  })
  const id = (await readFile(idPath, 'utf8')).trim()
  if (!isDeviceId(id)) {
    throw new Refusal(
      'bad-config',
      `'${idPath}' holds no device id: restore the folder, or remove it to start as a new device`,
    )
  }
  return { id, identity: await loadIdentity(keyPath) }
}

/** A new file, whole or not at all. */
async function writeNew(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') await rm(path, { force: true })
    throw error
  }
}

async function orRefuse<T>(folder: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw new Refusal(
      'bad-config',
      `cannot keep an identity in the folder '${folder}' (${reasonOf(error)}): make it writable, or set 'state' to another`,
      { cause: error },
    )
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
