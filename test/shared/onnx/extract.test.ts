import * as fc from 'fast-check'
import t from 'tap'
import { asBuffer } from '#shared/bytes.js'
import { crossing, illegalCuts, legalCuts } from '#shared/onnx/cuts.js'
import { chain, extract, range } from '#shared/onnx/extract.js'
import { prepare, type Prepared } from '#shared/onnx/prepare.js'
import { load, release, runChain } from '#shared/onnx/run.js'
import { loadEngine, type Feeds } from '#shared/onnx/session.js'
import { sameBits } from '#shared/onnx/tensor.js'
import { buildModel, floats, ints, node, noise, port } from '#test/support/models.js'
import { refuses } from '#test/support/refusal.js'
import { zoo } from '#test/support/zoo.js'

const engine = await loadEngine()
const names = (ports: readonly { name: string }[]): string[] => ports.map((one) => one.name)

async function preparedZoo(): Promise<{ name: string; prepared: Prepared; feeds: Feeds }[]> {
  return Promise.all(
    zoo.map(async ({ name, model, feeds }) => ({
      name,
      feeds,
      prepared: await prepare(model, { engine, level: 'disabled', sample: feeds }),
    })),
  )
}
const all = await preparedZoo()

/** x -> early (an output) -> ... -> y; `late` is used by the last node only, `echo` goes straight through. */
const routed = await prepare(
  buildModel({
    nodes: [
      node('Relu', ['x'], ['early']),
      node('Exp', ['early'], ['e']),
      node('Tanh', ['e'], ['h']),
      node('Mul', ['h', 'late'], ['y']),
    ],
    inputs: [
      port('x', 'float32', [3]),
      port('late', 'float32', [3]),
      port('echo', 'int64', [2]),
      port('unused', 'float32', []),
    ],
    outputs: [
      port('y', 'float32', [3]),
      port('echo', 'int64', [2]),
      port('early', 'float32', [3]),
      port('w', 'float32', [2]),
    ],
    weights: { w: floats([2], [7, 8]) },
  }),
  { engine, level: 'disabled' },
)

t.test('every cut lists what crosses: inputs used late, outputs produced early, and nothing else', (t) => {
  const cuts = legalCuts(routed)
  t.strictSame(
    cuts.map((cut) => names(cut.tensors)),
    [
      ['late', 'echo', 'early'],
      ['late', 'echo', 'early', 'e'],
      ['late', 'echo', 'early', 'h'],
    ],
  )
  t.strictSame(
    cuts.map((cut) => cut.at),
    [1, 2, 3],
  )
  t.strictSame(
    cuts.map((cut) => cut.bytes),
    [12 + 16 + 12, 12 + 16 + 12 + 12, 12 + 16 + 12 + 12],
  )
  t.end()
})

t.test('what one segment sends is what the next receives, and the ends are those of the graph', (t) => {
  const segments = chain(routed, [1, 3])
  t.strictSame(
    segments.map(({ from, to }) => [from, to]),
    [
      [0, 1],
      [1, 3],
      [3, 4],
    ],
  )
  t.strictSame(
    segments.map(({ receives }) => names(receives)),
    [
      ['x', 'late', 'echo', 'unused'],
      ['late', 'echo', 'early'],
      ['late', 'echo', 'early', 'h'],
    ],
  )
  t.strictSame(
    segments.map(({ sends }) => names(sends)),
    [
      ['late', 'echo', 'early'],
      ['late', 'echo', 'early', 'h'],
      ['y', 'echo', 'early', 'w'],
    ],
  )
  t.strictSame(
    segments.map(({ runInputs }) => names(runInputs)),
    [['x'], ['early'], ['late', 'h']],
  )
  t.strictSame(
    segments.map(({ runOutputs }) => names(runOutputs)),
    [['early'], ['h'], ['y', 'w']],
  )
  t.end()
})

t.test('the sweep over all cuts agrees with each cut taken alone', (t) => {
  for (const { name, prepared } of all) {
    const legal = new Map(legalCuts(prepared).map((cut) => [cut.at, names(cut.tensors)]))
    const illegal = new Map(illegalCuts(prepared).map((cut) => [cut.at, cut.blockedBy]))
    for (let at = 1; at < prepared.nodes.length; at++) {
      const crossed = crossing(prepared, range(0, at))
      const blocked = crossed.filter((one) => !prepared.ports.has(one))
      t.strictSame(legal.get(at), blocked.length === 0 ? crossed : undefined, `${name} at ${at}`)
      t.strictSame(illegal.get(at), blocked.length === 0 ? undefined : blocked, `${name} at ${at}`)
    }
  }
  t.end()
})

