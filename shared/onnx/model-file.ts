/** A model on the disk: whoever names a wrong file hears which one, why, and what to do. */

import { readFile, stat } from 'node:fs/promises'
import { Refusal, reasonOf } from '../errors.js'
import { maxModelBytes, parseModel } from './parse.js'

/** The bytes of an ONNX file. Throws `Refusal('missing-file' | 'not-onnx' | 'bad-model')`, naming the file. */
export async function readModelFile(file: string): Promise<Uint8Array> {
  const found = await stat(file).catch(() => undefined)
  if (found === undefined)
    throw new Refusal('missing-file', `there is no file '${file}': give the path of an ONNX file`)
  if (!found.isFile()) throw new Refusal('not-onnx', `'${file}' is not a file; name the .onnx file in it`)
  if (found.size > maxModelBytes) {
    throw new Refusal(
      'bad-model',
      `'${file}' has more than the 2 GiB an ONNX file can have; keep its weights as external data`,
    )
  }
  const bytes = await readFile(file).catch((error: unknown) => {
    throw new Refusal('missing-file', `cannot read '${file}' (${reasonOf(error)}): make it readable`, { cause: error })
  })
  try {
    parseModel(bytes)
  } catch (error) {
    // The core knows no file names: here the sentence gets its subject.
    if (error instanceof Refusal) throw new Refusal(error.code, `'${file}': ${error.message}`, { cause: error })
    throw error
  }
  return bytes
}
