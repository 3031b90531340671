import t from 'tap'
import { loadEngine } from '#shared/onnx/session.js'
import { itemBytes, sameBits, type Dtype } from '#shared/onnx/tensor.js'
import { makeSample } from '#shared/onnx/sample.js'
import { buildModel, floats, ints, node, port } from '#test/support/models.js'
import { refuses } from '#test/support/refusal.js'

const engine = await loadEngine()

t.test(
  'tensors of every dtype pass through the engine unchanged, from any offset and from shared memory',
  async (t) => {
    for (const dtype of [...Object.keys(itemBytes), 'string'] as Dtype[]) {
      const model = buildModel({
        nodes: [node('Identity', ['x'], ['y'])],
        inputs: [port('x', dtype, [2, 3])],
        outputs: [port('y', dtype, [2, 3])],
      })
      const session = await engine.create(model, { level: 'disabled' })
      const tensor = makeSample([{ name: 'x', dtype, shape: [2, 3] }])['x']
      if (tensor === undefined) throw new Error('no sample')
      const variants = [tensor.data]
      if (tensor.data instanceof Uint8Array) {
        const odd = new Uint8Array(tensor.data.length + 1).subarray(1)
        const shared = new Uint8Array(new SharedArrayBuffer(tensor.data.length))
        odd.set(tensor.data)
        shared.set(tensor.data)
        variants.push(odd, shared)
      }
      for (const data of variants) {
        const { y } = await session.run({ x: { ...tensor, data } })
        t.ok(y !== undefined && sameBits(y, tensor), dtype)
      }
      t.strictSame(session.inputInfo['x'], { dtype, shape: [2, 3] })
      await session.release()
    }
  },
)

t.test('only the outputs asked for are computed', async (t) => {
  const model = buildModel({
    nodes: [node('Relu', ['x'], ['y']), node('Neg', ['x'], ['z'])],
    inputs: [port('x', 'float32', [1])],
    outputs: [port('y'), port('z')],
  })
  const session = await engine.create(model, { level: 'disabled' })
  t.strictSame(session.outputs, ['y', 'z'])
  t.strictSame(Object.keys(await session.run({ x: floats([1], [1]) }, ['z'])), ['z'])
  await session.release()
})

t.test('feeds that do not fit are refused in words', async (t) => {
  const model = buildModel({
    nodes: [node('Relu', ['x'], ['y'])],
    inputs: [port('x', 'float32', [2])],
    outputs: [port('y')],
  })
  const session = await engine.create(model, { level: 'disabled' })
  await refuses(t, 'bad-tensor', /'x' is missing/, async () => session.run({}))
  await refuses(t, 'bad-tensor', /invalid dimensions for input: x/, async () => session.run({ x: floats([1], [1]) }))
  await refuses(t, 'bad-tensor', /Invalid rank for input: x/, async () => session.run({ x: floats([2, 1], [1, 2]) }))
  await refuses(t, 'bad-tensor', /Unexpected input data type/, async () => session.run({ x: ints([2], [1, 2]) }))
  await refuses(t, 'bad-tensor', /size/, async () => session.run({ x: { ...floats([1], [1]), shape: [2] } }))
  await session.release()
})

t.test('the bytes of a model may be wiped once its session is there', async (t) => {
  const model = buildModel({
    nodes: [node('Add', ['x', 'w'], ['y'])],
    inputs: [port('x', 'float32', [2])],
    outputs: [port('y')],
    weights: { w: floats([2], [10, 20]) },
  })
  const session = await engine.create(model, { level: 'disabled' })
  model.fill(0)
  const { y } = await session.run({ x: floats([2], [1, 2]) })
  t.ok(y !== undefined && sameBits(y, floats([2], [11, 22])))
  await session.release()
})
