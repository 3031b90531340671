/**
 * `tessera-edge/client`: sends tensors through a fleet's pipeline and gets results.
 *
 *     const client = await connect({ hub: 'mqtt://127.0.0.1:1883', fleet: 'f0123456789abcdef' })
 *     const { inputs } = await client.ready(30_000)
 *     const { outputs } = await client.infer({ [inputs[0].name]: tensorOf(pixels, inputs[0].shape) })
 *     await client.close()
 */

import type { z } from 'zod'
import { checkSettings } from '#shared/config.js'
import { Client, type ClientOptions } from './client.js'
import { clientConfig } from './config.js'
import { membership } from './membership.js'

export { Client, type ClientLink, type ClientOptions, type Inference } from './client.js'
export { Refusal, type RefusalCode } from '#shared/errors.js'
export type { ClientWork } from '#shared/protocol/messages.js'
export { dtypes, type Dtype, type Port, type Tensor } from '#shared/onnx/tensor.js'
export { arrayOf, tensorOf, type TensorArray } from '#shared/onnx/typed-array.js'

/** Where the fleet is and who this client is; only `fleet` must be given. */
export type ClientSettings = z.input<typeof clientConfig>

/**
 * Joins a fleet as a client. `parts` replaces what a client is made of: clock, randomness, ciphers, streams, log. Throws
 * `Refusal`: `bad-config`, `folder-in-use`, `port-in-use`, `hub-unreachable` after 10 s (unless told to `wait`),
 * `not-allowed` for an id that the hub turns away.
 */
export async function connect(settings: ClientSettings, parts: Partial<ClientOptions> = {}): Promise<Client> {
  return Client.connect(await membership(checkSettings(settings, clientConfig), parts))
}
