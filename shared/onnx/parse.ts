/** ONNX files as bytes: into the format's messages and back. */

import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { Refusal, reasonOf } from '../errors.js'
import { ModelSchema, type Graph, type Model } from './onnx_pb.js'

/** Protocol Buffers, and Node's buffers, end here. */
export const maxModelBytes = 2 ** 31 - 1

/** A model that has a graph. */
export type GraphModel = Model & { graph: Graph }

/**
 * The messages of an ONNX file, tensor bytes as views of `bytes`. Throws `Refusal('not-onnx')` for something else and
 * `Refusal('bad-model')` for a damaged or too large one.
 */
export function parseModel(bytes: Uint8Array): GraphModel {
  if (bytes.length > maxModelBytes) {
    throw new Refusal(
      'bad-model',
      `the model has ${bytes.length} bytes, more than the 2 GiB an ONNX file can have; keep its weights as external data`,
    )
  }
  let model: Model
  try {
    // Not the Buffer that it may be: Buffer's `slice` shares memory, which the decoded fields must not inherit.
    model = fromBinary(ModelSchema, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  } catch (error) {
    if (!looksLikeOnnx(bytes))
      throw new Refusal('not-onnx', 'the file is no ONNX model: export the network to ONNX first', { cause: error })
    throw new Refusal(
      'bad-model',
      `the ONNX file is truncated or damaged (${reasonOf(error)}): fetch or export it again`,
      { cause: error },
    )
  }
  if (model.graph === undefined) {
    if (!looksLikeOnnx(bytes))
      throw new Refusal('not-onnx', 'the file is no ONNX model: export the network to ONNX first')
    throw new Refusal('bad-model', 'the ONNX file holds no graph, it is truncated: fetch or export it again')
  }
  return model as GraphModel
}

/** Every ONNX writer begins with `ir_version`, a small varint, and goes on with a field of another number. */
function looksLikeOnnx(bytes: Uint8Array): boolean {
  const [tag, version = 0, next = 0] = bytes
  return tag === 0x08 && version > 0 && version < 0x40 && [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42].includes(next)
}

/** The bytes of a model; throws `Refusal('bad-model')` past 2 GiB. */
export function encodeModel(model: Model): Uint8Array<ArrayBuffer> {
  try {
    return toBinary(ModelSchema, model)
  } catch (error) {
    throw new Refusal('bad-model', `the model cannot be written (${reasonOf(error)})`, { cause: error })
  }
}
