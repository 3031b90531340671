import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import t from 'tap'
import { prepare } from '#shared/onnx/prepare.js'
import { profile } from '#shared/onnx/profile.js'
import { inputPorts, makeSample } from '#shared/onnx/sample.js'
import { parseModel } from '#shared/onnx/parse.js'
import { loadEngine, type Engine } from '#shared/onnx/session.js'
import { sameBits } from '#shared/onnx/tensor.js'
import { buildModel, floats, graph, ints, node, noise, port, bools } from '#test/support/models.js'
import { refuses } from '#test/support/refusal.js'
import { zoo } from '#test/support/zoo.js'

const engine = await loadEngine()
const level = 'all'

const dynamic = buildModel({
  nodes: [node('Relu', ['x'], ['r']), node('MatMul', ['r', 'w'], ['y'])],
  inputs: [port('x', 'float32', ['N', 3])],
  outputs: [port('y', 'float32', ['N', 2])],
  weights: { w: noise([3, 2], 'w') },
})

t.test('the same file and signature give the same graph, another signature another', async (t) => {
  for (const { name, model, feeds } of zoo) {
    const [a, b] = [
      await prepare(model, { engine, level, sample: feeds }),
      await prepare(model, { engine, level, sample: feeds }),
    ]
    t.equal(a.hash, b.hash, name)
    t.equal(a.hash.length, 64)
  }
  const [one, two] = [
    await prepare(dynamic, { engine, level, dims: { N: 1 } }),
    await prepare(dynamic, { engine, level, dims: { N: 2 } }),
  ]
  t.not(one.hash, two.hash)
  t.equal(one.signature, 'x:float32[1,3]')
  t.strictSame(two.outputs, [{ name: 'y', dtype: 'float32', shape: [2, 2] }])
})

t.test('dynamic dimensions are decided by a sample, by name or by position, else refused by name', async (t) => {
  await refuses(t, 'dynamic-shape', /input 'x' has the dynamic dimension 'N'; give its size \(N=1\)/, async () =>
    prepare(dynamic, { engine, level }),
  )
  const named = await prepare(dynamic, { engine, level, dims: { N: 4 } })
  const placed = await prepare(dynamic, { engine, level, dims: { 'x[0]': 4 } })
  const sampled = await prepare(dynamic, { engine, level, sample: { x: noise([4, 3], 'x') } })
  t.equal(named.hash, placed.hash)
  t.equal(named.hash, sampled.hash)
  const shapeless = buildModel({ nodes: [node('Relu', ['x'], ['y'])], inputs: [port('x')], outputs: [port('y')] })
  await refuses(t, 'dynamic-shape', /'x' declares no shape/, async () =>
    prepare(shapeless, { engine, level, dims: { N: 1 } }),
  )
  t.equal((await prepare(shapeless, { engine, level, sample: { x: noise([2, 2], 'x') } })).signature, 'x:float32[2,2]')
})

t.test('a sample that does not fit is refused, naming the input', async (t) => {
  const sample = async (feeds: Record<string, ReturnType<typeof floats>>): Promise<unknown> =>
    prepare(dynamic, { engine, level, sample: feeds })
  await refuses(t, 'bad-tensor', /no tensor for input 'x'/, async () => sample({}))
  await refuses(t, 'bad-tensor', /no input 'z'; it has 'x'/, async () =>
    sample({ x: noise([1, 3], 'x'), z: noise([1], 'z') }),
  )
  await refuses(t, 'bad-tensor', /'x' must be float32\[N,3\], got float32\[1,4\]/, async () =>
    sample({ x: noise([1, 4], 'x') }),
  )
  await refuses(t, 'bad-tensor', /'x' must be float32\[N,3\], got float32\[3\]/, async () =>
    sample({ x: noise([3], 'x') }),
  )
  await refuses(t, 'bad-tensor', /'x' must be float32\[1,3\], got int64/, async () =>
    sample({ x: ints([1, 3], [1, 2, 3]) }),
  )
})

t.test('models that cannot be run say which node or port is to blame', async (t) => {
  const x = port('x', 'float32', [2])
  const y = port('y', 'float32', [2])
  const one = (op: string, more = {}): Uint8Array =>
    buildModel({
      nodes: [node(op, ['x'], ['y'], {}, { name: 'culprit', ...more })],
      inputs: [x],
      outputs: [y],
      domains: { 'a.b': 1 },
    })
  const refused = async (code: Parameters<typeof refuses>[1], words: RegExp, model: Uint8Array): Promise<void> =>
    refuses(t, code, words, async () => prepare(model, { engine, level }))
  await refused('unsupported-op', /Foo/, one('Foo'))
  await refused('unsupported-op', /Foo/, one('Foo', { domain: 'a.b' }))
  await refused(
    'unsupported-op',
    /Relu.*'culprit'/,
    buildModel({
      nodes: [
        node('Cast', ['x'], ['b'], { to: 16n }),
        node('Relu', ['b'], ['c'], {}, { name: 'culprit' }),
        node('Cast', ['c'], ['y'], { to: 1n }),
      ],
      inputs: [x],
      outputs: [y],
    }),
  )
  await refused(
    'unsupported-op',
    /opset/i,
    buildModel({ opset: 99, nodes: [node('Relu', ['x'], ['y'])], inputs: [x], outputs: [y] }),
  )
  await refused(
    'bad-model',
    /IR version/,
    buildModel({ irVersion: 99, nodes: [node('Relu', ['x'], ['y'])], inputs: [x], outputs: [y] }),
  )
  await refused(
    'unsupported-dtype',
    /input 'x' is a tensor of bfloat16/,
    buildModel({ nodes: [node('Cast', ['x'], ['y'], { to: 1n })], inputs: [port('x', 16, [2])], outputs: [y] }),
  )
  await refused(
    'unsupported-dtype',
    /output 'y' is of a type/,
    buildModel({
      opset: 21,
      irVersion: 10,
      nodes: [node('Cast', ['x'], ['y'], { to: 22n })],
      inputs: [x],
      outputs: [port('y', 22, [2])],
    }),
  )
  await refused(
    'unsupported-dtype',
    /input 'x' is a sequence/,
    buildModel({
      nodes: [node('SequenceLength', ['x'], ['y'])],
      inputs: [{ name: 'x', type: { kind: { case: 'sequence', value: {} } } }],
      outputs: [port('y', 'int64', [])],
    }),
  )
  await refused(
    'bad-model',
    /Gather.*culprit|culprit.*Gather|out of data bounds/,
    buildModel({
      nodes: [node('Gather', ['x', 'i'], ['y'], {}, { name: 'culprit' })],
      inputs: [x, port('i', 'int64', [1])],
      outputs: [y],
      weights: { i: ints([1], [9]) },
    }),
  )
})