t.test('segments in a row equal the whole, for any choice of legal cuts', async () => {
  const choice = fc.constantFrom(...all).chain(({ name, prepared, feeds }) =>
    fc.record({
      name: fc.constant(name),
      prepared: fc.constant(prepared),
      feeds: fc.constant(feeds),
      at: fc.subarray(legalCuts(prepared).map((cut) => cut.at)),
    }),
  )
  await fc.assert(
    fc.asyncProperty(choice, async ({ prepared, feeds, at }) => {
      const whole = await engine.create(prepared.bytes, { level: 'disabled' })
      const expected = await whole.run(feeds)
      await whole.release()
      const loaded = await load(engine, chain(prepared, at))
      const got = await runChain(loaded, feeds)
      await release(loaded)
      return prepared.outputs.every(({ name }) => {
        const [a, b] = [got[name], expected[name]]
        return a !== undefined && b !== undefined && sameBits(a, b)
      })
    }),
    { numRuns: 60 },
  )
})

t.test('a segment holds its own weights and no others', async (t) => {
  const [a, b] = [noise([64, 64], 'a'), noise([64, 64], 'b')]
  const prepared = await prepare(
    buildModel({
      nodes: [node('MatMul', ['x', 'a'], ['h']), node('MatMul', ['h', 'b'], ['y'])],
      inputs: [port('x', 'float32', [1, 64])],
      outputs: [port('y', 'float32', [1, 64])],
      weights: { a, b },
    }),
    { engine, level: 'disabled' },
  )
  const [first, second] = chain(prepared, [1])
  if (first === undefined || second === undefined) throw new Error('no segments')
  t.equal(first.weightBytes, 64 * 64 * 4)
  t.equal(second.weightBytes, 64 * 64 * 4)
  t.ok(Buffer.from(first.model).includes(asBuffer(a.data as Uint8Array)))
  t.notOk(Buffer.from(first.model).includes(asBuffer(b.data as Uint8Array)))
  t.notOk(Buffer.from(second.model).includes(asBuffer(a.data as Uint8Array)))
})

t.test('weights exist once in memory: the pieces of a prepared graph are slices of its bytes', (t) => {
  for (const { name, prepared } of all) {
    const pieces = [...prepared.flow.steps, ...prepared.flow.constants.values()].map(({ piece }) => piece)
    t.ok(
      pieces.every((piece) => piece.buffer === prepared.bytes.buffer),
      name,
    )
  }
  t.end()
})

t.test('a part of any set of nodes says what it reads and what others need of it', (t) => {
  const part = extract(routed, new Set([0, 2]), false)
  t.strictSame(names(part.inputs), ['x', 'e'])
  t.strictSame(names(part.outputs), ['early', 'h'])
  t.end()
})

t.test('positions that cannot be cut are refused, with the reason', async (t) => {
  for (const at of [[0], [4], [-1], [1.5], [2, 2], [3, 1]]) {
    await refuses(t, 'cannot-cut', /cuts must ascend between 1 and 3, the graph has 4 nodes/, () => chain(routed, at))
  }
  const sequences = all.find(({ name }) => name === 'sequences inside')?.prepared
  if (sequences === undefined) throw new Error('no such specimen')
  const [blocked] = illegalCuts(sequences)
  if (blocked === undefined) throw new Error('every cut is legal')
  await refuses(t, 'cannot-cut', new RegExp(`no cut at ${blocked.at}: 'list' would cross it`), () =>
    chain(sequences, [blocked.at]),
  )
})

t.test('a stage refuses tensors that are not those it receives', async (t) => {
  const feeds = { x: noise([3], 'x'), late: noise([3], 'l'), echo: ints([2], [1, 2]), unused: floats([], [0]) }
  const loaded = await load(engine, chain(routed, [2]))
  await refuses(t, 'bad-tensor', /'late' is missing/, async () => runChain(loaded, { x: feeds.x }))
  await refuses(t, 'bad-tensor', /'late' must be float32\[3\]/, async () =>
    runChain(loaded, { ...feeds, late: noise([4], 'l') }),
  )
  await release(loaded)
})
