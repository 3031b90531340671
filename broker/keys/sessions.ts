/**
 * The hub's ends of its sealed sessions with the members, and what it says through them. Every secret that a device gets
 * from the hub goes this way and no other.
 */

import { concat, toHex } from '#shared/bytes.js'
import type { Clock } from '#shared/clock.js'
import type { Aeads, AlgId } from '#shared/crypto/aead.js'
import { sealRoot } from '#shared/crypto/root-box.js'
import { devSeedMessage, hubPrk, pairSeedMessage } from '#shared/crypto/schedule.js'
import { idBytes, type DeviceId, type FleetId } from '#shared/ids.js'
import { controlType, encodeControl, type Control } from '#shared/protocol/control.js'
import type { Root } from '#shared/protocol/messages.js'
import type { Random } from '#shared/random.js'
import { Keyring } from '#shared/session/keyring.js'
import { PairRoots, type Boot } from './roots.js'
import type { SeedBackend } from './seeds.js'

/** The salt of the device-hub session while no enrolment has given the two a secret of their own. */
const noEnrolPsk = new Uint8Array(32)
/** Until zones are registered (proximity), every device derives its seed in this one. */
const noZone = ''

/** A member as its birth told: the process, its box key and its identity key. */
export interface BornMember extends Boot {
  readonly boxKey: Uint8Array
  readonly key: Uint8Array
}

export interface HubSessionsOptions {
  readonly fleet: FleetId
  readonly hub: Boot
  readonly epoch: number
  readonly alg: AlgId
  readonly seeds: SeedBackend
  readonly random: Random
  readonly clock: Clock
  readonly aeads: Aeads
}

export class HubSessions {
  readonly #options: HubSessionsOptions
  readonly #roots: PairRoots
  readonly #sessions = new Map<DeviceId, { boot: string; opening: Root; keyring: Keyring }>()

  constructor(options: HubSessionsOptions) {
    this.#options = options
    this.#roots = new PairRoots(options.random)
  }

  /** The message that opens the session with this boot of a member; the same at each call for the same boot. */
  open(member: BornMember): Root {
    const { fleet, hub, epoch, alg, clock, aeads } = this.#options
    const boot = toHex(member.bootId)
    const known = this.#sessions.get(member.id)
    if (known !== undefined && known.boot === boot) return known.opening
    const { ordinal, root } = this.#roots.between(hub, member)
    const { ephemeral, box } = sealRoot(root, member.boxKey, {
      fleet: idBytes(fleet),
      device: idBytes(member.id),
      bootId: member.bootId,
      epoch,
      ordinal,
    })
    known?.keyring.erase()
    const keyring = new Keyring({ fleet, self: hub.id, peer: member.id, clock, aeads })
    keyring.add({ peer: member.id, epoch, ordinal, alg, prk: hubPrk(noEnrolPsk, root) })
    keyring.use(epoch)
    const opening = { bootId: member.bootId, epoch, ordinal, alg, ephemeral, box }
    this.#sessions.set(member.id, { boot, opening, keyring })
    return opening
  }

  /** The seeds of the epoch for a member and its pairs, sealed to it. */
  sealSeeds(member: DeviceId, peers: Iterable<DeviceId>): Uint8Array {
    const { fleet, epoch, seeds } = this.#options
    const devSeed = seeds.hmac(seeds.generation, devSeedMessage({ fleet, device: member, epoch, zone: noZone }))
    const pairs = [...peers].map((peer): [Uint8Array, Uint8Array] => [
      idBytes(peer),
      seeds.hmac(seeds.generation, pairSeedMessage({ fleet, devices: [member, peer], epoch })),
    ])
    return this.#seal(member, [controlType.seed, epoch, seeds.generation, devSeed, pairs])
  }

  /** The root of the pair for the two processes that run now, sealed to `member`. */
  sealPairRoot(member: BornMember, peer: BornMember): Uint8Array {
    const { epoch, alg } = this.#options
    const { ordinal, root } = this.#roots.between(member, peer)
    return this.#seal(member.id, [
      controlType.root,
      idBytes(peer.id),
      peer.bootId,
      member.bootId,
      epoch,
      ordinal,
      alg,
      root,
      peer.key,
    ])
  }

  /** The key of a segment file, sealed to its device. */
  sealDek(
    member: DeviceId,
    segment: { name: string; version: number; dek: Uint8Array; fileHash: Uint8Array },
  ): Uint8Array {
    return this.#seal(member, [controlType.dek, segment.name, segment.version, segment.dek, segment.fileHash])
  }

  /** Where the relay is and what opens it, sealed to a member. */
  sealRelay(member: DeviceId, host: string, port: number, token: Uint8Array): Uint8Array {
    return this.#seal(member, [controlType.relay, host, port, token])
  }

  close(): void {
    for (const { keyring } of this.#sessions.values()) keyring.erase()
    this.#roots.erase()
    this.#options.seeds.destroy()
  }

  #seal(member: DeviceId, message: Control): Uint8Array {
    const session = this.#sessions.get(member)
    if (session === undefined) throw new Error(`no session with ${member} is open`)
    return concat(session.keyring.seal(2, [encodeControl(message)]))
  }
}
