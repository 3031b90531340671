/**
 * Aedes loses acknowledged messages when two are published at once: each takes a number, those to be stored are delayed,
 * and what was overtaken is dropped as a duplicate. This is the table of our study, for the memory store, with the
 * unmended broker beside the mended one, so that the test would show it if the mending stopped to work or to be needed.
 */

import t, { type Test } from 'tap'
import { Aedes } from 'aedes'
import { MqttClient } from 'mqtt'
import { withoutDeduplication } from '#broker/bus/guard.js'
import { newDeviceId } from '#shared/ids.js'
import { Collected, controlPlane } from '#test/support/control-plane.js'
import { memoryLink } from '#test/support/memory-link.js'

interface Flags {
  readonly qos: 0 | 1
  readonly retain: boolean
}
const plain0: Flags = { qos: 0, retain: false }
const plain1: Flags = { qos: 1, retain: false }
const kept0: Flags = { qos: 0, retain: true }
const kept1: Flags = { qos: 1, retain: true }
const pairs = 200

async function openBroker(t: Test, isMended: boolean) {
  const aedes = await Aedes.createBroker({ concurrency: 0 })
  if (isMended) withoutDeduplication(aedes)
  const clients: MqttClient[] = []
  t.teardown(async () => {
    for (const client of clients) client.end(true)
    await new Promise<void>((resolve) => aedes.close(resolve))
  })
  const connect = async (clientId: string): Promise<MqttClient> => {
    const [here, there] = memoryLink()
    aedes.handle(there)
    const client = new MqttClient(() => here, { clientId, reconnectPeriod: 0, keepalive: 0 })
    clients.push(client)
    await new Promise((resolve) => client.once('connect', resolve))
    return client
  }
  const publish = (topic: string, payload: string, flags: Flags): Promise<void> =>
    new Promise((resolve, reject) => {
      const packet = { cmd: 'publish' as const, topic, payload: Buffer.from(payload), dup: false, ...flags }
      aedes.publish(packet, (error) => (error ? reject(error) : resolve()))
    })
  const reader = await connect('reader')
  const got = new Collected<string>()
  reader.on('message', (topic, payload) => got.add(`${topic.slice(2)} ${payload.toString()}`))
  await reader.subscribeAsync('a/#', { qos: 1 })
  return { connect, publish, got }
}

/** Everything that reached the reader, once a last message has: by then all others are there, or lost. */
async function settled(got: Collected<string>): Promise<{ first: string[]; second: string[] }> {
  const values = await got.until((all) => all.includes('end 0'))
  return {
    first: values.filter((value) => value.startsWith('first ')),
    second: values.filter((value) => value.startsWith('second ')),
  }
}

const inOrder = (name: string): string[] => Array.from({ length: pairs }, (_, i) => `${name} ${i}`)

const hubCases: readonly [string, Flags, Flags][] = [
  ['QoS 1, then QoS 0', plain1, plain0],
  ['retained QoS 1, then plain QoS 1', kept1, plain1],
  ['retained QoS 1, then QoS 0', kept1, plain0],
]
for (const [name, first, second] of hubCases) {
  t.test(`the hub publishes ${name} in one tick: all arrive in order, unlike without the work-around`, async (t) => {
    for (const isMended of [false, true]) {
      const { publish, got } = await openBroker(t, isMended)
      for (let i = 0; i < pairs; i++) {
        await Promise.all([publish('a/first', String(i), first), publish('a/second', String(i), second)])
      }
      await publish('a/end', '0', plain1)
      const seen = await settled(got)
      t.strictSame(seen.second, inOrder('second'))
      if (isMended) t.strictSame(seen.first, inOrder('first'))
      else t.ok(seen.first.length < pairs / 10, `${seen.first.length} of ${pairs} arrive without the work-around`)
    }
  })
}

t.test(
  'a device publishes retained QoS 0, then plain QoS 0 in one tick: all arrive in order, unlike without',
  async (t) => {
    for (const isMended of [false, true]) {
      const { connect, publish, got } = await openBroker(t, isMended)
      const device = await connect('device')
      for (let i = 0; i < pairs; i++) {
        const both = [
          device.publishAsync('a/first', String(i), kept0),
          device.publishAsync('a/second', String(i), plain0),
        ]
        await Promise.all(both)
        await got.until((all) => all.includes(`second ${i}`))
      }
      await publish('a/end', '0', plain1)
      const seen = await settled(got)
      t.strictSame(seen.second, inOrder('second'))
      if (isMended) t.strictSame(seen.first, inOrder('first'))
      else t.ok(seen.first.length < pairs / 10, `${seen.first.length} of ${pairs} arrive without the work-around`)
    }
  },
)

t.test('two devices publish at the same time, paced and in bursts: all arrive, each kind in order', async (t) => {
  for (const [first, second] of [
    [kept1, plain0],
    [kept1, plain1],
    [plain1, plain0],
    [kept0, plain0],
  ] as const) {
    for (const isBurst of [false, true]) {
      const { connect, publish, got } = await openBroker(t, true)
      const [one, two] = [await connect('one'), await connect('two')]
      const sent: Promise<unknown>[] = []
      for (let i = 0; i < pairs; i++) {
        sent.push(one.publishAsync('a/first', String(i), first), two.publishAsync('a/second', String(i), second))
        if (!isBurst) await got.until((all) => all.length >= 2 * (i + 1))
      }
      await Promise.all(sent)
      await got.until(2 * pairs)
      await publish('a/end', '0', plain1)
      const seen = await settled(got)
      t.strictSame(seen, { first: inOrder('first'), second: inOrder('second') }, JSON.stringify([first, second]))
    }
  }
})

t.test('what the hub says through the bus in one tick arrives in order, retained state and blocks alike', async (t) => {
  const { bus, device, random } = await controlPlane(t)
  const id = newDeviceId(random)
  const { control } = await device({ id })
  const got = new Collected<string>()
  control.on('assignment', ({ body }) => got.add(`assignment ${body.rev}`))
  control.on('blob', (_message, levels) => got.add(`blob ${levels[2]}`))
  control.on('command', () => got.add('command'))
  const expected: string[] = []
  for (let i = 0; i < 100; i++) {
    void bus.publish('assignment', [id], { rev: i, work: { kind: 'none' } })
    void bus.publish('blob', [id, 'ab12cd34', i], new Uint8Array(100))
    void bus.publish('command', [id], { name: 'rebirth' })
    expected.push(`assignment ${i}`, `blob ${i}`, 'command')
  }
  t.strictSame(await got.until(expected.length), expected)
})
