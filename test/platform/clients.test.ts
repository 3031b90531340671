/** Clients come and go: the fleet serves whoever is here, however many were here before. */

import t from 'tap'
import { Fleet } from '#test/fleet.js'
import { buildModel, floats, node, noise, port } from '#test/support/models.js'

const maxClients = 3

const model = buildModel({
  nodes: [node('MatMul', ['x', 'w'], ['h']), node('Relu', ['h'], ['y'])],
  inputs: [port('x', 'float32', [1, 3])],
  outputs: [port('y', 'float32', [1, 3])],
  weights: { w: noise([3, 3], 'w') },
})

t.test('clients that have left make room for new ones', async (t) => {
  const fleet = await Fleet.start({ devices: 2, maxClients })
  await fleet.deploy({ name: 'small', model, stages: 2 })
  for (let i = 0; i < maxClients + 2; i++) {
    const client = await fleet.addClient()
    await fleet.during(client.ready())
    if (i >= maxClients - 1) {
      const { outputs } = await fleet.during(client.infer({ x: floats([1, 3], [1, 2, 3]) }))
      t.strictSame(outputs['y']?.shape, [1, 3], `client ${i}`)
    }
    await fleet.during(client.close())
  }
  t.equal(fleet.hub.plan?.clients.length, 2, 'those that were offline when there was no more room are gone')
  await fleet.close()
})

t.test('one client too many is refused by name, and served when another has left', async (t) => {
  const refused: string[] = []
  const log = (_: string, event: string, { message }: Record<string, unknown>): void => {
    if (event === 'refused') refused.push(String(message))
  }
  const fleet = await Fleet.start({ devices: 1, maxClients, log })
  await fleet.deploy({ name: 'small', model, stages: 1 })
  const clients = []
  for (let i = 0; i < maxClients; i++) clients.push(await fleet.addClient())
  await fleet.during(clients.at(-1)!.ready())
  const late = await fleet.addClient('late')
  await t.rejects(fleet.during(late.ready(5000)), { code: 'timed-out', message: /the hub has assigned none/ })
  t.match(refused.at(-1), /3 clients are here: d\w+ gets no pipeline until one of them leaves/)
  await fleet.during(clients[0]!.close())
  await fleet.during(late.ready(60_000))
  const { outputs } = await fleet.during(late.infer({ x: floats([1, 3], [1, 2, 3]) }))
  t.strictSame(outputs['y']?.shape, [1, 3])
  await fleet.close()
})
