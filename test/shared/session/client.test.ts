import t from 'tap'
import { SteppedClock } from '#shared/clock.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import type { Activation, WireTensor } from '#shared/protocol/tensors.js'
import { Channel } from '#shared/session/channel.js'
import { Client, type Pipeline } from '#shared/session/client.js'
import { Keyring } from '#shared/session/keyring.js'
import { maxOpenRequests } from '#shared/session/requests.js'
import { World } from '#test/support/pipeline-world.js'

const fleet: FleetId = 'f0102030405060708'
const self: DeviceId = 'd000000000000000000000000000000aa'
const first: DeviceId = 'd000000000000000000000000000000bb'
const last: DeviceId = 'd000000000000000000000000000000cc'
const bootId = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
const tensors: WireTensor[] = [{ name: 'x', dtype: 'uint8', shape: [1], data: Uint8Array.of(1) }]

/** A plan that is a chain, the tensors as they are. */
function chainOf(plan: number, stages: number, first: Channel, last: Channel): Pipeline {
  return {
    plan,
    sends: [{ stage: 0, channels: [first] }],
    takes: [{ stage: stages - 1, channels: [last] }],
    part: (given) => [given],
    join: ([came]) => came!,
  }
}

/** A client whose channels lead nowhere: what comes back is given by hand. */
function clientOf() {
  const clock = new SteppedClock()
  const channelTo = (peer: DeviceId): Channel =>
    new Channel({
      peer,
      keyring: new Keyring({ fleet, self, peer, aeads: nodeAeads, clock }),
      clock,
      window: { frames: 9, bytes: 1 << 20 },
      events: { onActivation: () => {}, onSettled: () => {} },
    })
  const client = new Client({ id: self, bootId, clock })
  const [firstChannel, lastChannel] = [channelTo(first), channelTo(last)]
  const pipeline = chainOf(1, 2, firstChannel, lastChannel)
  client.use(pipeline)
  return {
    client,
    clock,
    first: firstChannel,
    channelTo,
    result: (request: number, more: Partial<Activation> = {}, from: DeviceId = last): void => {
      const activation = { plan: 1, client: self, run: bootId, request, low: 0, stage: 2, hops: [], tensors, ...more }
      client.arrived({ activation, from, openUs: 0, took: () => {} })
    },
  }
}

t.test('each result settles its own request, and once', async (t) => {
  const { client, clock, result } = clientOf()
  const [a, b] = [client.infer(tensors), client.infer(tensors)]
  clock.step(40)
  result(1)
  result(1)
  t.equal(client.open, 1)
  t.equal(client.repeated, 1)
  result(0)
  t.strictSame([(await a).request, (await b).request, (await b).latencyMs], [0, 1, 40])
  result(7)
  t.equal(client.repeated, 2, 'one that was never asked is passed over')
})

t.test('the result of an earlier run of this client is passed over', async (t) => {
  const { client, result } = clientOf()
  void client.infer(tensors)
  result(0, { run: new Uint8Array(8) })
  t.equal(client.open, 1)
  t.equal(client.repeated, 1)
})

t.test(
  'what a stage could not do is told with its own code; a code nobody knows is no reason to fail otherwise',
  async (t) => {
    const { client, result } = clientOf()
    const [a, b] = [client.infer(tensors), client.infer(tensors)]
    result(0, { failure: { code: 'dynamic-shape', message: 'stage 1: no such shape' } })
    result(1, { failure: { code: 'toString', message: 'stage 0: odd' } })
    await t.rejects(a, { code: 'dynamic-shape', message: 'request 0: stage 1: no such shape' })
    await t.rejects(b, { code: 'bad-segment' })
  },
)

t.test('results from elsewhere, or for somebody else, are refused', async (t) => {
  const { client, result } = clientOf()
  void client.infer(tensors)
  t.throws(() => result(0, {}, first), { code: 'not-allowed' })
  t.throws(() => result(0, { client: first }), { code: 'not-allowed' })
  t.equal(client.open, 1)
  const idle = new Client({ id: self, bootId, clock: new SteppedClock() })
  const activation = { plan: 1, client: self, run: bootId, request: 0, low: 0, stage: 1, hops: [], tensors }
  t.throws(() => idle.arrived({ activation, from: last, openUs: 0, took: () => {} }), { code: 'not-allowed' })
})

t.test(
  'without a pipeline, with too many requests open, and with what no frame can carry, a request is refused',
  async (t) => {
    const idle = new Client({ id: self, bootId, clock: new SteppedClock() })
    await t.rejects(idle.infer(tensors), { code: 'device-lost' })
    const { client, result } = clientOf()
    await t.rejects(client.infer([{ ...tensors[0]!, shape: [2] }]), { code: 'bad-tensor' })
    t.equal(client.open, 0)
    for (let i = 0; i < maxOpenRequests; i++) void client.infer(tensors)
    await t.rejects(client.infer(tensors), { code: 'over-limit' })
    result(2)
    await t.rejects(client.infer(tensors), { code: 'over-limit' }, 'the oldest one counts: stages know no other mark')
    result(1)
    void client.infer(tensors)
    t.equal(client.open, maxOpenRequests - 1)
  },
)

t.test('closed, it rejects what is open', async (t) => {
  const { client } = clientOf()
  const open = client.infer(tensors)
  client.close(new Refusal('cancelled', 'closed'))
  await t.rejects(open, { code: 'cancelled' })
  await t.rejects(client.infer(tensors), { code: 'device-lost' })
})

t.test('another plan begins the open requests anew, and what waited for the one before is forgotten', async (t) => {
  const { client, first: before, channelTo, result } = clientOf()
  void client.infer(tensors)
  void client.infer(tensors)
  result(0)
  t.equal(before.held, 2)
  const [there, back] = [channelTo(last), channelTo(last)]
  const next = chainOf(2, 1, there, back)
  client.use(next)
  t.equal(before.held, 0)
  t.equal(there.held, 1)
  client.use({ ...next })
  t.equal(there.held, 1, 'told again, nothing happens')
})

t.test('while stages change their plan under way, every request still gets its result', async (t) => {
  const world = new World({ seed: 5, stages: 2 })
  await world.run(100)
  for (let i = 0; i < 12; i++) world.infer()
  await world.run(8)
  t.ok(world.client.open > 4)
  world.replan()
  await world.until(() => world.client.open === 0, 'all have their results')
  for (const { input, results } of world.sent) t.ok(world.isRight(input, results[0]!))
  await world.until(() => world.isAtRest, 'nothing is held')
  await world.close()
})
