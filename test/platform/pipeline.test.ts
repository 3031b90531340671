import t from 'tap'
import { devicesIn } from '#broker/planner/plan.js'
import { Fleet, type FleetOptions } from '#test/fleet.js'
import { digits, Judge } from '../support/digits.js'
import { refuses } from '../support/refusal.js'

const workload = await digits()

/** A fleet with the digits deployed over all its devices, and a client that is ready. */
async function started(options: FleetOptions & { devices: number }) {
  const fleet = await Fleet.start(options)
  const client = await fleet.addClient()
  const deployment = await fleet.deploy({
    name: 'digits',
    model: workload.model,
    sample: workload.sample,
    stages: options.devices,
  })
  await fleet.during(client.ready())
  return { fleet, client, deployment, judge: await Judge.of(deployment, workload) }
}

for (const link of ['direct', 'relay', 'auto'] as const) {
  for (const devices of [1, 3]) {
    t.test(
      `${devices} devices over ${link} links give the unsplit model's results, many requests at once`,
      async (t) => {
        const { fleet, client, judge } = await started({ devices, link, seed: `${link}/${devices}` })
        const requests = Array.from({ length: 12 }, (_, i) => client.infer(workload.request(130 + i)))
        const results = await fleet.during(Promise.all(requests))
        for (const [i, result] of results.entries()) {
          t.ok(await judge.isExact(130 + i, result), `request ${i}`)
          t.strictSame(
            result.hops.map((hop) => hop.stage),
            Array.from({ length: devices }, (_, stage) => stage),
            'one hop a stage',
          )
        }
        t.equal(client.open, 0)
        t.equal(client.repeated, 0)
        if (link !== 'auto') t.ok(client.links.every(({ kind }) => kind === link))
        await judge.close()
        await fleet.close()
      },
    )
  }
}

t.test('the same seed gives the same fleet', async (t) => {
  const one = await Fleet.start({ devices: 2, seed: 'again' })
  const two = await Fleet.start({ devices: 2, seed: 'again' })
  t.strictSame(
    one.devices.map(({ id }) => id),
    two.devices.map(({ id }) => id),
  )
  const other = await Fleet.start({ devices: 2, seed: 'another' })
  t.notMatch(one.devices[0]!.id, other.devices[0]!.id)
  for (const fleet of [one, two, other]) await fleet.close()
})

t.test('a link that is cut makes the frames take the relay, and nothing is lost or done twice', async (t) => {
  const { fleet, client, judge } = await started({ devices: 3, link: 'auto', seed: 'cut' })
  const [first, second] = fleet.devices
  const stages = devicesIn(fleet.hub.plan!).map((device) => fleet.devices.find(({ id }) => id === device)!)
  t.ok(first && second)
  const before = await fleet.during(client.infer(workload.request(0)))
  t.ok(await judge.isExact(0, before))
  const requests = Array.from({ length: 8 }, (_, i) => client.infer(workload.request(200 + i)))
  fleet.network.cut(stages[0]!.name, stages[1]!.name)
  const results = await fleet.during(Promise.all(requests))
  for (const [i, result] of results.entries()) t.ok(await judge.isExact(200 + i, result), `request ${i}`)
  await judge.close()
  await fleet.close()
})

t.test('a device that is killed in mid-stream and started again loses no request and repeats none', async (t) => {
  for (const stage of [0, 1, 2]) {
    const { fleet, client, judge } = await started({ devices: 3, link: 'direct', seed: `kill/${stage}` })
    const device = fleet.devices.find(({ id }) => id === devicesIn(fleet.hub.plan!)[stage])!
    const requests = Array.from({ length: 10 }, (_, i) => client.infer(workload.request(300 + i)))
    await fleet.step(5)
    await fleet.during(device.kill())
    await fleet.step(200)
    await fleet.during(device.start())
    const results = await fleet.during(Promise.all(requests))
    for (const [i, result] of results.entries())
      t.ok(await judge.isExact(300 + i, result), `stage ${stage}, request ${i}`)
    await judge.close()
    await fleet.close()
  }
})

t.test('a client that comes after the model was deployed gets the pipeline, and two clients do not mix', async (t) => {
  const { fleet, client, judge } = await started({ devices: 2, link: 'direct', seed: 'late' })
  const late = await fleet.addClient('late')
  await fleet.during(late.ready())
  const [one, two] = await fleet.during(
    Promise.all([
      Promise.all([400, 401, 402].map((i) => client.infer(workload.request(i)))),
      Promise.all([500, 501, 502].map((i) => late.infer(workload.request(i)))),
    ]),
  )
  for (const [i, result] of one.entries()) t.ok(await judge.isExact(400 + i, result))
  for (const [i, result] of two.entries()) t.ok(await judge.isExact(500 + i, result))
  await judge.close()
  await fleet.close()
})

t.test('a request with wrong tensors is refused by name, before it is sent, and harms no other', async (t) => {
  const { fleet, client, judge } = await started({ devices: 2, link: 'direct', seed: 'wrong' })
  const good = workload.request(0)
  const [name, tensor] = Object.entries(good)[0]!
  const wrong: [Record<string, typeof tensor>, RegExp][] = [
    [{}, new RegExp(`'${name}'`)],
    [{ ...good, other: tensor }, /'other'/],
    [{ [name]: { ...tensor, shape: [1, 1, 16, 64] } }, new RegExp(`'${name}'.*16`)],
    [{ [name]: { ...tensor, dtype: 'int32' } }, new RegExp(`'${name}'.*float32`)],
    [{ [name]: { ...tensor, data: (tensor.data as Uint8Array).subarray(4) } }, new RegExp(`'${name}'`)],
  ]
  for (const [inputs, says] of wrong) {
    await refuses(t, 'bad-tensor', says, () => client.infer(inputs))
  }
  t.ok(await judge.isExact(0, await fleet.during(client.infer(good))))
  await judge.close()
  await fleet.close()
})

t.test('a fleet with too few devices, and a model with too few cuts, are refused in one sentence', async (t) => {
  const fleet = await Fleet.start({ devices: 2, seed: 'few' })
  const request = { name: 'digits', model: workload.model, sample: workload.sample }
  const deploy = (changes: object) => () => fleet.during(fleet.hub.deploy({ ...request, stages: 2, ...changes }))
  await refuses(t, 'device-lost', /3 devices.*2 are online/, deploy({ stages: 3 }))
  await refuses(t, 'not-onnx', /ONNX/, deploy({ model: new Uint8Array([1, 2, 3]) }))
  await fleet.close()
})
