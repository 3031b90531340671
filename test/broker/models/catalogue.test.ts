import t from 'tap'
import { cutModel, cutModelInWorker, type CutCosts } from '#broker/models/catalogue.js'
import { partition } from '#broker/planner/partition.js'
import { equal } from '#shared/bytes.js'
import { Refusal } from '#shared/errors.js'
import { buildModel, node, noise, port } from '#test/support/models.js'

/** x -> Relu -> MatMul -> Tanh -> y */
const model = buildModel({
  nodes: [node('Relu', ['x'], ['a']), node('MatMul', ['a', 'w'], ['b']), node('Tanh', ['b'], ['y'])],
  inputs: [port('x', 'float32', [1, 4])],
  outputs: [port('y', 'float32', [1, 8])],
  weights: { w: noise([4, 8], 'w') },
})
const request = { model, level: 'disabled', stages: 2 } as const

for (const [where, cut] of [
  ['here', cutModel],
  ['in a worker', cutModelInWorker],
] as const) {
  t.test(`${where}: the planner is told costs and places, and the model is cut where it says`, async (t) => {
    let told: CutCosts | undefined
    const { segments, inputs, outputs, hash } = await cut(request, (costs, stages) => {
      told = costs
      t.equal(stages, 2)
      return [2]
    })
    t.equal(told!.nodeUs.length, 3)
    t.ok(told!.nodeUs.every((us) => us >= 0))
    t.strictSame(told!.cuts, [
      { at: 1, bytes: 16 },
      { at: 2, bytes: 32 },
    ])
    t.strictSame([told!.inputBytes, told!.outputBytes], [16, 32])
    t.strictSame(
      segments.map(({ from, to }) => [from, to]),
      [
        [0, 2],
        [2, 3],
      ],
    )
    t.strictSame([inputs[0]!.name, outputs[0]!.name], ['x', 'y'])
    t.match(hash, /^[0-9a-f]{64}$/)
  })

  t.test(`${where}: what cannot be is refused as it is, and nothing stays behind`, async (t) => {
    await t.rejects(cut({ ...request, stages: 9 }, partition), { code: 'cannot-cut' })
    await t.rejects(cut({ ...request, model: new Uint8Array(50).fill(7) }, partition), { name: 'Refusal' })
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
  const [here, there] = [await cutModel(request, () => [1]), await cutModelInWorker(request, () => [1])]
  t.equal(here.hash, there.hash)
  t.ok(equal(here.whole, there.whole))
  for (const [i, { model }] of here.segments.entries()) t.ok(equal(model, there.segments[i]!.model))
})
