/** Tessera itself as a contestant: a hub and a client in this process, devices in processes of their own. */

import { ProfileStore } from '#broker/fleet/profiles.js'
import type { Hub } from '#broker/hub.js'
import type { Objective } from '#broker/planner/problem.js'
import { noProfiles } from '#broker/planner/profile.js'
import { startHub, type RunningHub } from '#broker/start.js'
import { Client } from '#device/client.js'
import { dialTcp } from '#device/link/dial.js'
import type { LinkMode } from '#device/link/peers.js'
import { tcpTransport } from '#device/link/transport.js'
import type { EngineMode } from '#device/runtime/engine.js'
import { systemClock } from '#shared/clock.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { newIdentity } from '#shared/crypto/identity.js'
import { newDeviceId, newFleetId } from '#shared/ids.js'
import { systemRandom } from '#shared/random.js'
import type { Contestant } from './contestant.js'
import type { BenchDevice } from './device.js'
import { ownCpuMs } from './machine.js'
import { nullAeads } from './null-sealer.js'
import { start, type Child } from './processes.js'

export interface FleetOptions {
  readonly model: Uint8Array
  /** Where the model is cut: one device more than there are cuts. */
  readonly at?: readonly number[]
  /** In place of `at`: the devices are measured, and the hub chooses the plan. */
  readonly planned?: { readonly objective: Objective; readonly devices: number }
  /** Devices have joined and nothing was measured yet. */
  readonly onStarted?: (pids: readonly number[]) => void
  readonly isSealed: boolean
  readonly link: Exclude<LinkMode, 'auto'>
  readonly engine: EngineMode | 'auto'
}

export interface Fleet extends Contestant {
  readonly hub: Hub
  readonly devices: readonly Child<BenchDevice>[]
}

const readyWithinMs = 120_000

/** Resolves when every stage is ready and each link of the wanted kind; leaves nothing behind where it throws. */
export async function openFleet(options: FleetOptions): Promise<Fleet> {
  const { isSealed, link, engine, at = [], planned, model } = options
  const closers: (() => Promise<unknown>)[] = []
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    const identity = newIdentity(systemRandom)
    const fleet = newFleetId(systemRandom)
    const common = {
      fleet,
      clock: systemClock,
      random: systemRandom,
      aeads: isSealed ? nodeAeads : nullAeads,
      log: () => {},
    }
    const { hub, address } = await openHub()
    const devices = Array.from({ length: planned?.devices ?? at.length + 1 }, () => start<BenchDevice>('device'))
    closers.push(() => Promise.all(devices.map((device) => device.stop())))
    const join = { fleet, hub: address, hubKey: identity.publicKey, isSealed, link, engine }
    await Promise.all(devices.map((device, i) => device.ask('join', { ...join, name: `device-${i}` })))
    options.onStarted?.(devices.map(({ pid }) => pid))
    const client = await Client.connect({
      ...common,
      id: newDeviceId(systemRandom),
      identity: newIdentity(systemRandom),
      name: 'bench',
      link,
      hubKey: identity.publicKey,
      dialHub: dialTcp(address),
      dialRelay: ({ port }) => dialTcp({ host: address.host, port })(),
      transport: tcpTransport(),
    })
    closers.push(() => client.close())
    const isOnline = (): boolean => hub.members().filter(({ state }) => state === 'online').length > devices.length
    await hub.until(isOnline, readyWithinMs, 'that all devices are online')
    const plan = planned === undefined ? { stages: devices.length, at } : { objective: planned.objective }
    await hub.deploy({ name: 'bench', model, ...plan })
    await Promise.all([hub.ready(readyWithinMs), client.ready()])
    return {
      hub,
      devices,
      infer: async (inputs) => (await client.infer(inputs)).outputs,
      async cpuMs() {
        const all = await Promise.all(devices.map((device) => device.cpuMs()))
        return all.reduce((sum, ms) => sum + ms, ownCpuMs())
      },
      close,
    }

    async function openHub(): Promise<RunningHub> {
      const opened = await startHub({
        ...common,
        id: newDeviceId(systemRandom),
        identity,
        host: '127.0.0.1',
        port: 0,
        relayPort: 0,
        ...(planned === undefined ? {} : { profiles: new ProfileStore({ value: noProfiles, clock: systemClock }) }),
      })
      closers.push(() => opened.hub.close())
      return opened
    }
  } catch (error) {
    await close()
    throw error
  }
}
