/** Whoever can reach the sockets may send anything or nothing: it is refused, and the fleet goes on. */

import { writeFileSync } from 'node:fs'
import { connect as dial, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect, type Client, type Inference } from '#device/connect.js'
import { labelledWorkload } from '#scripts/demo/workload.js'
import { seededRandom } from '#shared/random.js'
import { floats, ints } from '#test/support/models.js'
import { digits, freePort, startDevice, startHub, type Running } from '#test/support/processes.js'

const workload = await labelledWorkload(digits)
const random = seededRandom('strangers')

interface Fleet {
  readonly processes: readonly Running[]
  readonly client: Client
  /** The three kinds of sockets: control and relay of the hub, frames of each device. */
  readonly ports: readonly number[]
}

async function start(t: Test): Promise<Fleet> {
  const folder = t.testdir({})
  const [control, relay, ...direct] = [await freePort(), await freePort(), await freePort(), await freePort()]
  const hub = await startHub(
    t,
    join(folder, 'hub'),
    `listen: { port: ${control}, relayPort: ${relay} }
deploy: { name: digits, model: '${join(digits, 'model.onnx')}', data: '${digits}', stages: 2 }\n`,
  )
  const devices = direct.map((port, index) => {
    const file = join(folder, `${index}.yaml`)
    writeFileSync(file, `fleet: ${hub.fleet}\nstate: ${index}\nlisten: { port: ${port} }\n`)
    return startDevice(t, hub, join(folder, `${index}`), '--config', file)
  })
  await hub.hub.says(/^'digits' is ready/m)
  const client = await connect({ hub: hub.uri, fleet: hub.fleet })
  await client.ready(60_000)
  return { processes: [hub.hub, ...devices], client, ports: [control, relay, ...direct] }
}

const mqttConnect = (clientId: string, remaining?: number): Buffer => {
  const payload = Buffer.concat([Buffer.from([0, clientId.length]), Buffer.from(clientId)])
  const body = Buffer.concat([Buffer.from([0, 4]), Buffer.from('MQTT'), Buffer.from([4, 2, 0, 60]), payload])
  return Buffer.concat([Buffer.from([0x10, remaining ?? body.length]), body])
}

/** Everything that might be sent to a port by somebody who should not. */
const garbage: Record<string, Uint8Array> = {
  nothing: new Uint8Array(0),
  'one byte': Uint8Array.of(0x10),
  'random bytes': random(4096),
  'a web request': Buffer.from('GET / HTTP/1.1\r\nHost: hub\r\n\r\n'),
  'a TLS hello': Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, ...random(64)]),
  'a record of 4 GiB': Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
  'an MQTT packet of 256 MiB': Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f, ...random(32)]),
  'an MQTT client of no fleet': mqttConnect('somebody'),
  'an MQTT client with a device id and no password': mqttConnect(`d${'0'.repeat(32)}`),
  'half an MQTT CONNECT': mqttConnect(`d${'0'.repeat(32)}`).subarray(0, 12),
  'a PUBLISH before CONNECT': Buffer.from([0x30, 5, 0, 3, 0x61, 0x2f, 0x62]),
  zeros: new Uint8Array(65_536),
}

/** Opens a connection, sends bytes, and resolves when the other side ends it. */
function refused(port: number, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const socket = dial({ port, host: '127.0.0.1' })
    socket.on('error', () => {})
    socket.on('close', () => resolve())
    socket.on('connect', () => socket.write(bytes))
    socket.resume()
  })
}

async function works({ client, processes }: Fleet, t: Test, name: string): Promise<void> {
  const results: Inference[] = await Promise.all(
    Array.from({ length: 4 }, (_, index) => client.infer(workload.request(index))),
  )
  t.equal(results.length, 4, name)
  for (const process of processes) t.ok(process.isRunning)
}

t.test('whatever comes to any port is refused, and the pipeline goes on', async (t) => {
  const fleet = await start(t)
  await works(fleet, t, 'before')

  // Some are ended at once, those that say too little when their time is up (2 s for frames, 10 s for MQTT).
  const ended = fleet.ports.flatMap((port) => Object.values(garbage).map((bytes) => refused(port, bytes)))
  await works(fleet, t, 'meanwhile')
  await Promise.all(ended)
  await works(fleet, t, 'afterwards')

  // Half-open: many that connect and say nothing, and go without a word.
  const silent: Socket[] = fleet.ports.flatMap((port) =>
    Array.from({ length: 40 }, () => dial({ port, host: '127.0.0.1' }).on('error', () => {})),
  )
  await works(fleet, t, 'with silent strangers')
  for (const socket of silent) socket.resetAndDestroy()
  await works(fleet, t, 'when they are gone')

  for (const { stderr, stdout } of fleet.processes) {
    t.notMatch(stderr, /\n {4}at |unexpected|Uncaught/, 'no stack trace')
    t.notMatch(stdout, /\n {4}at /)
  }
  await fleet.client.close()
  for (const process of fleet.processes) t.match(await process.stop(), { status: 0 }, 'all end in order')
})

t.test('a request that does not fit is refused by name before anything is sent, and harms no other', async (t) => {
  const fleet = await start(t)
  const { client } = fleet
  const image = workload.request(0)['image']!
  const refuse = (inputs: Parameters<Client['infer']>[0], message: RegExp): Promise<unknown> =>
    t.rejects(client.infer(inputs), { code: 'bad-tensor', message })
  await refuse({}, /input 'image' is missing/)
  await refuse({ picture: image }, /the model has no input 'picture': its inputs are 'image'/)
  await refuse({ image, more: image }, /the model has no input 'more'/)
  await refuse(
    { image: floats([1, 1, 8, 8], Array(64).fill(0)) },
    /'image' must be float32\[1,1,32,32\], got float32\[1,1,8,8\]/,
  )
  await refuse({ image: ints([1, 1, 32, 32], Array(1024).fill(0)) }, /must be float32\[1,1,32,32\], got int64/)
  await refuse({ image: { ...image, data: new Uint8Array(4) } }, /4 bytes instead of 4096 bytes/)
  await refuse({ image: { ...image, shape: [1, 1, 32, -32] } }, /'image' must be/)
  await works(fleet, t, 'afterwards')
  t.equal(client.open, 0)
  await client.close()
})
