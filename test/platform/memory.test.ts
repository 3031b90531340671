import { create, type MessageInitShape } from '@bufbuild/protobuf'
import t from 'tap'
import { ProfileStore } from '#broker/fleet/profiles.js'
import { devicesIn } from '#broker/planner/plan.js'
import { noProfiles, type Profiles } from '#broker/planner/profile.js'
import { SteppedClock } from '#shared/clock.js'
import { ModelSchema, type NodeSchema, type TensorValueSchema } from '#shared/onnx/onnx_pb.js'
import { encodeModel } from '#shared/onnx/parse.js'
import { loadEngine } from '#shared/onnx/session.js'
import { seededRandom } from '#shared/random.js'
import { Fleet } from '#test/fleet.js'

const layers = 8
const width = 1200
const float32 = 1
/** 5.8 MB each, 46 MB in all: far more than what a session of the engine takes by itself. */
const layerBytes = width * width * 4

/** Fully connected layers, one after the other. */
function stack(): Uint8Array {
  const node: MessageInitShape<typeof NodeSchema>[] = []
  const initializer: MessageInitShape<typeof TensorValueSchema>[] = []
  const random = seededRandom('stack')
  for (let layer = 0; layer < layers; layer++) {
    const weights = new Float32Array(width * width)
    const drawn = random(4096)
    // Repeated with a period that is no divisor of the width, so that no two rows are equal.
    for (let i = 0; i < weights.length; i++) weights[i] = (drawn[i % 4093]! - 127.5) / 127.5 / 40
    const rawData = new Uint8Array(weights.buffer)
    initializer.push({ name: `w${layer}`, dataType: float32, dims: [BigInt(width), BigInt(width)], rawData })
    node.push(
      { name: `dense${layer}`, opType: 'MatMul', input: [`x${layer}`, `w${layer}`], output: [`d${layer}`] },
      { name: `relu${layer}`, opType: 'Relu', input: [`d${layer}`], output: [`x${layer + 1}`] },
    )
  }
  const dim = [1, width].map((size) => ({ size: { case: 'value' as const, value: BigInt(size) } }))
  const row = (name: string) => ({
    name,
    type: { kind: { case: 'tensor' as const, value: { elemType: float32, shape: { dim } } } },
  })
  const graph = { name: 'stack', node, initializer, input: [row('x0')], output: [row(`x${layers}`)] }
  return encodeModel(create(ModelSchema, { irVersion: 8n, opsetImport: [{ domain: '', version: 17n }], graph }))
}

const request = { name: 'stack', model: stack() }
const input = {
  dtype: 'float32',
  shape: [1, width],
  data: new Uint8Array(Float32Array.from({ length: width }, (_, i) => Math.sin(i)).buffer),
} as const

t.test('a model that no device has the memory for runs on the fleet, and on no device of it alone', async (t) => {
  const memoryBytes = 6 * layerBytes
  const open = async (devices: number): Promise<Fleet> =>
    Fleet.start({
      devices,
      memoryBytes,
      seed: `memory/${devices}`,
      profiles: new ProfileStore<Profiles>({ value: noProfiles, clock: new SteppedClock() }),
    })

  await t.test('one device alone refuses it, and the planner says by how much it is too big', async (t) => {
    const fleet = await open(1)
    await t.rejects(fleet.deploy({ ...request, stages: 1 }), {
      code: 'bad-segment',
      message: /segment 'stack\/seg-0' takes at least 46\.\d MB of memory and may take 34\.6 MB here: plan it for more/,
    })
    await t.rejects(fleet.deploy({ ...request, objective: { kind: 'throughput' } }), { code: 'cannot-plan' })
    await fleet.close()
  })

  await t.test('four devices run it, and the results are those of the whole', async (t) => {
    const fleet = await open(4)
    const client = await fleet.addClient()
    const { plan, cut, segmentBytes } = await fleet.deploy({ ...request, objective: { kind: 'memory' } })
    await fleet.during(client.ready())
    t.ok(devicesIn(plan).length > 1, `on ${devicesIn(plan).length} devices`)
    t.ok(Math.max(...segmentBytes) < memoryBytes && segmentBytes.reduce((sum, bytes) => sum + bytes, 0) > memoryBytes)
    const { outputs } = await fleet.during(client.infer({ x0: input }))
    const session = await (await loadEngine()).create(cut.whole, { level: 'disabled' })
    const expected = await session.run({ x0: input })
    t.strictSame(outputs, expected)
    await session.release()
    await fleet.close()
  })
})
