/** Plans that are graphs: stages parted by channels, held by several in turn, and side by side. */

import t from 'tap'
import type { ModelFacts } from '#broker/models/catalogue.js'
import type { LaidStage, Layout } from '#broker/planner/layout.js'
import { devicesIn } from '#broker/planner/plan.js'
import { Fleet, type FleetOptions } from '#test/fleet.js'
import type { DeviceId } from '#shared/ids.js'
import { digits, Judge } from '../support/digits.js'
import { refuses } from '../support/refusal.js'

const workload = await digits()
const request = { name: 'digits', model: workload.model, sample: workload.sample, level: 'extended' as const }

type Lay = (facts: ModelFacts, devices: readonly DeviceId[]) => Layout

const upTo = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

/** The stem by two devices in turn, the rest by three in turn. */
const inTurn: Lay = ({ nodeUs }, devices) => ({
  shape: 'chain',
  stages: [
    { nodes: upTo(0, 9), devices: devices.slice(0, 2) },
    { nodes: upTo(9, nodeUs.length), devices: devices.slice(2, 5) },
  ],
})

/** A convolution and its shortcut: before them one device, they in three uneven parts, the rest in two parts of one and whole. */
const inParts: (shape: Layout['shape']) => Lay =
  (shape) =>
  ({ nodeUs, regions }, devices) => {
    const block = regions.find(({ nodes }) => nodes.join() === '2,3,4')!
    const last = regions.at(-1)!
    const stages: LaidStage[] = [
      { nodes: [0, 1], devices: devices.slice(0, 1) },
      { nodes: block.nodes, devices: devices.slice(1, 4), parts: { region: block, shares: [6, 10, 16] } },
      { nodes: upTo(5, nodeUs.length - 1), devices: devices.slice(4, 5) },
      { nodes: last.nodes, devices: devices.slice(5, 7), parts: { region: last, shares: [4, 6] } },
    ]
    return { shape, stages }
  }

/** Two branches of the second block side by side, one of them held by two in turn. */
const sideBySide: Lay = ({ nodeUs }, devices) => ({
  shape: 'dag',
  stages: [
    { nodes: upTo(0, 9), devices: devices.slice(0, 1) },
    { nodes: [9], devices: devices.slice(1, 2) },
    { nodes: [10, 11], devices: devices.slice(2, 4) },
    { nodes: upTo(12, nodeUs.length), devices: devices.slice(4, 5) },
  ],
})

const layouts: Record<string, { lay: Lay; devices: number; stages: number; links: ('direct' | 'relay')[] }> = {
  'replicas in a row': { lay: inTurn, devices: 5, stages: 2, links: ['direct'] },
  'parts in a row': { lay: inParts('chain'), devices: 7, stages: 7, links: ['relay'] },
  'parts, straight': { lay: inParts('dag'), devices: 7, stages: 7, links: ['direct', 'relay'] },
  'branches side by side': { lay: sideBySide, devices: 5, stages: 4, links: ['relay'] },
}

async function started(name: string, options: FleetOptions = {}) {
  const { lay, devices } = layouts[name]!
  const fleet = await Fleet.start({ devices, seed: name, ...options })
  const client = await fleet.addClient()
  const ids = fleet.devices.map(({ id }) => id)
  const deployment = await fleet.deploy({ ...request, layout: (facts) => lay(facts, ids) })
  await fleet.during(client.ready())
  return { fleet, client, judge: await Judge.of(deployment, workload) }
}

