/** A standalone hub, its devices and a client, each a process that can die at any moment. */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connect, type Client, type Tensor } from '#device/connect.js'
import { prepare } from '#shared/onnx/prepare.js'
import { loadEngine } from '#shared/onnx/session.js'
import { sameBits } from '#shared/onnx/tensor.js'
import { labelledWorkload } from '#scripts/demo/workload.js'
import { digits, Running, startDevice, startHub } from '#test/support/processes.js'
import { recordingTo, type RecordedDevice, type RecordedHub } from '#test/support/recorded.js'

const recorded = join(import.meta.dirname, '../support/recorded.js')
const workload = await labelledWorkload(digits)

/** The unsplit model: what every result must equal, bit for bit. */
async function reference(t: Test): Promise<(request: number) => Promise<Record<string, Tensor>>> {
  const engine = await loadEngine()
  const { bytes } = await prepare(workload.model, { engine, level: 'all', sample: workload.sample, folder: digits })
  const session = await engine.create(bytes, { level: 'disabled' })
  t.teardown(() => session.release())
  return (request) => session.run(workload.request(request))
}

/** A recorded fleet: every process writes down what it seals, each into a file of its own. */
class RecordedFleet {
  readonly #t: Test
  readonly #folder: string
  readonly #stages: number
  #member!: { hub: string; fleet: string; hubKey: string }
  #processes = 0
  hub!: Running

  constructor(t: Test, stages: number) {
    this.#t = t
    this.#folder = t.testdir({ seals: {} })
    this.#stages = stages
  }

  /** Starts the hub; the same one again where it ran before. */
  async startHub(listen = { port: 0, relayPort: 0 }): Promise<void> {
    const settings = { state: join(this.#folder, 'hub'), listen }
    const given: RecordedHub = {
      settings,
      seals: this.seals(),
      model: join(digits, 'model.onnx'),
      stages: this.#stages,
    }
    this.hub = new Running(this.#t, recorded, ['hub', JSON.stringify(given)])
    const [, hub, fleet, hubKey] = await this.hub.says(/^hub (\S+) (\S+) (\S+)$/m)
    this.#member = { hub: hub!, fleet: fleet!, hubKey: hubKey! }
  }

  get port(): number {
    return Number(new URL(this.#member.hub).port)
  }

  device(name: string, more: Partial<RecordedDevice> = {}): Running {
    const settings = { ...this.#member, state: join(this.#folder, name), name }
    const given: RecordedDevice = { settings, seals: this.seals(), ...more }
    return new Running(this.#t, recorded, ['device', JSON.stringify(given)])
  }

  async client(): Promise<Client> {
    const client = await connect(this.#member, { aeads: recordingTo(this.seals()) })
    this.#t.teardown(() => client.close())
    return client
  }

  seals(): string {
    return join(this.#folder, 'seals', `${this.#processes++}`)
  }

  /** Asserts that no (key, nonce) was used twice, over all processes that ever ran; returns how many seals there were. */
  assertNoNonceTwice(): number {
    const used = new Map<string, string>()
    for (const file of readdirSync(join(this.#folder, 'seals'))) {
      for (const line of readFileSync(join(this.#folder, 'seals', file), 'utf8')
        .trimEnd()
        .split('\n')) {
        const before = used.get(line)
        if (before !== undefined) this.#t.fail(`process ${file} sealed under what process ${before} had: ${line}`)
        used.set(line, file)
      }
    }
    return used.size
  }
}

/** Sends requests `[from, to)`, a few at once; each must finish once, with the bits of the unsplit model. */
async function stream(
  t: Test,
  client: Client,
  expected: (request: number) => Promise<Record<string, Tensor>>,
  [from, to]: readonly [number, number],
  onResult: (results: number) => void = () => {},
): Promise<void> {
  let next = from
  let results = 0
  const wrong: number[] = []
  const seen = new Set<number>()
  async function serve(): Promise<void> {
    while (next < to) {
      const request = next++
      const { outputs, request: number } = await client.infer(workload.request(request))
      const wanted = await expected(request)
      if (seen.has(number)) wrong.push(request)
      seen.add(number)
      if (!Object.keys(wanted).every((name) => sameBits(outputs[name]!, wanted[name]!))) wrong.push(request)
      onResult(++results)
    }
  }
  await Promise.all(Array.from({ length: 6 }, serve))
  t.equal(results, to - from, 'every request has finished')
  t.strictSame(wrong, [], 'each once, with the bits of the unsplit model')
  t.equal(client.open, 0)
}

t.test('devices killed in mid-stream come back, nothing is lost, and no key and nonce serve twice', async (t) => {
  const fleet = new RecordedFleet(t, 3)
  await fleet.startHub()
  const names = ['a', 'b', 'c']
  const devices = names.map((name) => fleet.device(name))
  const expected = await reference(t)
  await fleet.hub.says(/^ready$/m)
  const client = await fleet.client()
  await client.ready(60_000)

  const restarts: Promise<void>[] = []
  const restart = async (index: number): Promise<void> => {
    await devices[index]!.stop('SIGKILL')
    devices[index] = fleet.device(names[index]!)
    await devices[index].says(/^stage ready$/m)
  }
  await stream(t, client, expected, [0, 120], (results) => {
    // One after the other, each in the middle of the traffic.
    if (results % 30 === 15 && results < 90) restarts.push(restart((results - 15) / 30))
  })
  await Promise.all(restarts)
  t.equal(restarts.length, 3)
  const seals = fleet.assertNoNonceTwice()
  t.ok(seals > 120 * 4, `${seals} seals were recorded`)
})
