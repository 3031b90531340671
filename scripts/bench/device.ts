/** Entry of a device process: as `device/main.ts`, but cipher, engine and link come from the bench. Segments stay in memory. */

import { Device } from '#device/device.js'
import { dialTcp } from '#device/link/dial.js'
import type { Address } from '#device/link/transport.js'
import type { LinkMode } from '#device/link/peers.js'
import { tcpTransport } from '#device/link/transport.js'
import type { EngineMode } from '#device/runtime/engine.js'
import { memoryStore } from '#device/vault/store.js'
import { systemClock } from '#shared/clock.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { newIdentity } from '#shared/crypto/identity.js'
import { newDeviceId, type DeviceId, type FleetId } from '#shared/ids.js'
import { tuneV8 } from '#shared/v8.js'
import { systemRandom } from '#shared/random.js'
import { nullAeads } from './null-sealer.js'
import { serve, type Handlers } from './processes.js'

export interface JoinOptions {
  readonly fleet: FleetId
  readonly name: string
  readonly hub: Address
  readonly hubKey: Uint8Array
  readonly isSealed: boolean
  readonly link: LinkMode
  readonly engine: EngineMode | 'auto'
}

tuneV8()

let device: Device | undefined

const handlers = {
  async join({ fleet, name, hub, hubKey, isSealed, link, engine }: JoinOptions): Promise<DeviceId> {
    device = await Device.start({
      fleet,
      name,
      id: newDeviceId(systemRandom),
      identity: newIdentity(systemRandom),
      clock: systemClock,
      random: systemRandom,
      aeads: isSealed ? nodeAeads : nullAeads,
      link,
      engine,
      dialHub: dialTcp(hub),
      dialRelay: ({ port }) => dialTcp({ host: hub.host, port })(),
      transport: tcpTransport(),
      hubKey,
      store: memoryStore(),
      log: () => {},
    })
    return device.id
  },
} satisfies Handlers
export type BenchDevice = typeof handlers

serve(handlers, async () => device?.close())
