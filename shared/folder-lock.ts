/**
 * One process at a time in a folder. The lock is a socket that nobody talks to: the system takes it down with the
 * process, however that ends, so that no stale lock ever bars the way.
 */

import { createHash } from 'node:crypto'
import { realpath, rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Refusal } from './errors.js'

export interface FolderLock {
  readonly release: () => Promise<void>
}

/** Takes the folder, which must exist. Throws `Refusal('folder-in-use')` while another process, or this one, holds it. */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const path = socketOf(await realpath(folder))
  let server = await listen(path)
  if (server === undefined && !isNamed && !(await answers(path))) {
    await rm(path, { force: true }) // its process was killed
    server = await listen(path)
  }
  if (server === undefined) {
    throw new Refusal(
      'folder-in-use',
      `another process runs from the folder '${folder}': set 'state' to a folder of its own, or stop the other one`,
    )
  }
  const held = server
  return { release: () => new Promise((resolve) => held.close(() => resolve())) }
}

/** Linux and Windows have sockets with names of their own; elsewhere a socket is a file, which a killed process leaves. */
const isNamed = process.platform === 'linux' || process.platform === 'win32'

function socketOf(folder: string): string {
  const name = `tessera-${createHash('sha256').update(folder).digest('hex').slice(0, 32)}`
  if (process.platform === 'linux') return `\0${name}`
  return process.platform === 'win32' ? `\\\\.\\pipe\\${name}` : join(tmpdir(), `${name}.sock`)
}

function listen(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((stranger) => stranger.destroy())
    server.unref() // a lock keeps no process alive
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    server.listen(path, () => resolve(server))
  })
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
