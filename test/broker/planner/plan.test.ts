import t from 'tap'
import { clientWork, devicesIn, peersIn, roomForClients, stageWork, type Plan } from '#broker/planner/plan.js'
import { peersOf } from '#device/device.js'
import { newDeviceId } from '#shared/ids.js'
import { assignment } from '#shared/protocol/messages.js'
import { seededRandom } from '#shared/random.js'
import { refuses } from '#test/support/refusal.js'
import { chainOf, devicesFor, planFor, type Maker } from '#test/support/graph-plan.js'

const random = seededRandom('plan')

function planOf(makers: readonly Maker[], clients: number): Plan {
  return planFor(makers, {
    plan: 3,
    devices: Array.from({ length: devicesFor(makers) }, () => newDeviceId(random)),
    clients: Array.from({ length: clients }, () => ({ device: newDeviceId(random), run: random(8) })),
  })
}

/** x -> 0 -> 1 in three parts, 2 beside it by two devices in turn -> 3 */
const graph: Maker[] = [{ from: [-1] }, { from: [0], parts: 3 }, { from: [0, -1], holders: 2 }, { from: [1, 2] }]

t.test('every device of a chain is told a shape that the wire knows, with its neighbours', (t) => {
  for (const stages of [1, 2, 5]) {
    const plan = planOf(chainOf(stages), 2)
    const devices = devicesIn(plan)
    for (const [i, device] of devices.entries()) {
      const work = stageWork(plan, i).get(device)!
      t.ok(assignment.safeParse({ rev: 1, work }).success)
      t.strictSame([work.stage, work.stages, work.plan], [i, stages, 3])
      t.strictSame(
        work.takes.map((leg) => [leg.stage, leg.devices]),
        [i === 0 ? [stages, []] : [i - 1, [devices[i - 1]]]],
      )
      t.strictSame(
        work.sends.map((leg) => [leg.stage, leg.devices]),
        [i === stages - 1 ? [stages, []] : [i + 1, [devices[i + 1]]]],
      )
    }
    const work = clientWork(plan)
    t.ok(assignment.safeParse({ rev: 1, work }).success)
    t.strictSame(
      [work.sends, work.takes].map((legs) => legs.map((leg) => [leg.stage, leg.devices])),
      [[[0, [devices[0]]]], [[stages - 1, [devices.at(-1)]]]],
    )
  }
  t.end()
})

t.test('in a graph each is told all that it takes and sends: slices of what is parted, devices in turn', (t) => {
  const plan = planOf(graph, 1)
  const [a, part0, part1, part2, one, other, last] = devicesIn(plan)
  t.equal(plan.stages.length, 6)
  const join = stageWork(plan, 5).get(last!)!
  t.ok(assignment.safeParse({ rev: 1, work: join }).success)
  t.strictSame(
    join.takes.map((leg) => [leg.devices, leg.tensors.map(({ name, shape, slice }) => [name, shape, slice])]),
    [
      [[part0], [['v1', [4], { axis: 0, at: 0, of: 12 }]]],
      [[part1], [['v1', [4], { axis: 0, at: 4, of: 12 }]]],
      [[part2], [['v1', [4], { axis: 0, at: 8, of: 12 }]]],
      [[one, other], [['v2', [12], undefined]]],
    ],
  )
  const twins = stageWork(plan, 4)
  t.strictSame([...twins.keys()], [one, other])
  t.strictSame({ ...twins.get(one!)!, segment: 0 }, { ...twins.get(other!)!, segment: 0 })
  t.strictSame(
    twins.get(one!)!.takes.map(({ stage, devices }) => [stage, devices]),
    [
      [0, [a]],
      [6, []],
    ],
  )
  t.strictSame(
    clientWork(plan).sends.map(({ stage, devices }) => [stage, devices]),
    [
      [0, [a]],
      [4, [one, other]],
    ],
  )
  t.end()
})

t.test('the peers that the hub gives rights and keys for are those that the members look for', (t) => {
  for (const makers of [chainOf(1), chainOf(2), chainOf(4), graph]) {
    for (const clients of [0, 1, 3]) {
      const plan = planOf(makers, clients)
      const peers = peersIn(plan)
      for (const stage of plan.stages.keys()) {
        for (const [device, work] of stageWork(plan, stage)) {
          t.strictSame(peersOf(work), peers.get(device) ?? new Set(), `stage ${stage}, ${clients} clients`)
        }
      }
      const { sends, takes } = clientWork(plan)
      const ends = new Set([...sends, ...takes].flatMap(({ devices }) => devices))
      for (const { device } of plan.clients) t.strictSame(peers.get(device), ends)
      for (const [id, others] of peers)
        for (const other of others) t.ok(peers.get(other)!.has(id), 'an edge has two ends')
    }
  }
  t.end()
})

t.test('no member shares keys with more others than fit into one message', async (t) => {
  t.equal(roomForClients(planOf(chainOf(1), 0)), 80)
  t.equal(roomForClients(planOf(chainOf(3), 0)), 79, 'beside the next stage')
  t.equal(roomForClients(planOf(graph, 0)), 75, 'beside three parts and two twins')
  const twins = (...holders: number[]): Maker[] => holders.map((count, i) => ({ from: [i - 1], holders: count }))
  t.equal(roomForClients(planOf(twins(64, 16), 0)), 16)
  t.equal(roomForClients(planOf(twins(60, 20), 0)), 20)
  await refuses(t, 'over-limit', /a device of stage 1 would share keys with 88 devices, the limit is 80/, () =>
    roomForClients(planOf(twins(64, 1, 24), 0)),
  )
  const both: Maker[] = [{ from: [-1], holders: 41 }, { from: [-1], holders: 41 }] // prettier-ignore
  await refuses(t, 'over-limit', /a client would share keys with 82 devices/, () => roomForClients(planOf(both, 0)))
})

t.test('what a member is told cannot change the plan', (t) => {
  const plan = planOf(chainOf(2), 1)
  const work = stageWork(plan, 0).get(devicesIn(plan)[0]!)!
  work.runInputs[0]!.shape.push(9)
  work.sends[0]!.tensors[0]!.shape.push(9)
  work.clients.pop()
  t.strictSame(plan.stages[0]!.runInputs[0]!.shape, [12])
  t.strictSame(plan.edges[1]!.tensors[0]!.port.shape, [12])
  t.equal(plan.clients.length, 1)
  t.end()
})
