/**
 * A hub or a device in a process of its own, made of the same parts as the programs, which writes down every (key, nonce)
 * it seals under, and, as a device, how many blocks of its segment it has got.
 *
 *     node recorded.js hub|device '{"settings": {…}, "seals": "FILE", …}'
 */

import { createHash } from 'node:crypto'
import { appendFileSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { devicesIn } from '#broker/planner/plan.js'
import { openHub, type HubSettings } from '#broker/open.js'
import { joinFleet, folderStore, type DeviceSettings, type SegmentStore } from '#device/join.js'
import { toHex } from '#shared/bytes.js'
import { type Aeads, nodeAeads } from '#shared/crypto/aead.js'
import { readGoldenSet } from '#shared/onnx/golden.js'
import { readCanonical } from '#shared/onnx/prepare.js'

export interface RecordedHub {
  readonly settings: HubSettings
  readonly seals: string
  readonly model: string
  readonly stages: number
}

export interface RecordedDevice {
  readonly settings: DeviceSettings
  readonly seals: string
  /** Kills itself as soon as so many blocks of the segment are on the disk. */
  readonly dieAfterBlocks?: number
}

/** The real ciphers; each seal adds a line to the file before it is made: `SHA-256(key) nonce`. */
export function recordingTo(file: string): Aeads {
  return (alg) => ({
    seal(key, nonce, ad, parts) {
      appendFileSync(file, `${createHash('sha256').update(key).digest('hex')} ${toHex(nonce)}\n`)
      return nodeAeads(alg).seal(key, nonce, ad, parts)
    },
    open: (...sealed) => nodeAeads(alg).open(...sealed),
  })
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

async function runHub({ settings, seals, model, stages }: RecordedHub): Promise<void> {
  const { hub, uri, fleet, hubKey, relayPort } = await openHub(settings, { aeads: recordingTo(seals) })
  say(`hub ${uri} ${fleet} ${hubKey} ${relayPort}`)
  const bytes = readFileSync(model)
  const { graph } = await readCanonical(bytes, dirname(model))
  const { inputs } = await readGoldenSet(join(dirname(model), 'test_data_set_0'))
  const sample = Object.fromEntries(graph.input.map(({ name }, i) => [name, inputs[i]!]))
  await hub.until(() => hub.online().length >= stages, 600_000, 'that all devices are online')
  const { plan } = await hub.deploy({ name: 'recorded', model: bytes, sample, stages })
  say(`stages ${devicesIn(plan).join(' ')}`)
  await hub.ready(600_000)
  say('ready')
}

/** A folder of segments that counts what is written into it. */
function counting(store: SegmentStore, dieAfter: number): SegmentStore {
  let blocks = 0
  return {
    async open(fileHash, fileBytes) {
      const rest = await store.open(fileHash, fileBytes)
      say(`segment of ${fileBytes} bytes`)
      return {
        bytes: rest.bytes,
        async write(offset, content) {
          await rest.write(offset, content)
          say(`block ${++blocks}`)
          if (blocks === dieAfter) process.kill(process.pid, 'SIGKILL')
        },
        complete: () => rest.complete(),
      }
    },
    keep: (fileHashes) => store.keep(fileHashes),
  }
}

async function runDevice({ settings, seals, dieAfterBlocks }: RecordedDevice): Promise<void> {
  const store = counting(folderStore(join(settings.state!, 'segments')), dieAfterBlocks ?? Infinity)
  const log = (event: string): void => {
    if (event === 'stage ready') say('stage ready')
  }
  const device = await joinFleet(settings, { aeads: recordingTo(seals), store, log })
  say(`device ${device.id}`)
}

const [role, words] = process.argv.slice(2)
if (process.argv[1] === import.meta.filename) {
  if (role === 'hub') await runHub(JSON.parse(words!) as RecordedHub)
  else await runDevice(JSON.parse(words!) as RecordedDevice)
}
