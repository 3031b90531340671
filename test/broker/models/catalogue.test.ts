import t from 'tap'
import { cutModel, cutModelInWorker, type Decide, type ModelFacts } from '#broker/models/catalogue.js'
import { partition } from '#broker/planner/partition.js'
import { equal } from '#shared/bytes.js'
import { Refusal } from '#shared/errors.js'
import { splitAt } from '#shared/onnx/graph.js'
import { buildModel, node, noise, port } from '#test/support/models.js'

/** x -> Relu -> MatMul -> Tanh -> y */
const model = buildModel({
  nodes: [node('Relu', ['x'], ['a']), node('MatMul', ['a', 'w'], ['b']), node('Tanh', ['b'], ['y'])],
  inputs: [port('x', 'float32', [1, 4])],
  outputs: [port('y', 'float32', [1, 8])],
  weights: { w: noise([4, 8], 'w') },
})
const request = { model, level: 'disabled', timed: true } as const
const at =
  (...cuts: number[]) =>
  ({ nodeUs }: ModelFacts) =>
    splitAt(nodeUs.length, cuts)

for (const [where, cut] of [
  ['here', cutModel],
  ['in a worker', cutModelInWorker],
] as const) {
  t.test(`${where}: the planner is told costs and places, and the model is cut where it says`, async (t) => {
    let told: ModelFacts | undefined
    const { stages, inputs, outputs, hash } = await cut(request, (facts) => {
      told = facts
      return at(2)(facts)
    })
    t.equal(told!.nodeUs.length, 3)
    t.ok(told!.nodeUs.every((us) => us >= 0))
    t.strictSame(told!.cuts, [
      { at: 1, bytes: 16 },
      { at: 2, bytes: 32 },
    ])
    t.strictSame([told!.inputBytes, told!.outputBytes], [16, 32])
    t.strictSame(
      stages.map(({ nodes }) => nodes),
      [[0, 1], [2]],
    )
    t.strictSame([inputs[0]!.name, outputs[0]!.name], ['x', 'y'])
    t.match(hash, /^[0-9a-f]{64}$/)
    t.equal(told!.hash, hash)
    await cut({ ...request, timed: false }, (facts) => {
      t.strictSame(facts.nodeUs, [1, 1, 1], 'not timed')
      return at()(facts)
    })
  })

  t.test(`${where}: what cannot be is refused as it is, and nothing stays behind`, async (t) => {
    const inNine: Decide = (facts) => at(...partition(facts, 9))(facts)
    await t.rejects(cut(request, inNine), { code: 'cannot-cut' })
    await t.rejects(cut({ ...request, model: new Uint8Array(50).fill(7) }, at()), { name: 'Refusal' })
    const refuse = (): never => {
      throw new Refusal('device-lost', 'nobody is here')
    }
    await t.rejects(cut(request, refuse), { code: 'device-lost' })
    const bug = (): never => {
      throw new TypeError('a bug')
    }
    await t.rejects(cut(request, bug), TypeError)
  })
}

t.test('a worker gives the same segments', async (t) => {
  const [here, there] = [await cutModel(request, at(1)), await cutModelInWorker(request, at(1))]
  t.equal(here.hash, there.hash)
  t.ok(equal(here.whole, there.whole))
  for (const [i, { model }] of here.stages.entries()) t.ok(equal(model, there.stages[i]!.model))
})