for (const [name, { stages, devices, links }] of Object.entries(layouts)) {
  for (const link of links) {
    t.test(`${name}, over ${link} links: the unsplit model's results, each with a hop of every stage`, async (t) => {
      const { fleet, client, judge } = await started(name, { link })
      const plan = fleet.hub.plan!
      t.equal(plan.stages.length, stages)
      t.equal(devicesIn(plan).length, devices)
      const results = await fleet.during(Promise.all(upTo(0, 12).map((i) => client.infer(workload.request(130 + i)))))
      for (const [i, result] of results.entries()) {
        t.ok(await judge.isExact(130 + i, result), `request ${i}`)
        t.strictSame(
          result.hops.map((hop) => hop.stage),
          upTo(0, stages),
        )
      }
      t.strictSame([client.open, client.repeated], [0, 0])
      await fleet.until(() => client.links.every(({ kind }) => kind === link))
      await judge.close()
      await fleet.close()
    })
  }

  t.test(`${name}: whoever is killed in mid-stream and started again, nothing is lost or done twice`, async (t) => {
    const { fleet, client, judge } = await started(name, { link: 'direct' })
    const all = devicesIn(fleet.hub.plan!).map((id) => fleet.devices.find((device) => device.id === id)!)
    // The first, one of several that share a stage or its channels, and the last.
    const killed = [all[0]!, all[2]!, all.at(-1)!]
    for (const [round, device] of killed.entries()) {
      const first = 200 + 10 * round
      const requests = upTo(first, first + 8).map((i) => client.infer(workload.request(i)))
      await fleet.step(5)
      await fleet.during(device.kill())
      await fleet.step(100)
      await fleet.during(device.start())
      const results = await fleet.during(Promise.all(requests))
      for (const [i, result] of results.entries()) {
        t.ok(await judge.isExact(first + i, result), `device ${round} killed, request ${i}`)
      }
    }
    await judge.close()
    await fleet.close()
  })
}

t.test('replicas share the requests by their number', async (t) => {
  const { fleet, client, judge } = await started('replicas in a row')
  await fleet.during(Promise.all(upTo(0, 12).map((i) => client.infer(workload.request(i)))))
  await fleet.step(1500)
  const told = fleet.hub.members().filter(({ birth }) => birth.role === 'device')
  t.strictSame(
    told.map(({ telemetry }) => [telemetry?.stage, telemetry?.frames]),
    [
      [0, 6],
      [0, 6],
      [1, 4],
      [1, 4],
      [1, 4],
    ],
  )
  await judge.close()
  await fleet.close()
})

t.test('what a client that was killed had asked in part holds nobody up, and its next process is served', async (t) => {
  const { fleet, client, judge } = await started('branches side by side', { link: 'direct' })
  t.ok(await judge.isExact(1, await fleet.during(client.infer(workload.request(1)))))
  const open = upTo(0, 6).map((i) => client.infer(workload.request(i)).catch((error: unknown) => error))
  await fleet.step(5)
  await fleet.during(client.close())
  await Promise.all(open)
  const next = await fleet.addClient()
  await fleet.during(next.ready())
  const results = await fleet.during(Promise.all(upTo(40, 52).map((i) => next.infer(workload.request(i)))))
  for (const [i, result] of results.entries()) t.ok(await judge.isExact(40 + i, result))
  await judge.close()
  await fleet.close()
})

t.test('a plan that does not fit the fleet or the graph is refused in one sentence', async (t) => {
  const fleet = await Fleet.start({ devices: 3, seed: 'unfit' })
  const [a, b, c] = fleet.devices.map(({ id }) => id) as [DeviceId, DeviceId, DeviceId]
  const deploy = (lay: (facts: ModelFacts) => Partial<Layout>) => () =>
    fleet.during(fleet.hub.deploy({ ...request, layout: (facts) => ({ shape: 'dag', stages: [], ...lay(facts) }) }))
  const halves = (first: DeviceId[], second: DeviceId[]) =>
    deploy(({ nodeUs }) => ({
      stages: [
        { nodes: upTo(0, 9), devices: first },
        { nodes: upTo(9, nodeUs.length), devices: second },
      ],
    }))
  await refuses(t, 'cannot-cut', /device d\w+ is given two stages/, halves([a], [b, a]))
  await refuses(t, 'cannot-cut', /stage 1 is given to 0 devices/, halves([a], []))
  await refuses(t, 'device-lost', /is not online/, halves([a], [`d${'0'.repeat(32)}`]))
  await refuses(
    t,
    'cannot-cut',
    /the plan is for the graph abc/,
    deploy(() => ({ graph: 'abc' })),
  )
  await refuses(
    t,
    'cannot-cut',
    /node 0, .* is in no stage/,
    deploy(() => ({ stages: [{ nodes: [1], devices: [a] }] })),
  )
  await refuses(
    t,
    'cannot-cut',
    /stage 0 is parted in 2 and given to 3 devices/,
    deploy(({ regions }) => {
      const [region] = regions
      return { stages: [{ nodes: region!.nodes, devices: [a, b, c], parts: { region: region!, shares: [16, 16] } }] }
    }),
  )
  await fleet.close()
})
