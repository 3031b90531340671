import t from 'tap'
import { clientWork, peersIn, stageWork, type Plan } from '#broker/planner/plan.js'
import { peersOf } from '#device/device.js'
import { newDeviceId, type DeviceId } from '#shared/ids.js'
import type { Port } from '#shared/onnx/tensor.js'
import { assignment } from '#shared/protocol/messages.js'
import { seededRandom } from '#shared/random.js'

const random = seededRandom('plan')
const id = (): DeviceId => newDeviceId(random)
const port = (name: string): Port => ({ name, dtype: 'float32', shape: [1, 2] })

function planOf(stages: number, clients: number): Plan {
  return {
    plan: 3,
    model: 'digits',
    inputs: [port('x')],
    outputs: [port('y')],
    clients: Array.from({ length: clients }, id),
    stages: Array.from({ length: stages }, (_, i) => ({
      device: id(),
      segment: {
        name: `digits/seg-${i}`,
        version: 3,
        modelId: random(16),
        fileBytes: 2000,
        fileHash: random(32),
        blockBytes: 1024,
        blockHashes: random(64),
      },
      receives: [port(`t${i}`)],
      sends: [port(`t${i + 1}`)],
      runInputs: [port(`t${i}`)],
      runOutputs: [port(`t${i + 1}`)],
    })),
  }
}

t.test('every member is told a shape that the wire knows, with its neighbours in the chain', (t) => {
  for (const stages of [1, 2, 5]) {
    const plan = planOf(stages, 2)
    const devices = plan.stages.map(({ device }) => device)
    for (const [i] of devices.entries()) {
      const work = stageWork(plan, i)
      t.ok(assignment.safeParse({ rev: 1, work }).success)
      t.strictSame([work.stage, work.stages, work.plan], [i, stages, 3])
      t.equal(work.upstream, devices[i - 1])
      t.equal(work.downstream, devices[i + 1])
      t.equal('upstream' in work, i > 0, 'what is not there is not named')
    }
    const work = clientWork(plan)
    t.ok(assignment.safeParse({ rev: 1, work }).success)
    t.strictSame([work.first, work.last], [devices[0], devices.at(-1)])
  }
  t.end()
})

t.test('the peers that the hub gives rights and keys for are those that the members look for', (t) => {
  for (const [stages, clients] of [
    [1, 1],
    [2, 3],
    [4, 2],
    [3, 0],
  ] as const) {
    const plan = planOf(stages, clients)
    const peers = peersIn(plan)
    for (const [i, { device }] of plan.stages.entries()) {
      t.strictSame(peersOf(stageWork(plan, i)), peers.get(device) ?? new Set(), `stage ${i} of ${stages}`)
    }
    const { first, last } = clientWork(plan)
    for (const client of plan.clients) t.strictSame(peers.get(client), new Set([first, last]))
    for (const [id, others] of peers)
      for (const other of others) t.ok(peers.get(other)!.has(id), 'an edge has two ends')
  }
  t.end()
})

t.test('what a member is told cannot change the plan', (t) => {
  const plan = planOf(2, 1)
  const work = stageWork(plan, 0)
  work.receives[0]!.shape.push(9)
  work.clients.push(id())
  t.strictSame(plan.stages[0]!.receives[0]!.shape, [1, 2])
  t.equal(plan.clients.length, 1)
  t.end()
})
