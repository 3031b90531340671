/** Who is here: every member that has introduced itself, with what it said of itself and whether it is online. */

import { toHex } from '#shared/bytes.js'
import type { DeviceId } from '#shared/ids.js'
import type { Assigned, Birth, Endpoint, StageTelemetry, Status } from '#shared/protocol/messages.js'

export interface Member {
  readonly id: DeviceId
  readonly birth: Birth
  /** The process that runs now. */
  readonly bootId: Uint8Array
  readonly state: Status['state']
  readonly endpoint?: Endpoint
  readonly assigned?: Assigned
  readonly telemetry?: StageTelemetry
}

export class Registry {
  readonly #members = new Map<DeviceId, Member>()

  get(id: DeviceId): Member | undefined {
    return this.#members.get(id)
  }

  /** In the order of their first birth. */
  all(): Member[] {
    return [...this.#members.values()]
  }

  /** Devices that can hold a stage now, in the order of their first birth. */
  available(): Member[] {
    return this.all().filter((member) => member.birth.role === 'device' && member.state === 'online')
  }

  clients(): Member[] {
    return this.all().filter((member) => member.birth.role === 'client')
  }

  /** A member introduced itself; says whether this is another process than before. */
  born(id: DeviceId, birth: Birth, bootId: Uint8Array): 'new' | 'restarted' | 'known' {
    const known = this.#members.get(id)
    const isSameBoot = known !== undefined && toHex(known.bootId) === toHex(bootId)
    // A new process has reported nothing yet.
    const kept = known === undefined ? {} : isSameBoot ? known : { endpoint: known.endpoint }
    this.#members.set(id, { ...(kept as Partial<Member>), id, birth, bootId, state: 'online' })
    return known === undefined ? 'new' : isSameBoot ? 'known' : 'restarted'
  }

  /** What a member reports of itself; ignored for strangers. */
  note(id: DeviceId, said: Partial<Pick<Member, 'state' | 'endpoint' | 'assigned' | 'telemetry'>>): void {
    const known = this.#members.get(id)
    if (known !== undefined) this.#members.set(id, { ...known, ...said })
  }
}
