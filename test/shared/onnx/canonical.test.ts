import t from 'tap'
import { canonicalise } from '#shared/onnx/canonical.js'
import { dataflowOf } from '#shared/onnx/dataflow.js'
import { parseModel, type GraphModel } from '#shared/onnx/parse.js'
import { buildModel, floats, graph, node, port, type ModelInit } from '#test/support/models.js'
import { refuses } from '#test/support/refusal.js'
import { zoo } from '#test/support/zoo.js'

function canonical(init: ModelInit): GraphModel {
  const model = parseModel(buildModel(init))
  canonicalise(model)
  return model
}

const x = port('x', 'float32', [2])
const y = port('y', 'float32', ['M'])

t.test(
  'canonical form has weights as initializers, no stale shapes, no dead nodes, unique names, topological order',
  (t) => {
    for (const { name, model: bytes } of zoo) {
      const model = parseModel(bytes)
      canonicalise(model)
      const { node: nodes, initializer, input, output, valueInfo } = model.graph
      const known = new Set([
        ...input.map((value) => value.name),
        ...initializer.map((tensor) => tensor.name),
        ...model.graph.sparseInitializer.map((sparse) => sparse.values?.name),
      ])
      for (const one of nodes) {
        t.not(one.opType, 'Constant', name)
        t.ok(
          one.input.every((read) => read === '' || known.has(read)),
          `${name}: ${one.name} stands after what it reads`,
        )
        for (const written of one.output) known.add(written)
      }
      t.equal(new Set(nodes.map((one) => one.name)).size, nodes.length, name)
      t.strictSame(valueInfo, [], name)
      t.ok(
        output.every((value) => value.type?.kind.case !== 'tensor' || value.type.kind.value.shape === undefined),
        name,
      )
      t.notOk(
        input.some((value) => initializer.some((tensor) => tensor.name === value.name)),
        name,
      )
    }
    t.end()
  },
)

t.test('canonical form is its own canonical form', (t) => {
  for (const { name, model: bytes } of zoo) {
    const model = parseModel(bytes)
    canonicalise(model)
    const nodes = model.graph.node.map(({ name, opType }) => `${name} ${opType}`)
    canonicalise(model)
    t.strictSame(
      model.graph.node.map(({ name, opType }) => `${name} ${opType}`),
      nodes,
      name,
    )
  }
  t.end()
})

t.test('a sorted file keeps its order', (t) => {
  const nodes = ['Relu', 'Exp', 'Abs', 'Neg'].map((op, i) => node(op, ['x'], [`a${i}`]))
  const model = canonical({
    nodes: [...nodes, node('Sum', ['a3', 'a1', 'a0', 'a2'], ['y'])],
    inputs: [x],
    outputs: [y],
  })
  t.strictSame(
    model.graph.node.map(({ opType }) => opType),
    ['Relu', 'Exp', 'Abs', 'Neg', 'Sum'],
  )
  t.end()
})

t.test('random nodes are steps even without inputs, constants of constants are not', (t) => {
  const flow = dataflowOf(
    canonical({
      nodes: [
        node('RandomNormal', [], ['r'], { shape: [2n] }),
        node('Neg', ['w'], ['n']),
        node('Add', ['n', 'r'], ['s']),
        node('Add', ['s', 'x'], ['y']),
      ],
      inputs: [x],
      outputs: [y],
      weights: { w: floats([2], [1, 2]) },
    }),
  )
  t.strictSame(
    flow.steps.map(({ opType }) => opType),
    ['RandomNormal', 'Add', 'Add'],
  )
  t.ok(flow.constants.has('n'))
  t.end()
})

t.test('graphs that are not well formed are refused', async (t) => {
  const relu = node('Relu', ['x'], ['y'])
  const bad = async (words: RegExp, init: ModelInit): Promise<void> =>
    refuses(t, 'bad-model', words, () => canonical(init))
  await bad(/cycle/, {
    nodes: [node('Add', ['x', 'b'], ['a']), node('Relu', ['a'], ['b']), node('Exp', ['b'], ['y'])],
    inputs: [x],
    outputs: [y],
  })
  await bad(/node 'r' \(Relu\) reads 'z', which nothing produces/, {
    nodes: [node('Relu', ['z'], ['y'], {}, { name: 'r' })],
    inputs: [x],
    outputs: [y],
  })
  await bad(/nothing produces its output 'y'/, { nodes: [], inputs: [x], outputs: [y] })
  await bad(/'y' is defined twice/, { nodes: [relu, relu], inputs: [x], outputs: [y] })
  await bad(/'x' is defined twice/, { nodes: [relu], inputs: [x, x], outputs: [y] })
  await bad(/listed twice/, { nodes: [relu], inputs: [x], outputs: [y, y] })
  await bad(/no outputs/, { nodes: [relu], inputs: [x], outputs: [] })
  await bad(/no output or no value/, { nodes: [node('Constant', [], ['c']), relu], inputs: [x], outputs: [y] })
  const inner = graph({ nodes: [node('Add', ['x', 'missing'], ['t'])], inputs: [], outputs: [port('t')] })
  await bad(/\(If\) reads 'missing'/, {
    nodes: [node('If', ['x'], ['y'], { then_branch: inner, else_branch: inner }, { name: 'i' })],
    inputs: [x],
    outputs: [y],
  })
})
