/** Where sealed segment files rest: in a folder of the device, or in memory. They are ciphertext; keys never come here. */

import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { toHex } from '#shared/bytes.js'
import { Refusal, reasonOf } from '#shared/errors.js'

/** A file being received. */
export interface Rest {
  /** What an earlier transfer has left, padded with zeros to the file's size. */
  readonly bytes: Uint8Array<ArrayBuffer>
  write(offset: number, content: Uint8Array): Promise<void>
  /** All blocks are here and good. */
  complete(): Promise<void>
}

export interface SegmentStore {
  /** Throws `Refusal('bad-segment')` where files cannot be kept. */
  open(fileHash: Uint8Array, fileBytes: number): Promise<Rest>
  /** Removes every file but these. */
  keep(fileHashes: readonly Uint8Array[]): Promise<void>
}

export function memoryStore(): SegmentStore {
  const files = new Map<string, Uint8Array<ArrayBuffer>>()
  return {
    open(fileHash, fileBytes) {
      const name = toHex(fileHash)
      const known = files.get(name)
      const bytes = known?.length === fileBytes ? known : new Uint8Array(fileBytes)
      files.set(name, bytes)
      return Promise.resolve({ bytes, write: () => Promise.resolve(), complete: () => Promise.resolve() })
    },
    keep(fileHashes) {
      const kept = new Set(fileHashes.map(toHex))
      for (const name of files.keys()) if (!kept.has(name)) files.delete(name)
      return Promise.resolve()
    },
  }
}

const ending = '.ednw'
const partEnding = '.ednw.part'

/**
 * Files `<hash>.ednw`, with the ending `.part` until they are whole. What a whole file holds is not believed either: a
 * block that went bad is written again.
 */
export function folderStore(folder: string): SegmentStore {
  return {
    async open(fileHash, fileBytes) {
      const whole = join(folder, `${toHex(fileHash)}${ending}`)
      const part = join(folder, `${toHex(fileHash)}${partEnding}`)
      return onDisk<Rest>(whole, async () => {
        await mkdir(folder, { recursive: true, mode: 0o700 })
        const isWhole = await exists(whole)
        const path = isWhole ? whole : part
        return {
          bytes: await read(path, fileBytes),
          write: (offset, content) => onDisk(path, () => write(path, offset, content)),
          complete: () => (isWhole ? Promise.resolve() : onDisk(whole, () => rename(part, whole))),
        }
      })
    },
    async keep(fileHashes) {
      const kept = new Set(fileHashes.map(toHex))
      await onDisk(folder, async () => {
        if (!(await exists(folder))) return
        for (const name of await readdir(folder)) {
          const isOurs = name.endsWith(ending) || name.endsWith(partEnding)
          if (isOurs && !kept.has(name.split('.')[0]!)) await rm(join(folder, name), { force: true })
        }
      })
    },
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

/** The first `length` bytes of a file, made if missing; zeros for what it has not. */
async function read(path: string, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length)
  const file = await open(path, 'a+', 0o600)
  try {
    for (let at = 0; at < length;) {
      const { bytesRead } = await file.read(bytes, at, length - at, at)
      if (bytesRead === 0) break
      at += bytesRead
    }
    return bytes
  } finally {
    await file.close()
  }
}

async function write(path: string, offset: number, content: Uint8Array): Promise<void> {
  const file = await open(path, 'r+')
  try {
    for (let at = 0; at < content.length;) {
      at += (await file.write(content, at, content.length - at, offset + at)).bytesWritten
    }
  } finally {
    await file.close()
  }
}

/** No space, no quota, and more than a file may have. */
const noRoom = ['ENOSPC', 'EDQUOT', 'EFBIG']

async function onDisk<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    const why = noRoom.includes(code ?? '')
      ? `the disk is full (${code}): free some room`
      : `${reasonOf(error)}: make the folder usable`
    throw new Refusal('bad-segment', `cannot keep the segment file ${path}: ${why}, then start the device again`, {
      cause: error,
    })
  }
}
