import t from 'tap'
import { loadEngine } from '#shared/onnx/session.js'
import { isWithin, toleranceOf } from '#shared/onnx/tolerance.js'
import { verify } from '#shared/onnx/verify.js'
import { buildModel, floats, node, noise, port } from '#test/support/models.js'
import { zoo } from '#test/support/zoo.js'

const engine = await loadEngine()

for (const { name, model, feeds, illegal = 0 } of zoo) {
  t.test(`every cut is exact: ${name}`, async (t) => {
    for (const level of ['disabled', 'all'] as const) {
      const verdict = await verify(model, [{ name: 'case', feeds }], {
        engine,
        level,
        cuts: 'all',
        randomSets: 10,
        seed: 1,
      })
      t.strictSame(verdict.failures, [], level)
      t.equal(verdict.exact, verdict.cutsTried, level)
      t.equal(verdict.maxAbsDiff, 0, level)
      const prefixes = Math.max(0, verdict.nodes - 1 - verdict.illegal)
      t.ok(verdict.cutsTried >= prefixes, `${level}: ${verdict.cutsTried} tried of ${prefixes} prefixes`)
      if (level === 'disabled') t.equal(verdict.illegal, illegal)
    }
  })
}

const options = { engine, level: 'all', cuts: 'all', randomSets: 2, seed: 1 } as const

t.test('a known output that the model does not give is reported, with its case', async (t) => {
  const model = buildModel({
    nodes: [node('Relu', ['x'], ['r']), node('Neg', ['r'], ['y'])],
    inputs: [port('x', 'float32', [2])],
    outputs: [port('y')],
  })
  const feeds = { x: floats([2], [1, 2]) }
  const right = { name: 'right', feeds, expected: [floats([2], [-1, -2])] }
  const wrong = { name: 'wrong', feeds, expected: [floats([2], [-1, -2.5])] }
  t.strictSame((await verify(model, [right], options)).failures, [])
  const verdict = await verify(model, [right, wrong], options)
  t.strictSame(verdict.failures, [{ kind: 'golden', where: 'wrong', reason: "output 'y' differs by 0.5" }])
  t.equal(verdict.maxAbsDiffToGolden, 0.5)
})

t.test('parts that do not give the bits of the whole are reported, each by its position', async (t) => {
  // The engine seeds a random node by its place in the file: cut before it, it gives other values than in the whole.
  const model = buildModel({
    nodes: [
      node('Relu', ['x'], ['a']),
      node('RandomNormal', [], ['r'], { shape: [2n] }),
      node('Add', ['a', 'r'], ['s']),
      node('Neg', ['s'], ['y']),
    ],
    inputs: [port('x', 'float32', [2])],
    outputs: [port('y', 'float32', [2])],
  })
  const cases = [{ name: 'case', feeds: { x: floats([2], [1, 2]) } }]
  const verdict = await verify(model, cases, { ...options, level: 'disabled', randomSets: 0 })
  t.equal(verdict.cutsTried, 3)
  t.equal(verdict.exact, 2)
  t.ok(verdict.maxAbsDiff > 0)
  t.match(verdict.failures, [{ kind: 'cut', where: '1', reason: /'y' differs by .* in case/ }])
  t.equal(verdict.failures.length, 1)
})

t.test('cases of several shapes are each tried on a graph of their own', async (t) => {
  const model = buildModel({
    nodes: [node('Relu', ['x'], ['r']), node('Tanh', ['r'], ['y'])],
    inputs: [port('x', 'float32', ['N'])],
    outputs: [port('y')],
  })
  const cases = [1, 5, 1].map((length, i) => ({ name: `case ${i}`, feeds: { x: noise([length], `x${i}`) } }))
  const verdict = await verify(model, cases, options)
  t.equal(verdict.cutsTried, 2 * (1 + 2))
  t.equal(verdict.exact, verdict.cutsTried)
})

t.test('fewer cuts than there are spread over the whole graph', async (t) => {
  const tried: number[] = []
  const [{ model, feeds }] = zoo as [(typeof zoo)[number]]
  const verdict = await verify(model, [{ name: 'case', feeds }], {
    ...options,
    level: 'disabled',
    cuts: 2,
    randomSets: 3,
    onProgress: (done, total) => tried.push(done / total),
  })
  t.equal(verdict.cutsTried, 5)
  t.strictSame(tried, [0.2, 0.4, 0.6, 0.8, 1])
})

t.test('tolerance scales with a tensor and is wider for quantised models', (t) => {
  const exact = toleranceOf('disabled', ['Conv'], false)
  t.ok(isWithin(exact, floats([2], [1000.5, 0]), floats([2], [1000, 0])))
  t.notOk(isWithin(exact, floats([2], [1, 0.001]), floats([2], [1, 0])))
  t.notOk(isWithin(exact, floats([1], [NaN]), floats([1], [0])))
  t.ok(isWithin(exact, floats([2], [NaN, Infinity]), floats([2], [NaN, Infinity])))
  t.notOk(isWithin(exact, floats([1], [1]), floats([1, 1], [1])))
  const quantised = toleranceOf('all', ['QuantizeLinear'], false)
  t.ok(isWithin(quantised, floats([2], [10, 0.1]), floats([2], [10, 0])))
  t.notOk(isWithin(quantised, floats([2], [10, 0.3]), floats([2], [10, 0])))
  t.end()
})
