/** A hub's door and devices' doors, over streams in memory: the real parts, with nothing else of hub or device. */

import type { Test } from 'tap'
import { createBroker, type Broker, type BrokerRefusal } from '#broker/bus/broker.js'
import { createBus, type Bus } from '#broker/bus/bus.js'
import type { Limits } from '#broker/bus/limits.js'
import { connectControl, type Control, type ControlOptions } from '#device/link/control.js'
import type { ControlRefusal } from '#device/link/hearing.js'
import { systemClock, type Clock } from '#shared/clock.js'
import { newIdentity, type Identity } from '#shared/crypto/identity.js'
import { newDeviceId, newFleetId, type DeviceId, type FleetId } from '#shared/ids.js'
import type { Birth } from '#shared/protocol/messages.js'
import { seededRandom, type Random } from '#shared/random.js'
import { memoryDial } from './memory-link.js'

export interface ControlPlane {
  readonly fleet: FleetId
  readonly hubId: DeviceId
  readonly hubIdentity: Identity
  readonly random: Random
  readonly broker: Broker
  readonly bus: Bus
  readonly refusals: BrokerRefusal[]
  /** Connects a device that has not said anything yet. */
  readonly device: (options?: Partial<ControlOptions>) => Promise<TestDevice>
}

export interface TestDevice {
  readonly id: DeviceId
  readonly identity: Identity
  readonly control: Control
  readonly refusals: ControlRefusal[]
  /** Introduces the device. */
  readonly born: () => Promise<void>
}

export async function controlPlane(
  t: Test,
  { seed = 1, clock = systemClock, limits = {} }: { seed?: number; clock?: Clock; limits?: Partial<Limits> } = {},
): Promise<ControlPlane> {
  const random = seededRandom(seed)
  const fleet = newFleetId(random)
  const hubId = newDeviceId(random)
  const hubIdentity = newIdentity(random)
  const refusals: BrokerRefusal[] = []
  const broker = await createBroker({ fleet, plane: 'control', hub: hubId, limits })
  const bus = createBus({
    fleet,
    id: hubId,
    identity: hubIdentity,
    bootId: random(8),
    clock,
    broker,
    onRefused: (refusal) => void refusals.push(refusal),
  })
  await bus.publish('hub', [], { state: 'online', id: hubId, key: hubIdentity.publicKey, term: 1 })
  const opened: Control[] = []
  t.teardown(async () => {
    await Promise.all(opened.map((control) => control.close()))
    await bus.close()
    await broker.close()
  })
  return {
    fleet,
    hubId,
    hubIdentity,
    random,
    broker,
    bus,
    refusals,
    async device(options = {}) {
      const id = options.id ?? newDeviceId(random)
      const identity = options.identity ?? newIdentity(random)
      const seen: ControlRefusal[] = []
      const control = await connectControl({
        fleet,
        id,
        identity,
        bootId: random(8),
        clock,
        random,
        keepaliveSeconds: 0,
        connect: memoryDial((stream) => broker.handle(stream, { mayIdle: true })),
        onRefused: (refusal) => void seen.push(refusal),
        ...options,
      })
      opened.push(control)
      return {
        id,
        identity,
        control,
        refusals: seen,
        born: () => control.publish('birth', [id], birthOf(identity.publicKey, random)),
      }
    },
  }
}

export function birthOf(key: Uint8Array, random: Random): Birth {
  return {
    role: 'device',
    name: 'shelf 3',
    key,
    boxKey: random(32),
    versions: { tessera: '0.1.0', node: '20.20.2', onnxRuntime: '1.30.0' },
    cpu: { arch: 'x64', model: 'a processor', cores: 4, aesInstructions: true },
    memoryBytes: 2 ** 30,
  }
}

/** The next value that `subscribe` hands to its listener. */
export function next<T>(subscribe: (listener: (value: T) => void) => void): Promise<T> {
  return new Promise((resolve) => subscribe(resolve))
}

/** Collects values and lets a test wait until there are as many as it expects. */
export class Collected<T> {
  readonly values: T[] = []
  #wake: () => void = () => {}

  readonly add = (value: T): void => {
    this.values.push(value)
    this.#wake()
  }

  async until(enough: number | ((values: readonly T[]) => boolean)): Promise<readonly T[]> {
    const isEnough = typeof enough === 'number' ? () => this.values.length >= enough : enough
    while (!isEnough(this.values)) await new Promise<void>((resolve) => (this.#wake = resolve))
    return this.values
  }
}
