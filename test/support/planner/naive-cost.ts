/**
 * What a placement costs, worked out as it would happen: every device is one of its own, requests go through one after the
 * other, and whatever they keep busy is added up. Shares no code with the planner; slow.
 */

import type { Cost, Link, Placement, Problem, Region } from '#broker/planner/problem.js'

/** A real device, or a part of one stage. */
interface Worker {
  readonly name: string
  readonly class: number
  /** Of the region's channels; 1 where nothing is parted. */
  readonly share: number
}

interface Stage {
  readonly nodes: readonly number[]
  readonly region: Region | undefined
  /** Who does a request together; request `r` is for crew `r mod crews`. */
  readonly crews: readonly (readonly Worker[])[]
}

/** A value on its way from one place to another. Place -1 is the client before all stages, place `stages` it is after them. */
interface Trip {
  readonly value: number
  readonly from: number
  readonly to: number
  /** There are stages behind `to` (or the client) that want it through `to`. */
  readonly goesOn: boolean
}

interface Parcel {
  readonly from: number
  readonly to: number
  readonly sender: Worker | undefined
  readonly receiver: Worker | undefined
  bytes: number
  /** What of it no other parcel of the sender has sealed before. */
  sealBytes: number
}

const never: Cost = { periodUs: Infinity, latencyUs: Infinity, memoryShare: Infinity }

export function naiveCost(problem: Problem, placement: Placement): Cost {
  const stages = crewsOf(problem, placement)
  if (stages === undefined) return never
  const trips = problem.shape === 'chain' ? chainTrips(problem, stages) : dagTrips(problem, stages)
  const requests = stages.reduce((cycle, { crews }) => commonMultiple(cycle, crews.length), 1)
  const busyUs = new Map<string, number>()
  const keepBusy = (what: string, us: number): void => void busyUs.set(what, (busyUs.get(what) ?? 0) + us)
  let latencyUs = 0
  let memoryShare = 0
  for (let request = 0; request < requests; request++) {
    const crewOf = (place: number): readonly (Worker | undefined)[] => {
      const crews = stages[place]?.crews
      return crews === undefined ? [undefined] : crews[request % crews.length]!
    }
    const parcels = parcelsOf(problem, stages, trips, crewOf)
    for (const parcel of parcels) keepBusy(`${parcel.sender?.name} > ${parcel.receiver?.name}`, linkUs(problem, parcel))
    const doneUs = new Map<Worker, number>()
    const arrivedUs = (worker: Worker | undefined, place: number): number =>
      Math.max(
        0,
        ...parcels
          .filter(({ to, receiver }) => to === place && receiver === worker)
          .map((parcel) => {
            const sentUs = parcel.sender === undefined ? 0 : doneUs.get(parcel.sender)!
            return sentUs + linkUs(problem, parcel) + (linkOf(problem, parcel)?.latencyUs ?? Infinity)
          }),
      )
    for (const [place, { nodes, region }] of stages.entries()) {
      for (const worker of crewOf(place) as readonly Worker[]) {
        const kind = problem.classes[worker.class]!
        const partOf = (node: number): number => (region?.divided.includes(node) === true ? worker.share : 1)
        let us = kind.stageUs
        let bytes = kind.sessionBytes
        for (const node of nodes) {
          us += kind.nodeUs[node]! * partOf(node)
          bytes += problem.nodes[node]!.weightBytes * partOf(node)
        }
        bytes += Math.max(...nodes.map((node) => problem.nodes[node]!.scratchBytes))
        for (const parcel of parcels) {
          if (parcel.receiver === worker) us += kind.open.messageUs + kind.open.byteUs * parcel.bytes
          if (parcel.sender === worker) us += kind.seal.messageUs + kind.seal.byteUs * parcel.sealBytes
          if (parcel.receiver === worker || parcel.sender === worker) bytes += 2 * parcel.bytes
        }
        keepBusy(worker.name, us)
        memoryShare = Math.max(memoryShare, bytes / kind.memoryBytes)
        doneUs.set(worker, arrivedUs(worker, place) + us)
      }
    }
    latencyUs = Math.max(latencyUs, arrivedUs(undefined, stages.length))
  }
  const periodUs = Math.max(...busyUs.values()) / requests
  return { periodUs, latencyUs: periodUs === Infinity ? Infinity : latencyUs, memoryShare }
}

