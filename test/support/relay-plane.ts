/** A relay in process and devices' links to it, over streams in memory. */

import type { Test } from 'tap'
import type { BrokerRefusal } from '#broker/bus/broker.js'
import type { Limits } from '#broker/bus/limits.js'
import { createRelay, type Relay, type RelayOptions } from '#broker/bus/relay.js'
import { openRelayLink, type RelayLink, type RelayLinkOptions } from '#device/link/relay.js'
import { systemClock } from '#shared/clock.js'
import { newDeviceId, newFleetId, type DeviceId, type FleetId } from '#shared/ids.js'
import { seededRandom, type Random } from '#shared/random.js'
import { Collected } from './control-plane.js'
import { memoryDial } from './memory-link.js'

export interface RelayPlane {
  readonly fleet: FleetId
  readonly random: Random
  readonly relay: Relay
  readonly refusals: Collected<BrokerRefusal>
  /** Devices that are all each other's peers, connected. */
  readonly devices: (count: number, options?: Partial<RelayLinkOptions>) => Promise<readonly RelayDevice[]>
}

export interface RelayDevice {
  readonly id: DeviceId
  readonly token: Uint8Array
  readonly link: RelayLink
}

export async function relayPlane(
  t: Test,
  { seed = 1, limits = {}, ...options }: { seed?: number; limits?: Partial<Limits> } & Partial<RelayOptions> = {},
): Promise<RelayPlane> {
  const random = seededRandom(seed)
  const fleet = newFleetId(random)
  const refusals = new Collected<BrokerRefusal>()
  const relay = await createRelay({
    fleet,
    hub: newDeviceId(random),
    inProcess: true,
    limits,
    onRefused: refusals.add,
    ...options,
  })
  const opened: RelayLink[] = []
  t.teardown(async () => {
    await Promise.all(opened.map((link) => link.close()))
    await relay.close()
  })
  const devices: RelayPlane['devices'] = async (count, linkOptions = {}) => {
    const ids = Array.from({ length: count }, () => newDeviceId(random))
    return Promise.all(
      ids.map(async (id) => {
        const token = random(32)
        relay.allow(id, { token, peers: new Set(ids) })
        const link = openRelayLink({
          fleet,
          id,
          token,
          bootId: random(8),
          clock: systemClock,
          random,
          keepaliveSeconds: 0,
          connect: memoryDial((stream) => relay.handle(stream)),
          ...linkOptions,
        })
        opened.push(link)
        await new Promise<void>((resolve) => link.onOnline(resolve))
        return { id, token, link }
      }),
    )
  }
  return { fleet, random, relay, refusals, devices }
}
