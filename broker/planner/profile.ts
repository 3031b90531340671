/**
 * What is known of the fleet's speed, as values with their age: devices by known work, segments as they were timed, links as
 * they were probed. What was not measured is said by what was: nearest first. Pure; times in microseconds, sizes in bytes.
 */

import { z } from 'zod'
import { deviceIdPattern, type DeviceId } from '#shared/ids.js'
import { kernelOf, kernels, type KernelTimes } from '#shared/onnx/workload.js'
import type { Crossing, Link } from './problem.js'

const amount = z.number().min(0)
const device = z.string().regex(deviceIdPattern) as unknown as z.ZodType<DeviceId, DeviceId>
const crossing = z.strictObject({ messageUs: amount, byteUs: amount })
const kernelTimes = z.strictObject({ conv: amount, matmul: amount, element: amount })
const atMs = z.int().min(0)

const deviceProfile = z.strictObject({
  device,
  name: z.string().max(64),
  /** The process that was measured, in hex: another one may run on other hardware. */
  boot: z.string().regex(/^[0-9a-f]{16}$/),
  kernels: kernelTimes,
  stageUs: amount,
  seal: crossing,
  open: crossing,
  memoryBytes: amount,
  sessionBytes: amount,
  atMs,
})
export type DeviceProfile = z.infer<typeof deviceProfile>

const segmentProfile = z.strictObject({
  device,
  /** SHA-256 of the prepared model in hex, and which of its nodes. */
  model: z.string().regex(/^[0-9a-f]{64}$/),
  from: z.int().min(0),
  to: z.int().min(1),
  computeUs: amount,
  /** What its kernels had said, so that other segments of the device can learn from the difference. */
  expectedUs: amount,
  /** By how much the process grew at most; absent where only the time was seen. */
  peakBytes: amount.optional(),
  /** Timed by order; at load, as the hub deployed it; or while requests ran. */
  by: z.enum(['order', 'load', 'work']),
  atMs,
})
export type SegmentProfile = z.infer<typeof segmentProfile>

const linkProfile = z.strictObject({
  from: device,
  to: device,
  kind: z.enum(['direct', 'relay']),
  messageUs: amount,
  byteUs: amount,
  roundTripUs: amount,
  atMs,
})
export type LinkProfile = z.infer<typeof linkProfile>

/** Lists of a file: bounds what a broken one can make us hold. */
const maxEntries = 100_000

export const profiles = z.strictObject({
  version: z.literal(1),
  /** The measuring machine at the same known work: node times are its own. */
  hub: z.strictObject({ kernels: kernelTimes, atMs }).optional(),
  devices: z.array(deviceProfile).max(maxEntries),
  segments: z.array(segmentProfile).max(maxEntries),
  links: z.array(linkProfile).max(maxEntries),
})
export type Profiles = z.infer<typeof profiles>

export const noProfiles: Profiles = { version: 1, devices: [], segments: [], links: [] }

/** So long a measurement is believed. */
export const deviceGoodForMs = 24 * 3_600_000
export const linkGoodForMs = 3_600_000
/** Segments that are remembered of one device: the newest. */
const maxSegmentsPerDevice = 64
/** Links that nobody measured, where none of the two devices' links was: a gigabit network. */
export const assumedLink = { kind: 'direct', messageUs: 50, byteUs: 0.008, roundTripUs: 1000 } as const

/**
 * Takes the place of what was known of the device. What its segments took against its kernels is kept as it was against the
 * kernels of then: what was expected of them moves with the kernels.
 */
export function withDevice(known: Profiles, profile: DeviceProfile): Profiles {
  const { device } = profile
  const before = known.devices.find((other) => other.device === device)
  const factor = before === undefined ? 1 : slowdown(before, profile)
  return {
    ...known,
    devices: [...known.devices.filter((other) => other.device !== device), profile],
    segments: known.segments.map((segment) =>
      segment.device === device && factor !== 1 ? { ...segment, expectedUs: segment.expectedUs * factor } : segment,
    ),
  }
}