function crewsOf(problem: Problem, { stages }: Placement): Stage[] | undefined {
  const found: Stage[] = []
  for (const [place, { nodes, holding }] of stages.entries()) {
    const worker = (index: number, number: number, share = 1): Worker => ({
      name: `${place}.${number}`,
      class: index,
      share,
    })
    if (holding.kind === 'one') {
      found.push({ nodes, region: undefined, crews: [[worker(holding.class, 0)]] })
    } else if (holding.kind === 'replicas') {
      const crews = Array.from({ length: holding.count }, (_, number) => [worker(holding.class, number)])
      found.push({ nodes, region: undefined, crews })
    } else {
      const region = problem.regions[holding.region]!
      const channels = channelsOf(problem, region, holding.classes)
      if (channels === undefined) return undefined
      const crew = holding.classes.map((index, number) => worker(index, number, channels[number]! / region.channels))
      found.push({ nodes, region, crews: [crew] })
    }
  }
  return found
}

/**
 * Every granule has a time at which it would be done on each device; the earliest are taken, as many as there are granules.
 * Each part has at least its first one, and no more than it has memory for.
 */
function channelsOf(problem: Problem, region: Region, classes: readonly number[]): number[] | undefined {
  const granules = Math.floor(region.channels / region.granule)
  const most = classes.map((index) => Math.min(granules, granulesThatFit(problem, region, index)))
  if (granules < classes.length || Math.min(...most) < 1 || most.reduce((a, b) => a + b) < granules) return undefined
  const times = classes.map((index) => {
    const us = region.divided.reduce((sum, node) => sum + problem.classes[index]!.nodeUs[node]!, 0)
    return Math.max(us, 1e-9)
  })
  const further = classes.flatMap((_, part) =>
    Array.from({ length: most[part]! - 1 }, (_, i) => ({ part, doneUs: (i + 2) * times[part]! })),
  )
  // The sort is stable: of two that would be done at once, the earlier part is first.
  further.sort((a, b) => (a.doneUs === b.doneUs ? 0 : a.doneUs - b.doneUs))
  const taken = further.slice(0, granules - classes.length)
  const channels = classes.map(
    (_, part) => (1 + taken.filter((granule) => granule.part === part).length) * region.granule,
  )
  const doneUs = channels.map((count, part) => count * times[part]!)
  channels[doneUs.indexOf(Math.min(...doneUs))]! += region.channels % region.granule
  return channels
}

/** What all parts hold whole comes off the device's memory, with the largest scratch; the rest is for the channels. */
function granulesThatFit(problem: Problem, region: Region, index: number): number {
  const { memoryBytes, sessionBytes } = problem.classes[index]!
  let whole = sessionBytes + Math.max(...region.nodes.map((node) => problem.nodes[node]!.scratchBytes))
  let parted = 0
  const hold = (bytes: number, isParted: boolean): void => {
    if (isParted) parted += bytes
    else whole += bytes
  }
  for (const node of region.nodes) hold(problem.nodes[node]!.weightBytes, region.divided.includes(node))
  for (const [value, { bytes, from, to, isOutput }] of problem.values.entries()) {
    const isMadeHere = from !== undefined && region.nodes.includes(from)
    const isReadHere = to.some((node) => region.nodes.includes(node))
    const isWantedElsewhere = isOutput || to.some((node) => !region.nodes.includes(node))
    if (isMadeHere && isWantedElsewhere) hold(2 * bytes, region.divided.includes(from))
    if (!isMadeHere && isReadHere) hold(2 * bytes, region.dividedInputs.includes(value))
  }
  if (parted === 0) return Infinity
  return Math.floor((((memoryBytes - whole) / parted) * region.channels) / region.granule + 1e-9)
}

