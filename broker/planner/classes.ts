/** Devices that are alike: the search counts them and does not tell them apart. */

import type { Fleet, FleetDevice, FleetLink } from './fleet.js'

/**
 * The devices by class, as indexes in the fleet: alike in speed, times, memory and links to everybody, and by `sameRights`
 * in what they may run.
 */
export function classesOf(fleet: Fleet, sameRights: (a: number, b: number) => boolean): number[][] {
  const classes: number[][] = []
  for (const index of fleet.devices.keys()) {
    const home = classes.find((members) => isAlike(fleet, members, index) && sameRights(members[0]!, index))
    if (home === undefined) classes.push([index])
    else home.push(index)
  }
  return classes
}

function isAlike({ devices, links, fromClient, toClient }: Fleet, members: readonly number[], index: number): boolean {
  const first = members[0]!
  const alikeAlone =
    sameDevice(devices[first]!, devices[index]!) &&
    sameLink(fromClient[first], fromClient[index]) &&
    sameLink(toClient[first], toClient[index])
  if (!alikeAlone) return false
  const within = members.length > 1 ? links[first]![members[1]!] : links[first]![index]
  if (!sameLink(links[first]![index], within) || !sameLink(links[index]![first], within)) return false
  return devices.every(
    (_, other) =>
      other === first ||
      other === index ||
      (sameLink(links[first]![other], links[index]![other]) && sameLink(links[other]![first], links[other]![index])),
  )
}

function sameDevice(a: FleetDevice, b: FleetDevice): boolean {
  return (
    a.speed === b.speed &&
    a.memoryBytes === b.memoryBytes &&
    a.times.length === b.times.length &&
    a.times.every(([pattern, us], at) => pattern === b.times[at]![0] && us === b.times[at]![1])
  )
}

function sameLink(a: FleetLink | undefined, b: FleetLink | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return a.kind === b.kind && a.bytesPerUs === b.bytesPerUs && a.rttUs === b.rttUs && a.messageUs === b.messageUs
}