/** How many times as long a device takes for the known work as it did before. */
export function slowdown(before: DeviceProfile, after: DeviceProfile): number {
  const ratios = kernels.map((kernel) => after.kernels[kernel] / before.kernels[kernel])
  const logs = ratios.filter((ratio) => ratio > 0 && ratio < Infinity).map(Math.log)
  return logs.length === 0 ? 1 : Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length)
}

/** Takes the place of an earlier timing of the same segment on the same device. */
export function withSegment(known: Profiles, profile: SegmentProfile): Profiles {
  const isSame = (other: SegmentProfile): boolean =>
    other.device === profile.device &&
    other.model === profile.model &&
    other.from === profile.from &&
    other.to === profile.to
  const others = known.segments.filter((other) => !isSame(other))
  const own = others.filter((other) => other.device === profile.device)
  const dropped = own.length >= maxSegmentsPerDevice ? own[0] : undefined
  return { ...known, segments: [...others.filter((other) => other !== dropped), profile] }
}

export function withLink(known: Profiles, profile: LinkProfile): Profiles {
  const isSame = (other: LinkProfile): boolean => other.from === profile.from && other.to === profile.to
  return { ...known, links: [...known.links.filter((other) => !isSame(other)), profile] }
}

/**
 * What is known of a device is wrong: it is to be measured again, and its figures stand until then. Of its segments only the
 * newest is kept, which said so: the others are of a device that was faster, or slower.
 */
export function contradicted(known: Profiles, id: DeviceId): Profiles {
  const newest = known.segments.filter(({ device }) => device === id).sort((a, b) => b.atMs - a.atMs)[0]
  return {
    ...known,
    devices: known.devices.map((other) => (other.device === id ? { ...other, atMs: 0 } : other)),
    segments: known.segments.filter((segment) => segment.device !== id || segment === newest),
  }
}

export function isStale(atMs: number, nowMs: number, goodForMs: number): boolean {
  return nowMs - atMs > goodForMs
}

/** The devices of `ids`, with the process that runs, that were never measured, too long ago, or in another process. */
export function staleDevices(
  known: Profiles,
  ids: readonly { readonly device: DeviceId; readonly boot: string }[],
  nowMs: number,
): DeviceId[] {
  return ids
    .filter(({ device, boot }) => {
      const profile = known.devices.find((other) => other.device === device)
      return profile === undefined || profile.boot !== boot || isStale(profile.atMs, nowMs, deviceGoodForMs)
    })
    .map(({ device }) => device)
}

/** Pairs of `ids`, each once, one direction of which at least was never probed or too long ago; the oldest first. */
export function stalePairs(known: Profiles, ids: readonly DeviceId[], nowMs: number): [DeviceId, DeviceId][] {
  const ages = new Map(known.links.map(({ from, to, atMs }) => [`${from} ${to}`, atMs]))
  const pairs: { pair: [DeviceId, DeviceId]; atMs: number }[] = []
  for (const [i, a] of ids.entries()) {
    for (const b of ids.slice(i + 1)) {
      const atMs = Math.min(ages.get(`${a} ${b}`) ?? 0, ages.get(`${b} ${a}`) ?? 0)
      if (isStale(atMs, nowMs, linkGoodForMs)) pairs.push({ pair: [a, b], atMs })
    }
  }
  return pairs.sort((one, other) => one.atMs - other.atMs).map(({ pair }) => pair)
}

/** How fast a device is at each kernel against the hub: 0.5 is half as fast. `undefined` before both were measured. */
export function speedOf(known: Profiles, id: DeviceId): KernelTimes | undefined {
  const own = known.devices.find(({ device }) => device === id)?.kernels
  const hub = known.hub?.kernels
  if (own === undefined || hub === undefined) return undefined
  const ratio = (hubUs: number, ownUs: number): number => (ownUs > 0 && hubUs > 0 ? hubUs / ownUs : 1)
  return {
    conv: ratio(hub.conv, own.conv),
    matmul: ratio(hub.matmul, own.matmul),
    element: ratio(hub.element, own.element),
  }
}