t.test('a tensor whose shape depends on values is marked, and no other', async (t) => {
  const model = buildModel({
    nodes: [
      node('Relu', ['x'], ['r']),
      node('NonZero', ['r'], ['where']),
      node('Transpose', ['where'], ['rows']),
      node('Cast', ['rows'], ['y'], { to: 1n }),
    ],
    inputs: [port('x', 'float32', [2, 2])],
    outputs: [port('y')],
  })
  const { ports } = await prepare(model, { engine, level: 'disabled', sample: { x: floats([2, 2], [1, 0, 1, 1]) } })
  t.strictSame(ports.get('r'), { name: 'r', dtype: 'float32', shape: [2, 2] })
  t.strictSame(ports.get('where'), { name: 'where', dtype: 'int64', shape: [2, 3], varies: true })
})

t.test('pinned shapes that do not fit the branch not taken do not spoil the model', async (t) => {
  const branch = (nodes: Parameters<typeof graph>[0]['nodes'], output: string): ReturnType<typeof graph> =>
    graph({ nodes: nodes ?? [], inputs: [], outputs: [port(output)] })
  const model = buildModel({
    nodes: [
      node('If', ['flag'], ['y'], {
        then_branch: branch([node('MatMul', ['x', 'square'], ['t'])], 't'), // fits 3 columns only
        else_branch: branch([node('Relu', ['x'], ['e'])], 'e'),
      }),
    ],
    inputs: [port('x', 'float32', ['N', 'M']), port('flag', 'bool', [])],
    outputs: [port('y')],
    weights: { square: noise([3, 3], 'square') },
  })
  const prepared = await prepare(model, { engine, level, sample: { x: noise([2, 5], 'x'), flag: bools([], [false]) } })
  t.strictSame(
    prepared.outputs.map(({ shape }) => shape),
    [[2, 5]],
  )
})

t.test('made-up samples are the same for the same seed and fit their ports', (t) => {
  const { graph: declared } = parseModel(dynamic)
  const ports = inputPorts(declared, undefined, { N: 2 })
  const [a, b, c] = [makeSample(ports, 1)['x'], makeSample(ports, 1)['x'], makeSample(ports, 2)['x']]
  if (a === undefined || b === undefined || c === undefined) throw new Error('no sample')
  t.ok(sameBits(a, b))
  t.notOk(sameBits(a, c))
  t.end()
})

t.test('an input too large to make up is refused', async (t) => {
  const huge = buildModel({
    nodes: [node('Relu', ['x'], ['y'])],
    inputs: [port('x', 'float32', [1_000_000, 1_000_000])],
    outputs: [port('y')],
  })
  await refuses(t, 'bad-tensor', /too large/, async () => prepare(huge, { engine, level }))
})

t.test('every node is timed, and no file is left behind', async (t) => {
  const [{ model, feeds }] = zoo as [(typeof zoo)[number]]
  const folders = ['/dev/shm', tmpdir()]
  const ours = async (): Promise<string[]> => {
    const lists = await Promise.all(folders.map(async (folder) => readdir(folder).catch(() => [])))
    return lists.flat().filter((name) => name.startsWith('tessera-'))
  }
  const before = new Set(await ours())
  const made: string[] = []
  const watching: Engine = {
    version: engine.version,
    async create(bytes, options) {
      made.push(options.optimizedModelPath ?? options.profilePrefix ?? '')
      return engine.create(bytes, options)
    },
  }
  const prepared = await prepare(model, { engine: watching, level: 'disabled', sample: feeds })
  const costs = await profile(prepared, watching, feeds, 3)
  t.equal(costs.length, prepared.nodes.length)
  t.ok(costs.every((cost) => Number.isFinite(cost) && cost >= 0))
  t.ok(costs.some((cost) => cost > 0))
  await refuses(t, 'unsupported-op', /Foo/, async () =>
    prepare(buildModel({ nodes: [node('Foo', [], ['y'])], inputs: [], outputs: [port('y')] }), {
      engine: watching,
      level,
    }),
  )
  const used = made.filter((path) => path !== '').map((path) => path.split('/').at(-2) ?? '')
  t.ok(used.length >= 3, 'the optimised graph, the profile and the refused model each had a folder')
  const left = (await ours()).filter((name) => !before.has(name))
  t.strictSame(
    left.filter((name) => used.includes(name)),
    [],
  )
})
