import t from 'tap'
import { ProfileStore } from '#broker/fleet/profiles.js'
import { noProfiles, speedOf, withDevice, type Profiles } from '#broker/planner/profile.js'
import { SteppedClock } from '#shared/clock.js'
import { Fleet, type FleetOptions } from '#test/fleet.js'
import { digits, Judge } from '../support/digits.js'

const workload = await digits()

/** A fleet whose hub has it measured. */
async function measuredFleet(options: FleetOptions, value: Profiles = noProfiles) {
  const store = new ProfileStore<Profiles>({ value, clock: new SteppedClock() })
  const fleet = await Fleet.start({ ...options, profiles: store })
  return { fleet, store }
}

for (const link of ['direct', 'relay'] as const) {
  t.test(`devices that join are measured, and the ${link} links between them in both directions`, async (t) => {
    const { fleet, store } = await measuredFleet({ devices: 3, link, seed: `survey/${link}` })
    await fleet.during(fleet.hub.surveyed(120_000))
    const { devices, links, hub } = store.value
    const ids = fleet.devices.map(({ id }) => id)
    t.strictSame(devices.map(({ device }) => device).sort(), [...ids].sort())
    for (const profile of devices) {
      for (const us of Object.values(profile.kernels)) t.ok(us > 0)
      t.ok(profile.seal.messageUs > 0 && profile.open.messageUs > 0 && profile.memoryBytes > 0 && profile.stageUs > 0)
    }
    t.ok(hub !== undefined && hub.kernels.conv > 0)
    for (const { device } of devices) t.ok(speedOf(store.value, device)!.matmul > 0)
    const pairs = ids.flatMap((from) => ids.filter((to) => to !== from).map((to) => `${from} ${to}`))
    t.strictSame(links.map(({ from, to }) => `${from} ${to}`).sort(), pairs.sort())
    t.ok(links.every(({ kind }) => kind === link))
    t.ok(links.every(({ roundTripUs }) => roundTripUs >= 0))
    for (const { device } of fleet.devices) t.equal(device.report, undefined, 'none of them got work by it')
    await fleet.close()
  })
}

t.test('a pipeline is deployed over devices that were measured, and measuring goes on after it is idle', async (t) => {
  const { fleet, store } = await measuredFleet({ devices: 2, seed: 'survey/idle' })
  const client = await fleet.addClient()
  const deployment = await fleet.deploy({ name: 'digits', model: workload.model, sample: workload.sample, stages: 2 })
  await fleet.during(client.ready())
  const late = await fleet.addDevice('late')
  await fleet.during(fleet.hub.surveyed(120_000))
  t.equal(store.value.devices.length, 3)
  t.equal(store.value.links.length, 6, 'those of a plan, and those beside it')
  const judge = await Judge.of(deployment, workload)
  const result = await fleet.during(client.infer(workload.request(130)))
  t.ok(await judge.isExact(130, result), 'the plan goes on as it was')
  await judge.close()
  t.equal(late.device.report, undefined)
  await fleet.close()
})

t.test(
  'what was measured before is not measured again until it is old, another process runs, or it proved wrong',
  async (t) => {
    const one = await measuredFleet({ devices: 2, seed: 'survey/again' })
    await one.fleet.during(one.fleet.hub.surveyed(120_000))
    const known = one.store.value
    await one.fleet.during(one.fleet.hub.surveyed(120_000))
    t.equal(one.store.value, known, 'nothing was stale')
    const [first] = one.fleet.devices
    await one.fleet.during(first!.kill())
    await one.fleet.until(() => one.fleet.hub.online().length === 1)
    await first!.start()
    await one.fleet.until(() => one.fleet.hub.online().length === 2)
    await one.fleet.during(one.fleet.hub.surveyed(120_000))
    const [before, after] = [known, one.store.value].map(({ devices }) =>
      devices.find(({ device }) => device === first!.id)!,
    )
    t.not(after!.boot, before!.boot, 'another process may run on other hardware')
    t.strictSame(one.store.value.links, known.links, 'its links are what they were')
    one.store.set(withDevice(one.store.value, { ...after!, atMs: 0 }))
    await one.fleet.during(one.fleet.hub.surveyed(120_000))
    t.ok(one.store.value.devices.find(({ device }) => device === first!.id)!.atMs > 0, 'old figures are replaced')
    await one.fleet.close()
  },
)

t.test('a device that leaves while it is measured holds nothing up', async (t) => {
  const { fleet, store } = await measuredFleet({ devices: 3, seed: 'survey/leave' })
  const surveyed = fleet.hub.surveyed(240_000)
  await fleet.until(() => store.value.devices.length > 0)
  const gone = fleet.devices.find(({ id }) => store.value.devices.every(({ device }) => device !== id))!
  await fleet.during(gone.kill())
  await fleet.during(surveyed)
  const stayed = fleet.devices.filter((device) => device !== gone).map(({ id }) => id)
  for (const id of stayed) t.ok(store.value.devices.some(({ device }) => device === id))
  t.equal(store.value.links.filter(({ from, to }) => stayed.includes(from) && stayed.includes(to)).length, 2)
  await gone.start()
  await fleet.until(() => fleet.hub.online().length === 3)
  await fleet.during(fleet.hub.surveyed(240_000))
  t.ok(
    store.value.devices.some(({ device }) => device === gone.id),
    'it is measured as soon as it is back',
  )
  await fleet.close()
})

t.test('a hub that is closed in the middle of a survey leaves nothing that fails later', async (t) => {
  for (const steps of [3, 10, 20, 40, 80]) {
    const store = new ProfileStore<Profiles>({ value: noProfiles, clock: new SteppedClock() })
    const fleet = await Fleet.start({ devices: 3, seed: `survey/closed/${steps}`, profiles: store })
    for (let step = 0; step < steps; step++) await fleet.step(5)
    await fleet.during(fleet.hub.close())
    for (let step = 0; step < 40; step++) await fleet.step(50)
    for (const device of fleet.devices) await fleet.during(device.kill())
    t.pass(`closed after ${steps} steps`)
  }
})
