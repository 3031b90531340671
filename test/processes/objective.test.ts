/** A hub with an objective, its devices and `tessera fleet profile`, each a process of its own. */

import { join } from 'node:path'
import t from 'tap'
import { connect } from '#device/connect.js'
import { prepare } from '#shared/onnx/prepare.js'
import { loadEngine } from '#shared/onnx/session.js'
import { sameBits } from '#shared/onnx/tensor.js'
import { labelledWorkload } from '#scripts/demo/workload.js'
import { digits, programs, run, startDevice, startHub } from '#test/support/processes.js'

interface Shown {
  readonly devices: readonly { readonly name: string; readonly speed: object | null; readonly isStale: boolean }[]
  readonly links: readonly { readonly kind: string }[]
  readonly segments: readonly { readonly by: string; readonly computeUs: number }[]
}

t.test('a hub with an objective measures its devices, plans by it, and anybody can see the figures', async (t) => {
  const folder = t.testdir({})
  const deploy = `deploy:\n  name: digits\n  model: ${join(digits, 'model.onnx')}\n  data: ${digits}\n  stages: 2\n  objective: throughput\n`
  const hub = await startHub(t, folder, deploy)
  for (const name of ['left', 'right']) startDevice(t, hub, join(folder, name), '--name', name)
  const [, stages] = await hub.hub.says(/^'digits' is ready in (\d) sealed segments/m)
  const state = join(folder, 'state')
  const shown = async (): Promise<Shown> => {
    const { status, stdout } = await run(t, programs.tessera, ['fleet', 'profile', '--state', state, '--json'])
    t.equal(status, 0)
    return JSON.parse(stdout) as Shown
  }
  let known = await shown()
  // The hub writes a moment after it has measured.
  while (known.segments.some(({ by }) => by !== 'order') || known.segments.length < Number(stages))
    known = await shown()
  t.strictSame(known.devices.map(({ name }) => name).sort(), ['left', 'right'])
  t.ok(known.devices.every(({ speed, isStale }) => speed !== null && !isStale))
  t.ok(known.links.length === 2 && known.links.every(({ kind }) => kind === 'direct'))
  const { status, stdout } = await run(t, programs.tessera, ['fleet', 'profile', '--state', state])
  t.equal(status, 0)
  t.match(stdout, /^2 devices\n(.*\n)*2 links\n(.*\n)*\d segments\n(.*\n)*.*by order/)

  const workload = await labelledWorkload(digits)
  const client = await connect({ hub: hub.uri, fleet: hub.fleet })
  t.teardown(() => client.close())
  await client.ready()
  const engine = await loadEngine()
  const { bytes } = await prepare(workload.model, { engine, level: 'all', sample: workload.sample, folder: digits })
  const session = await engine.create(bytes, { level: 'disabled' })
  t.teardown(() => session.release())
  for (let request = 130; request < 134; request++) {
    const { outputs } = await client.infer(workload.request(request))
    const expected = await session.run(workload.request(request))
    t.ok(Object.entries(expected).every(([name, tensor]) => sameBits(outputs[name]!, tensor)))
  }
  t.match(await hub.hub.stop(), { status: 0 })
})
