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
  open(fileHash: Uint8Array, fileBytes: number): Promise<Rest>
  /** Removes every file but these. */
  keep(fileHashes: readonly Uint8Array[]): Promise<void>
}

export function memoryStore(): SegmentStore {
  const files = new Map<string, Uint8Array<ArrayBuffer>>()
  return {
    open(fileHash, fileBytes) {
      const name = toHex(fileHash)
      const bytes = files.get(name) ?? new Uint8Array(fileBytes)
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

/** Files `<hash>.ednw`, with the ending `.part` until they are whole. */
export function folderStore(folder: string): SegmentStore {
  return {
    async open(fileHash, fileBytes) {
      const path = join(folder, `${toHex(fileHash)}.ednw`)
      return onDisk<Rest>(path, async () => {
        await mkdir(folder, { recursive: true, mode: 0o700 })
        const isWhole = await stat(path).then(
          () => true,
          () => false,
        )
        const file = await open(isWhole ? path : `${path}.part`, isWhole ? 'r' : 'a+', 0o600)
        const bytes = new Uint8Array(fileBytes)
        try {
          await file.read(bytes, 0, fileBytes, 0)
        } finally {
          await file.close()
        }
        if (isWhole) return { bytes, write: () => Promise.resolve(), complete: () => Promise.resolve() }
        return {
          bytes,
          write: (offset, content) =>
            onDisk(path, async () => {
              const part = await open(`${path}.part`, 'r+')
              try {
                await part.write(content, 0, content.length, offset)
              } finally {
                await part.close()
              }
            }),
          complete: () => onDisk(path, () => rename(`${path}.part`, path)),
        }
      })
    },
    async keep(fileHashes) {
      const kept = new Set(fileHashes.map(toHex))
      const names = await readdir(folder).catch(() => [])
      for (const name of names) if (!kept.has(name.split('.')[0]!)) await rm(join(folder, name), { force: true })
    },
  }
}

async function onDisk<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    const why = code === 'ENOSPC' ? 'the disk is full: free some room' : reasonOf(error)
    throw new Refusal('bad-segment', `cannot keep the segment file ${path}: ${why}`, { cause: error })
  }
}
