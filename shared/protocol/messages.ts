/** What is said on the topics of `topics.ts`: one shape a message; the type follows from it. */

import { z } from 'zod'
import { deviceIdPattern, type DeviceId } from '../ids.js'

export const bytes = (length: number) =>
  z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === length, `must be ${length} bytes`)
export const bytesUpTo = (limit: number) =>
  z.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length <= limit,
    `must be bytes, at most ${limit}`,
  )
export const uint = z.int().min(0)
export const text = (limit: number) => z.string().max(limit)
export const deviceId = z.custom<DeviceId>(
  (value) => typeof value === 'string' && deviceIdPattern.test(value),
  'must be a device id (d + 32 hex digits)',
)

/** The hub is here (retained; `offline` is its last will where the broker is not its own). */
export const hub = z.strictObject({
  state: z.enum(['online', 'offline']),
  id: deviceId,
  /** Ed25519 key that signs everything the hub says. */
  key: bytes(32),
  /** Grows with every start of the hub: a device obeys no older one. */
  term: uint,
})
export type HubState = z.infer<typeof hub>

/** Presence (retained); `offline` is the last will. */
export const status = z.strictObject({ state: z.enum(['online', 'draining', 'offline']) })
export type Status = z.infer<typeof status>

/** A device introduces itself, and again whenever it misses something that it was promised. */
export const birth = z.strictObject({
  role: z.enum(['device', 'client']),
  name: text(64),
  /** Ed25519 identity; the hub pins the first it hears for an id. */
  key: bytes(32),
  /** X25519 key of this run of the process: the hub boxes the pair root of the device-hub session to it. */
  boxKey: bytes(32),
  versions: z.strictObject({ tessera: text(32), node: text(32), onnxRuntime: text(32) }),
  cpu: z.strictObject({ arch: text(16), model: text(128), cores: uint, aesInstructions: z.boolean() }),
  memoryBytes: uint,
})
export type Birth = z.infer<typeof birth>

/** Where frames can be sent to directly (retained; no addresses = relay only). */
export const endpoint = z.strictObject({
  addresses: z.array(z.strictObject({ host: text(255), port: z.int().min(0).max(65535) })).max(8),
})
export type Endpoint = z.infer<typeof endpoint>

/** One end of the pair root that opens the device-hub session: a box to the device's `boxKey`. Dies with both boots. */
export const root = z.strictObject({
  /** The boot of the device that the box is for. */
  bootId: bytes(8),
  epoch: uint,
  ordinal: z.int().min(0).max(0xffff),
  alg: z.union([z.literal(1), z.literal(2)]),
  ephemeral: bytes(32),
  box: bytesUpTo(128),
})
export type Root = z.infer<typeof root>

const portFields = {
  name: text(512),
  dtype: z.enum([
    'float32',
    'float64',
    'float16',
    'int8',
    'int16',
    'int32',
    'int64',
    'uint8',
    'uint16',
    'uint32',
    'uint64',
    'bool',
    'string',
  ]),
  shape: z.array(uint).max(16),
  /** The shape depends on values: the one given is only an example. */
  varies: z.literal(true).exactOptional(),
}
export const ports = z.array(z.strictObject(portFields)).max(1024)

/** Devices that hold one stage and take requests in turn. */
export const maxReplicas = 64

/** What goes between two stages of a plan, as one of them is told: all of it is one frame a request. */
const leg = z.strictObject({
  /** The stage at the other end; the number of stages where that is the client. */
  stage: uint,
  /** Its devices: the request number modulo their count says which one. None: the client whose request it is. */
  devices: z.array(deviceId).max(maxReplicas),
  tensors: z
    .array(
      z.strictObject({
        ...portFields,
        /** Only a part of the tensor of this name that this end has: from `at` on along `axis`, of `of` elements. */
        slice: z.strictObject({ axis: uint, at: uint, of: uint }).exactOptional(),
      }),
    )
    .max(1024),
})
export type Leg = z.infer<typeof leg>
const legs = z.array(leg).max(256)

/** A sealed segment file, in blocks; the hash of each tells a resuming device which one is bad. */
export const segmentFile = z.strictObject({
  /** FKE's `seg` and `ver`. */
  name: text(64),
  version: uint,
  modelId: bytes(16),
  fileBytes: uint,
  /** SHA-256 of the whole file. */
  fileHash: bytes(32),
  blockBytes: z
    .int()
    .min(1024)
    .max(1 << 20),
  /** SHA-256 of every block, one after the other. */
  blockHashes: bytesUpTo(8192 * 32),
})
export type SegmentFile = z.infer<typeof segmentFile>

/** Clients that one plan may have: every assignment of a stage names them all. */
export const maxClients = 64

/** Stages of one plan; each part of a parted stage counts. */
export const maxStages = 256

const edges = {
  plan: uint,
  model: text(64),
  stages: z.int().min(1).max(maxStages),
  /** What comes for a request, and what goes; a request is at work when all of the first is here. */
  takes: legs,
  sends: legs,
}

/** What the hub wants of a device (retained, desired state): the device reports `assigned` until the two agree. */
export const assignment = z.strictObject({
  rev: uint,
  work: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('none') }),
    z.strictObject({
      kind: z.literal('stage'),
      ...edges,
      stage: uint,
      /** With the process (bootId) that runs now: nobody waits for what an earlier one of them asked. */
      clients: z.array(z.strictObject({ device: deviceId, run: bytes(8) })).max(maxClients),
      segment: segmentFile,
      runInputs: ports,
      runOutputs: ports,
    }),
    z.strictObject({
      kind: z.literal('client'),
      ...edges,
      inputs: ports,
      outputs: ports,
    }),
  ]),
})
export type Assignment = z.infer<typeof assignment>
export type StageWork = Extract<Assignment['work'], { kind: 'stage' }>
export type ClientWork = Extract<Assignment['work'], { kind: 'client' }>

/** What the device has made of its assignment (reported state). */
export const assigned = z.strictObject({
  rev: uint,
  state: z.enum(['loading', 'ready', 'failed']),
  reason: z.strictObject({ code: text(32), message: text(512) }).optional(),
  /** Blocks of the segment held so far, and in all. */
  blocks: z.strictObject({ have: uint, of: uint }).optional(),
  /** Least time of the stage on its own, when it was loaded, in microseconds. */
  computeUs: uint.optional(),
})
export type Assigned = z.infer<typeof assigned>

/** Asks for blocks of a file: those of `[first, first + count)` whose bit in `missing` is set (bit 0 = 0x80 of byte 0). */
export const blobGet = z.strictObject({
  file: bytes(32),
  first: uint,
  count: z.int().min(1).max(8192),
  missing: bytesUpTo(1024),
})
export type BlobGet = z.infer<typeof blobGet>

/** Counters of a stage since its process began, so that a lost report loses nothing. Times in microseconds. */
export const stageTelemetry = z.strictObject({
  plan: uint,
  stage: uint,
  frames: uint,
  computeUs: uint,
  queued: uint,
  retained: uint,
  duplicates: uint,
  refused: uint,
  links: z
    .array(
      z.strictObject({ peer: deviceId, kind: z.enum(['direct', 'relay', 'none']), sentBytes: uint, sentFrames: uint }),
    )
    .max(128),
  residentBytes: uint,
})
export type StageTelemetry = z.infer<typeof stageTelemetry>

/** An order that is done at once and can be repeated without harm. */
export const command = z.strictObject({ name: z.enum(['rebirth', 'drain', 'exit']) })
export type Command = z.infer<typeof command>
