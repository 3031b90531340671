import t from 'tap'
import { assemblyOf, devicesOf, endOf, meetsClients, type Leg, type StagePlace } from '#device/runtime/legs.js'
import type { DeviceId } from '#shared/ids.js'
import type { Port } from '#shared/onnx/tensor.js'
import { refuses } from '#test/support/refusal.js'

const [a, b, c]: DeviceId[] = ['aa', 'bb', 'cc'].map((end): DeviceId => `d${end.padStart(32, '0')}`)
const port = (name: string): Port => ({ name, dtype: 'float32', shape: [2] })
const leg = (stage: number, devices: (DeviceId | undefined)[], ...names: string[]): Leg => ({
  stage,
  devices: devices as DeviceId[],
  tensors: names.map(port),
})

const place: StagePlace = {
  plan: 1,
  stage: 2,
  takes: [leg(0, [a, b], 'x'), leg(5, [], 'late')],
  sends: [leg(3, [c], 'y', 'late')],
  runInputs: [port('x')],
  runOutputs: [port('y')],
}

t.test('requests go to the devices of a stage in turn, by their number, and home to their client', (t) => {
  const key = (request: number) => ({ client: c!, run: new Uint8Array(8), request })
  t.strictSame(
    [0, 1, 2, 1001].map((request) => endOf(place.takes[0]!, key(request))),
    [a, b, a, b],
  )
  t.equal(endOf(place.takes[1]!, key(7)), c)
  t.strictSame(devicesOf([...place.takes, ...place.sends]), new Set([a, b, c]))
  t.strictSame([meetsClients(place.takes), meetsClients(place.sends)], [true, false])
  t.end()
})

t.test('a place that no request can get through is refused, with the reason', async (t) => {
  t.strictSame(
    assemblyOf(place).ports.map(({ name }) => name),
    ['x', 'late'],
  )
  const wrong: [RegExp, Partial<StagePlace>][] = [
    [/stage 2 takes nothing/, { takes: [] }],
    [/takes by two ways that end at d0+aa/, { takes: [leg(0, [a, b], 'x'), leg(1, [a], 'late')] }],
    [/takes by two ways that end at the client/, { takes: [leg(0, [], 'x'), leg(1, [], 'late')] }],
    [/sends by two ways that end at d0+cc/, { sends: [leg(3, [c], 'y'), leg(4, [b, c], 'late')] }],
    [/is not given 'z', which its segment needs/, { runInputs: [port('x'), port('z')] }],
    [/sends 'z', which it neither makes nor is given/, { sends: [leg(3, [c], 'z')] }],
    [/tensor 'x' comes twice/, { takes: [leg(0, [a], 'x'), leg(1, [b], 'x', 'late')] }],
  ]
  for (const [says, more] of wrong) await refuses(t, 'bad-segment', says, () => assemblyOf({ ...place, ...more }))
})
