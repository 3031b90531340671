import { create, toBinary } from '@bufbuild/protobuf'
import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import t from 'tap'
import { goldenWorkload, labelledWorkload, type Workload } from '#scripts/demo/workload.js'
import { toHex } from '#shared/bytes.js'
import { TensorValueSchema } from '#shared/onnx/onnx_pb.js'
import { encodeTensor } from '#shared/onnx/tensor-file.js'
import { numbersOf, type Tensor } from '#shared/onnx/tensor.js'
import { buildModel, floats, ints, node, port, strings } from '#test/support/models.js'

const nameOf = (workload: Workload, index: number): string =>
  JSON.stringify(
    Object.values(workload.request(index)).map(({ data }) => (data instanceof Uint8Array ? toHex(data) : data)),
  )

/** Whether the requests are all different, and each the same when asked again. */
function areDistinct(workload: Workload, count: number): boolean {
  const names = Array.from({ length: count }, (_, index) => nameOf(workload, index))
  return new Set(names).size === count && names.every((name, index) => name === nameOf(workload, index))
}

/** A folder with a model of these inputs, and one set of golden data for it. */
async function goldenFolder(folder: string, inputs: Readonly<Record<string, Tensor>>): Promise<string> {
  const model = buildModel({
    nodes: Object.keys(inputs).map((name) => node('Identity', [name], [`${name}_out`])),
    inputs: Object.entries(inputs).map(([name, { dtype, shape }]) => port(name, dtype, shape)),
    outputs: Object.entries(inputs).map(([name, { dtype, shape }]) => port(`${name}_out`, dtype, shape)),
  })
  await mkdir(join(folder, 'test_data_set_0'), { recursive: true })
  await writeFile(join(folder, 'model.onnx'), model)
  for (const [i, tensor] of Object.values(inputs).entries()) {
    const bytes = toBinary(TensorValueSchema, create(TensorValueSchema, encodeTensor(tensor)))
    for (const kind of ['input', 'output']) await writeFile(join(folder, 'test_data_set_0', `${kind}_${i}.pb`), bytes)
  }
  return join(folder, 'model.onnx')
}

t.test('the bundled digits: each request is another, and near the image whose label it has', async (t) => {
  const workload = await labelledWorkload(resolve(import.meta.dirname, '../../../../config/models/digits-resnet'))
  t.ok(areDistinct(workload, 1500))
  const given = 100
  for (const index of [0, 7, 99]) t.type(workload.label(index), 'number')
  const period = Array.from({ length: 4000 }, (_, i) => i).find(
    (i) => i > given && isNear(workload.request(i), workload.request(0)),
  )!
  t.equal(workload.label(period), workload.label(0), `request ${period} shows the first image again`)
  t.strictSame(workload.sample, workload.request(0))
})

function isNear(a: Readonly<Record<string, Tensor>>, b: Readonly<Record<string, Tensor>>): boolean {
  return Object.entries(a).every(([name, tensor]) => {
    const [x, y] = [numbersOf(tensor), numbersOf(b[name]!)]
    const largest = y.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    return x.every((value, i) => Math.abs(value - y[i]!) <= 0.01 * largest)
  })
}

t.test('with floats, only they change, a little; a single one is enough to tell requests apart', async (t) => {
  const inputs = { x: floats([1], [0.5]), rate: ints([], [16_000]), state: floats([2, 3], [0, 0, 0, 0, 0, 0]) }
  const path = await goldenFolder(t.testdir(), inputs)
  const workload = await goldenWorkload(path, resolve(path, '..'))
  t.ok(areDistinct(workload, 2000))
  for (const index of [1, 2, 999]) {
    const feeds = workload.request(index)
    t.strictSame(numbersOf(feeds['rate']!), numbersOf(inputs.rate))
    t.ok(Math.abs(numbersOf(feeds['x']!)[0]! - 0.5) < 0.01)
  }
  t.strictSame(workload.request(0), workload.sample, 'the first one is as it was given')
  t.equal(workload.label(0), undefined)
})

t.test('noise leaves numbers that are none where they are, and makes no new ones', async (t) => {
  const path = await goldenFolder(t.testdir(), { x: floats([4], [NaN, Infinity, -Infinity, 2]) })
  const workload = await goldenWorkload(path, resolve(path, '..'))
  t.ok(areDistinct(workload, 100))
  const [a, b, c, d] = numbersOf(workload.request(5)['x']!)
  t.ok(Number.isNaN(a) && b === Infinity && c === -Infinity && Math.abs(d! - 2) < 0.05)
})

t.test('half floats change in their last bits only', async (t) => {
  const words = Uint16Array.from([
    0x3c00,
    0x7c00,
    0x7e00,
    0x0000,
    ...Array.from({ length: 60 }, (_, i) => 0x3000 + i * 8),
  ])
  const half: Tensor = { dtype: 'float16', shape: [64], data: new Uint8Array(words.buffer) }
  const path = await goldenFolder(t.testdir(), { x: half })
  const workload = await goldenWorkload(path, resolve(path, '..'))
  t.ok(areDistinct(workload, 500))
  const changed = new Uint16Array(Uint8Array.from(workload.request(9)['x']!.data as Uint8Array).buffer)
  t.ok(changed.every((word, i) => word >> 2 === words[i]! >> 2))
  t.strictSame([changed[1], changed[2]], [0x7c00, 0x7e00])
})

t.test('without floats, values change places: each stays one that the model was given', async (t) => {
  const values = Array.from({ length: 64 }, (_, i) => i)
  const cases: [string, Tensor][] = [
    ['int64', ints([64], values)],
    ['uint8', { dtype: 'uint8', shape: [8, 8], data: Uint8Array.from(values) }],
    ['string', strings([64], values.map(String))],
  ]
  for (const [what, tensor] of cases) {
    const path = await goldenFolder(join(t.testdir(), what), { x: tensor })
    const workload = await goldenWorkload(path, resolve(path, '..'))
    t.ok(areDistinct(workload, 500), what)
    const changed = workload.request(3)['x']!
    const sorted = changed.data instanceof Uint8Array ? [...numbersOf(changed)] : changed.data.map(Number)
    t.strictSame(
      sorted.sort((a, b) => a - b),
      values,
      what,
    )
    t.strictSame(changed.shape, tensor.shape)
  }
})

t.test('data that do not belong to the model are refused by name', async (t) => {
  const folder = t.testdir()
  const path = await goldenFolder(folder, { x: floats([1], [1]), y: floats([1], [1]) })
  await t.rejects(goldenWorkload(join(folder, 'other.onnx'), folder), { code: 'missing-file', message: /other\.onnx/ })
  await t.rejects(goldenWorkload(path, join(folder, 'test_data_set_0')), { code: 'no-golden-data' })
  const few = await goldenFolder(join(folder, 'few'), { x: floats([1], [1]) })
  await t.rejects(goldenWorkload(path, resolve(few, '..')), {
    code: 'no-golden-data',
    message: /1 inputs.*takes 2 \(x, y\)/,
  })
})
