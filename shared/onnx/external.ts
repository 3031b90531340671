/** Weights kept in files beside the model: read and embedded, from the model's own folder only. */

import { open, realpath, stat } from 'node:fs/promises'
import { isAbsolute, relative, resolve, sep } from 'node:path'
import { Refusal } from '../errors.js'
import { maxModelBytes, type GraphModel } from './parse.js'
import { everyTensor } from './subgraph.js'

/** `data_location` of a tensor whose values lie in another file. */
const external = 1

/** True if some tensor of the model lies in another file. */
export function hasExternalData(model: GraphModel): boolean {
  for (const tensor of everyTensor(model)) if (tensor.dataLocation === external) return true
  return false
}

/**
 * Reads every external tensor into the model. A model is a stranger's file: a location that leaves `folder`, be it by
 * an absolute path, `..` or a symbolic link, is refused with `Refusal('external-data')`, as is one beyond its file.
 */
export async function embedExternalData(model: GraphModel, folder: string | undefined): Promise<void> {
  let total = 0
  for (const tensor of everyTensor(model)) {
    if (tensor.dataLocation !== external) continue
    const entries = new Map(tensor.externalData.map((entry) => [entry.key, entry.value]))
    const location = entries.get('location') ?? ''
    const what = `the external data '${location}' of tensor '${tensor.name}'`
    if (folder === undefined)
      refuse(`${what} cannot be found without the model's folder; embed the weights in the model`)
    const { path, bytes } = await locate(folder, location, what)
    const offset = numberOf(entries.get('offset') ?? '0', what)
    const length = entries.has('length') ? numberOf(entries.get('length') as string, what) : bytes - offset
    if (offset + length > bytes || length < 0)
      refuse(`${what} ends at byte ${offset + length}, but the file has ${bytes}`)
    total += length
    if (total > maxModelBytes) refuse(`the external data have more than the 2 GiB that one model can have`)
    tensor.rawData = await readRange(path, offset, length)
    tensor.externalData = []
    tensor.dataLocation = 0
  }
}

/** The real path of a location, which must be a file inside the folder. */
async function locate(folder: string, location: string, what: string): Promise<{ path: string; bytes: number }> {
  const remedy = 'keep it beside the model'
  if (
    location === '' ||
    isAbsolute(location) ||
    /^[a-z]:|\0/i.test(location) ||
    location.split(/[\\/]/).includes('..')
  ) {
    refuse(`${what} may not lie outside the model's folder; ${remedy}`)
  }
  const home = await realpath(folder).catch(() => refuse(`the folder '${folder}' cannot be read`))
  const path = await realpath(resolve(home, location)).catch(() => refuse(`${what} is missing; ${remedy}`))
  const inside = relative(home, path)
  if (inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)) {
    refuse(`${what} leads out of the model's folder by a symbolic link; ${remedy}`)
  }
  const found = await stat(path)
  if (!found.isFile()) refuse(`${what} is no file; ${remedy}`)
  return { path, bytes: found.size }
}

async function readRange(path: string, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const file = await open(path, 'r')
  try {
    const bytes = new Uint8Array(length)
    for (let at = 0; at < length;) {
      const { bytesRead } = await file.read(bytes, at, length - at, offset + at)
      if (bytesRead === 0) refuse(`'${path}' became shorter while it was read`)
      at += bytesRead
    }
    return bytes
  } finally {
    await file.close()
  }
}

function numberOf(text: string, what: string): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number))
    refuse(`${what} has the offset or length '${text.slice(0, 32)}', which is no number of bytes`)
  return number
}

function refuse(reason: string): never {
  throw new Refusal('external-data', reason)
}
