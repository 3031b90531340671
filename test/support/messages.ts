/** One valid body for every topic that has a shape. */

import type { BodyOf, TopicName } from '#shared/protocol/topics.js'
import { topics } from '#shared/protocol/topics.js'
import type { DeviceId } from '#shared/ids.js'

const id: DeviceId = `d${'12'.repeat(16)}`
const port = { name: 'logits', dtype: 'float32' as const, shape: [1, 10] }
const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(7)

const bodies: { readonly [N in TopicName]: BodyOf<N> } = {
  hub: { state: 'online', id, key: bytes(32), term: 4 },
  status: { state: 'online' },
  birth: {
    role: 'device',
    name: 'shelf 3',
    key: bytes(32),
    boxKey: bytes(32),
    versions: { tessera: '0.1.0', node: '20.20.2', onnxRuntime: '1.30.0' },
    cpu: { arch: 'x64', model: 'a processor', cores: 4, aesInstructions: true },
    memoryBytes: 2 ** 33,
  },
  endpoint: { addresses: [{ host: '10.0.0.7', port: 4433 }] },
  root: { bootId: bytes(8), epoch: 1, ordinal: 0, alg: 1, ephemeral: bytes(32), box: bytes(48) },
  assignment: {
    rev: 3,
    work: {
      kind: 'stage',
      plan: 1,
      model: 'digits',
      stages: 3,
      clients: [{ device: id, run: bytes(8) }],
      stage: 1,
      takes: [{ stage: 0, devices: [id], tensors: [port] }],
      sends: [{ stage: 2, devices: [id], tensors: [{ ...port, slice: { axis: 1, at: 0, of: 20 } }] }],
      segment: {
        name: 'digits-1',
        version: 1,
        modelId: bytes(16),
        fileBytes: 100_000,
        fileHash: bytes(32),
        blockBytes: 65_536,
        blockHashes: bytes(64),
      },
      runInputs: [port],
      runOutputs: [port],
    },
  },
  assigned: {
    rev: 3,
    state: 'failed',
    reason: { code: 'bad-segment', message: 'no' },
    blocks: { have: 1, of: 2 },
    computeUs: 5,
  },
  blobGet: { file: bytes(32), first: 0, count: 8, missing: bytes(1) },
  blob: bytes(100),
  telemetry: {
    plan: 1,
    stage: 1,
    frames: 9,
    computeUs: 900,
    queued: 0,
    retained: 1,
    duplicates: 0,
    refused: 0,
    links: [{ peer: id, kind: 'direct', sentBytes: 1000, sentFrames: 9 }],
    residentBytes: 2 ** 27,
  },
  command: { name: 'drain' },
  measure: { order: 5, what: { kind: 'link', peer: id, part: 'ask' } },
  measured: {
    order: 5,
    result: { kind: 'link', peer: id, link: 'direct', messageNs: 9000, bytePs: 900, roundTripNs: 150_000 },
  },
  peer: bytes(100),
  in: bytes(100),
  ok: bytes(100),
}

/** Gives one valid body of a topic. */
export function sampleBody<N extends TopicName>(name: N): BodyOf<N> {
  return structuredClone(bodies[name])
}

export const topicNames = Object.keys(topics) as TopicName[]
