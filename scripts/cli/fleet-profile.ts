/** `tessera fleet profile`: what a hub had measured, as it stands in the hub's folder. */

import { readProfiles } from '#broker/fleet/profiles.js'
import { isStale, deviceGoodForMs, linkGoodForMs, profiles, speedOf, type Profiles } from '#broker/planner/profile.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import { showBytes, table } from './model-table.js'

interface Flags {
  readonly state: string
  readonly json: boolean
}

/** Throws `Refusal`: `missing-file` where nothing was measured yet, `bad-config` for a file that is none. */
export async function showProfile({ state, json }: Flags): Promise<void> {
  const known = await readProfiles(state, profiles)
  if (known === undefined) {
    throw new Refusal(
      'missing-file',
      `'${state}' holds no profiles: name the folder of a hub with --state, and let a device join it`,
    )
  }
  const nowMs = Date.now()
  process.stdout.write(json ? `${JSON.stringify(plain(known, nowMs))}\n` : page(known, nowMs))
}

/** The file, with the speeds and ages that follow from it. */
function plain(known: Profiles, nowMs: number): object {
  const aged = (atMs: number, goodForMs: number) => ({
    ageSeconds: Math.round((nowMs - atMs) / 1000),
    isStale: isStale(atMs, nowMs, goodForMs),
  })
  return {
    ...known,
    devices: known.devices.map((device) => ({
      ...device,
      speed: speedOf(known, device.device) ?? null,
      ...aged(device.atMs, deviceGoodForMs),
    })),
    segments: known.segments.map((segment) => ({ ...segment, ...aged(segment.atMs, deviceGoodForMs) })),
    links: known.links.map((link) => ({ ...link, ...aged(link.atMs, linkGoodForMs) })),
  }
}

function page(known: Profiles, nowMs: number): string {
  const nameOf = (id: DeviceId): string => known.devices.find(({ device }) => device === id)?.name ?? id
  const ageOf = (atMs: number, goodForMs: number): string =>
    `${showAge(nowMs - atMs)}${isStale(atMs, nowMs, goodForMs) ? ', stale' : ''}`
  const devices = known.devices.map((device) => {
    const speed = speedOf(known, device.device)
    return [
      device.name,
      device.device.slice(0, 9),
      ...(['conv', 'matmul', 'element'] as const).map((kernel) => speed?.[kernel].toFixed(2) ?? '-'),
      showUs(device.stageUs),
      showCrossing(device.seal),
      showCrossing(device.open),
      showBytes(device.memoryBytes),
      ageOf(device.atMs, deviceGoodForMs),
    ]
  })
  const links = known.links.map(({ from, to, kind, byteUs, messageUs, roundTripUs, atMs }) => [
    nameOf(from),
    nameOf(to),
    kind,
    byteUs > 0 ? showRate(8 / byteUs) : '-',
    showUs(roundTripUs),
    showUs(messageUs),
    ageOf(atMs, linkGoodForMs),
  ])
  const segments = known.segments.map(({ device, model, from, to, computeUs, expectedUs, peakBytes, by, atMs }) => [
    nameOf(device),
    model.slice(0, 8),
    `${from}-${to - 1}`,
    showUs(computeUs),
    expectedUs > 0 ? `${(computeUs / expectedUs).toFixed(2)} x` : '-',
    peakBytes === undefined ? '-' : showBytes(peakBytes),
    how[by],
    ageOf(atMs, deviceGoodForMs),
  ])
  return [
    section(`${devices.length} devices`, deviceHeads, devices, [2, 3, 4, 5, 6, 7, 8]),
    section(`${links.length} links`, linkHeads, links, [3, 4, 5]),
    ...(segments.length === 0 ? [] : [section(`${segments.length} segments`, segmentHeads, segments, [3, 4, 5])]),
  ].join('\n')
}

const deviceHeads = ['device', 'id', 'conv', 'matmul', 'other', 'call', 'seal', 'open', 'free', 'age']
const linkHeads = ['from', 'to', 'kind', 'rate', 'there and back', 'message', 'age']
const segmentHeads = ['device', 'model', 'nodes', 'time', 'of expected', 'memory', 'timed', 'age']
const how = { order: 'by order', load: 'as it was loaded', work: 'at work' } as const

function section(title: string, heads: string[], rows: string[][], right: readonly number[]): string {
  return `${title}\n${rows.length === 0 ? '' : table([heads, ...rows], right)}`
}

function showUs(us: number): string {
  if (us >= 999_500) return `${(us / 1e6).toFixed(2)} s`
  return us >= 1000 ? `${(us / 1000).toFixed(us >= 10_000 ? 1 : 2)} ms` : `${us.toFixed(us >= 10 ? 0 : 1)} us`
}

/** For a message, and for a megabyte of it. */
function showCrossing({ messageUs, byteUs }: { messageUs: number; byteUs: number }): string {
  return `${showUs(messageUs)} + ${showUs(byteUs * 1e6)}/MB`
}

/** Megabits a second are bits a microsecond. */
function showRate(megabits: number): string {
  return megabits >= 1000 ? `${(megabits / 1000).toFixed(1)} Gbit/s` : `${megabits.toPrecision(3)} Mbit/s`
}

function showAge(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`
}