/** The nodes of a prepared model, as the hub timed them. */
export interface TimedModel {
  readonly hash: string
  readonly nodes: readonly { readonly opType: string; readonly hubUs: number }[]
}

/** Times of the nodes on a device by its speed alone; `undefined` before device and hub were measured. */
export function expectedNodeUs(known: Profiles, id: DeviceId, { nodes }: TimedModel): number[] | undefined {
  const speed = speedOf(known, id)
  return speed && nodes.map(({ opType, hubUs }) => hubUs / speed[kernelOf(opType)])
}

/**
 * Times of the nodes on a device: by its speed, corrected by the segments of this model that were timed there (the newest
 * of those that have the node), and where none was by all segments that were. `undefined` before device and hub were measured.
 */
export function nodeUsOn(known: Profiles, id: DeviceId, model: TimedModel): number[] | undefined {
  const expected = expectedNodeUs(known, id, model)
  if (expected === undefined) return undefined
  const timed = known.segments.filter((segment) => segment.device === id && segment.expectedUs > 0)
  const usual = usualFactor(timed)
  const factors = expected.map(() => usual)
  const ofModel = timed.filter(({ model: hash, to }) => hash === model.hash && to <= expected.length)
  for (const { from, to, computeUs } of ofModel.sort((a, b) => a.atMs - b.atMs)) {
    const expectedUs = expected.slice(from, to).reduce((sum, us) => sum + us, 0)
    if (expectedUs > 0) factors.fill(computeUs / expectedUs, from, to)
  }
  return expected.map((us, node) => us * factors[node]!)
}

/** By how much segments of a device take longer than its speed says: the geometric mean. */
function usualFactor(timed: readonly SegmentProfile[]): number {
  const logs = timed.filter(({ computeUs }) => computeUs > 0).map((one) => Math.log(one.computeUs / one.expectedUs))
  return logs.length === 0 ? 1 : Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length)
}

/** A link as it was probed; in the other direction; or taken to be as the two devices' other links are, or a usual one. */
export type KnownLink = Omit<LinkProfile, 'from' | 'to' | 'atMs'> & {
  readonly basis: 'probed' | 'reverse' | 'others' | 'assumed'
}

/** One end of a link may be unknown: a client's. */
export function linkBetween(known: Profiles, from: DeviceId | undefined, to: DeviceId | undefined): KnownLink {
  const probed = known.links.find((link) => link.from === from && link.to === to)
  if (probed !== undefined) return { ...costOfLink(probed), basis: 'probed' }
  const reverse = known.links.find((link) => link.from === to && link.to === from)
  if (reverse !== undefined) return { ...costOfLink(reverse), basis: 'reverse' }
  const others = known.links.filter((link) => [from, to].some((end) => end === link.from || end === link.to))
  const middle = others.sort((a, b) => a.byteUs - b.byteUs)[others.length >> 1]
  return middle === undefined ? { ...assumedLink, basis: 'assumed' } : { ...costOfLink(middle), basis: 'others' }
}

function costOfLink({ kind, messageUs, byteUs, roundTripUs }: LinkProfile): Omit<LinkProfile, 'from' | 'to' | 'atMs'> {
  return { kind, messageUs, byteUs, roundTripUs }
}

/** Bytes by which links are compared. */
const usualBytes = 64 << 10

/** Time until a usual message has come. */
export function usualLinkUs({ messageUs, byteUs, roundTripUs }: Omit<KnownLink, 'basis' | 'kind'>): number {
  return messageUs + byteUs * usualBytes + roundTripUs / 2
}

/** The same as the planner prices it: what both ends work is theirs, not the link's. */
export function priced({ messageUs, byteUs, roundTripUs }: KnownLink, seal: Crossing, open: Crossing): Link {
  const oneWayUs = roundTripUs / 2 - seal.messageUs - open.messageUs - messageUs
  return { messageUs, byteUs, latencyUs: Math.max(0, oneWayUs) }
}
