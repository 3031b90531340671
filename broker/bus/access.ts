/** Who may publish and read what: pure rules, made from the topic table. What the table does not name, nobody may. */

import type { DeviceId, FleetId } from '#shared/ids.js'
import { filtersOf, readTopic, topics, type Speaker, type Topic } from '#shared/protocol/topics.js'

export interface Rights {
  readonly fleet: FleetId
  readonly plane: Topic['plane']
  readonly device: DeviceId
  /** The other ends of its edges in any live plan (the union while one drains), and the hub. */
  readonly peers: ReadonlySet<DeviceId>
}

/** A device writes its own branch where the table says so, and to the inboxes of its peers under its own name. */
export function mayPublish(rights: Rights, topic: string): boolean {
  const read = readTopic(rights.fleet, topic)
  if (read === undefined || topics[read.name].plane !== rights.plane) return false
  const [branch, from] = read.levels
  const bySpeaker: Record<Speaker, boolean> = {
    hub: false,
    device: branch === rights.device,
    peer: from === rights.device && rights.peers.has(branch as DeviceId),
  }
  return bySpeaker[topics[read.name].from]
}

/** Exactly the filters that the table makes for this device: no wider one, no narrower one, so none overlap. */
export function maySubscribe(rights: Rights, filter: string): boolean {
  return filtersOf(rights.fleet, rights.plane, rights.device, rights.peers).some((own) => own.filter === filter)
}

/** Whether this is a device speaking under its own name to somebody who is no peer: late, not hostile. */
export function isLate(rights: Rights, topic: string): boolean {
  const read = readTopic(rights.fleet, topic)
  return (
    read !== undefined &&
    topics[read.name].plane === rights.plane &&
    topics[read.name].from === 'peer' &&
    read.levels[1] === rights.device &&
    !mayPublish(rights, topic)
  )
}