/** Every value walks from where it is made, stage by stage, to the last that wants it. */
function chainTrips({ values }: Problem, stages: readonly Stage[]): Trip[] {
  return values.flatMap(({ from, to, isOutput }, value) => {
    const start = placeOf(stages, from)
    const last = Math.max(start, ...to.map((node) => placeOf(stages, node)), isOutput ? stages.length : start)
    return Array.from({ length: last - start }, (_, hop): Trip => {
      const next = start + hop + 1
      return { value, from: start + hop, to: next, goesOn: next < last }
    })
  })
}

/** Every value goes straight to each stage that reads it, and to the client if that wants it and has it not. */
function dagTrips({ values }: Problem, stages: readonly Stage[]): Trip[] {
  return values.flatMap(({ from, to, isOutput }, value) => {
    const start = placeOf(stages, from)
    const ends = new Set(to.map((node) => placeOf(stages, node)))
    ends.delete(start)
    if (isOutput && from !== undefined) ends.add(stages.length)
    return [...ends].map((end): Trip => ({ value, from: start, to: end, goesOn: false }))
  })
}

function placeOf(stages: readonly Stage[], node: number | undefined): number {
  return node === undefined ? -1 : stages.findIndex(({ nodes }) => nodes.includes(node))
}

/** What each has to send to each for one request, packed together. */
function parcelsOf(
  problem: Problem,
  stages: readonly Stage[],
  trips: readonly Trip[],
  crewOf: (place: number) => readonly (Worker | undefined)[],
): Parcel[] {
  const parcels: Parcel[] = []
  const sealed = new Set<number>()
  const parcelFor = (from: number, to: number, sender: Worker | undefined, receiver: Worker | undefined): Parcel => {
    const known = parcels.find(
      (other) => other.from === from && other.to === to && other.sender === sender && other.receiver === receiver,
    )
    if (known !== undefined) return known
    const parcel = { from, to, sender, receiver, bytes: 0, sealBytes: 0 }
    parcels.push(parcel)
    return parcel
  }
  if (problem.shape === 'chain') {
    for (let to = 0; to <= stages.length; to++) parcelFor(to - 1, to, crewOf(to - 1)[0], crewOf(to)[0])
  }
  for (const { value, from, to, goesOn } of trips) {
    const { bytes, from: maker, to: readers } = problem.values[value]!
    const [source, target] = [stages[from], stages[to]]
    const isParted =
      maker !== undefined && source?.nodes.includes(maker) === true && source.region?.divided.includes(maker) === true
    for (const [i, sender] of crewOf(from).entries()) {
      const has = isParted ? sender!.share : i === 0 ? 1 : 0
      for (const [j, receiver] of crewOf(to).entries()) {
        let wants = 0
        if (target === undefined || (goesOn && j === 0)) wants = 1
        else if (readers.some((node) => target.nodes.includes(node))) {
          wants = target.region?.dividedInputs.includes(value) === true ? receiver!.share : 1
        }
        if (has === 0 || wants === 0) continue
        const parcel = parcelFor(from, to, sender, receiver)
        parcel.bytes += has * wants * bytes
        if (problem.sealedOnce !== true || !sealed.has(value)) parcel.sealBytes += has * wants * bytes
        sealed.add(value)
      }
    }
  }
  return parcels
}

function linkOf(problem: Problem, { sender, receiver }: Parcel): Link | undefined {
  if (sender === undefined) return problem.fromClient[receiver!.class]
  return receiver === undefined ? problem.toClient[sender.class] : problem.links[sender.class]![receiver.class]
}

function linkUs(problem: Problem, parcel: Parcel): number {
  const link = linkOf(problem, parcel)
  return link === undefined ? Infinity : link.messageUs + link.byteUs * parcel.bytes
}

function commonMultiple(a: number, b: number): number {
  let multiple = Math.max(a, b)
  while (multiple % a !== 0 || multiple % b !== 0) multiple++
  return multiple
}
