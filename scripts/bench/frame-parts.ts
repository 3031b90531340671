/** What one frame costs without any socket: each step of its way in one thread, and a copy of its bytes. */

import { concat } from '#shared/bytes.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { newDeviceId, newFleetId, type DeviceId } from '#shared/ids.js'
import { decodeActivation, encodeActivation, type WireTensor } from '#shared/protocol/tensors.js'
import { systemRandom } from '#shared/random.js'
import { Keyring } from '#shared/session/keyring.js'
import { median } from './statistics.js'

/** Medians in microseconds. */
export interface PartTimes {
  readonly encode: number
  readonly seal: number
  readonly open: number
  readonly decode: number
  readonly memcpy: number
}

/** Sends `tensor` through `count` frames; the first ones do not count. */
export function frameParts(tensor: WireTensor, count: number): PartTimes {
  const [sender, receiver] = pair()
  const { data } = tensor
  const copy = new Uint8Array(data.length)
  const times: Record<keyof PartTimes, number[]> = { encode: [], seal: [], open: [], decode: [], memcpy: [] }
  const timed = <T>(part: keyof PartTimes, work: () => T): T => {
    const startMs = performance.now()
    const made = work()
    times[part].push((performance.now() - startMs) * 1000)
    return made
  }
  const warmUp = Math.ceil(count / 4)
  for (let request = 0; request < count + warmUp; request++) {
    const parts = timed('encode', () =>
      encodeActivation({
        plan: 1,
        client: sender.self,
        run: new Uint8Array(8),
        request,
        low: 0,
        stage: 1,
        hops: [],
        tensors: [tensor],
      }),
    )
    const frame = concat(timed('seal', () => sender.keyring.seal(1, parts)))
    const { plaintext } = timed('open', () => receiver.keyring.open(frame))
    timed('decode', () => decodeActivation(plaintext))
    timed('memcpy', () => copy.set(data as Uint8Array))
  }
  const [encode, seal, open, decode, memcpy] = (['encode', 'seal', 'open', 'decode', 'memcpy'] as const).map((part) =>
    median(times[part].slice(warmUp)),
  )
  return { encode: encode!, seal: seal!, open: open!, decode: decode!, memcpy: memcpy! }
}

interface End {
  readonly self: DeviceId
  readonly keyring: Keyring
}

function pair(): [End, End] {
  const fleet = newFleetId(systemRandom)
  const prk = systemRandom(32)
  const [a, b] = [newDeviceId(systemRandom), newDeviceId(systemRandom)]
  const end = (self: DeviceId, peer: DeviceId): End => {
    const keyring = new Keyring({ fleet, self, peer, aeads: nodeAeads })
    keyring.add({ peer, epoch: 1, ordinal: 0, alg: 1, prk })
    keyring.use(1)
    return { self, keyring }
  }
  return [end(a, b), end(b, a)]
}
