/** Which device of its class takes which stage, so that as much as can stays where it is. Pure. */

/** A place for one device: a stage, or one replica or part of it. */
export interface Place {
  /** Which of the classes the device is of. */
  readonly class: number
  /** Names the segment: equal names are equal bytes. */
  readonly segment: string
  readonly bytes: number
}

/** What each device holds already, by the segments' names. */
export type Held = ReadonlyMap<string, ReadonlySet<string>>

/**
 * A device for each place, none twice, of the place's class (`classes[c]` names the devices of class `c`, at least as many
 * as it has places). No other way of seating them leaves more bytes where they are: places that weigh most choose first and
 * those before them make room, which is optimal as a place's weight is the same for all who hold its segment.
 */
export function seat(places: readonly Place[], classes: readonly (readonly string[])[], held: Held): string[] {
  const seats: (string | undefined)[] = places.map(() => undefined)
  const taken = new Map<string, number>()
  const holders = places.map(({ class: index, segment }) =>
    classes[index]!.filter((device) => held.get(device)?.has(segment) === true),
  )

  /** Seats `place` on a device that holds its segment, moving others to devices that hold theirs. */
  function settle(place: number, tried: Set<string>): boolean {
    for (const device of holders[place]!) {
      if (tried.has(device)) continue
      tried.add(device)
      const before = taken.get(device)
      if (before !== undefined && !settle(before, tried)) continue
      taken.set(device, place)
      seats[place] = device
      return true
    }
    return false
  }

  const byWeight = [...places.keys()].sort((a, b) => places[b]!.bytes - places[a]!.bytes || a - b)
  for (const place of byWeight) settle(place, new Set())
  const free = classes.map((devices) => devices.filter((device) => !taken.has(device)))
  return seats.map((device, place) => {
    const given = device ?? free[places[place]!.class]!.shift()
    if (given === undefined) throw new RangeError(`class ${places[place]!.class} has fewer devices than places`)
    return given
  })
}
