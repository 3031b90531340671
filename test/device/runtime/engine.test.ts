import t from 'tap'
import { openEngine, openInWorker, transferable, type EngineMode } from '#device/runtime/engine.js'
import { prepare } from '#shared/onnx/prepare.js'
import { loadEngine } from '#shared/onnx/session.js'
import { sameBits } from '#shared/onnx/tensor.js'
import { buildModel, floats, node, noise, port } from '#test/support/models.js'
import { zoo } from '#test/support/zoo.js'

const modes: readonly EngineMode[] = ['inline', 'worker']
const weights = noise([4, 4], 'weights')

/** y = x · w, and z = -x. */
const small = (): Uint8Array<ArrayBuffer> =>
  buildModel({
    nodes: [node('MatMul', ['x', 'w'], ['y']), node('Neg', ['x'], ['z'])],
    inputs: [port('x', 'float32', ['n', 4])],
    outputs: [port('y', 'float32', ['n', 4]), port('z', 'float32', ['n', 4])],
    weights: { w: weights },
  })

/** Wiped, or handed over. */
const isGone = (bytes: Uint8Array): boolean => bytes.buffer.byteLength === 0 || bytes.every((byte) => byte === 0)

/** Feeds in memory of their own, as they come off the wire. */
const fresh = (seed: string) => ({ x: noise([1, 4], seed) })

t.test('inline and in a worker every model gives the same bits', async (t) => {
  const engine = await loadEngine()
  for (const { name, model, feeds } of zoo) {
    const prepared = await prepare(model, { engine, level: 'disabled', sample: feeds })
    const results = []
    for (const mode of modes) {
      const engine = await openEngine(Uint8Array.from(prepared.bytes), mode)
      const own = Object.fromEntries(
        Object.entries(feeds).map(([name, tensor]) => [
          name,
          { ...tensor, data: tensor.data instanceof Uint8Array ? Uint8Array.from(tensor.data) : tensor.data },
        ]),
      )
      results.push(
        (
          await engine.run(
            own,
            prepared.outputs.map(({ name }) => name),
          )
        ).outputs,
      )
      await engine.close()
    }
    const [inline, worker] = results
    t.strictSame(Object.keys(inline!), Object.keys(worker!), name)
    for (const [output, tensor] of Object.entries(inline!))
      t.ok(sameBits(tensor, worker![output]!), `${name}: ${output}`)
  }
})

for (const mode of modes) {
  t.test(`${mode}: many runs at once come back each with its own, and only what was asked for`, async (t) => {
    const engine = await openEngine(small(), mode)
    t.equal(engine.mode, mode)
    const inputs = Array.from({ length: 20 }, (_, i) => floats([1, 4], [i, i + 1, i + 2, i + 3]))
    const runs = await Promise.all(inputs.map((x) => engine.run({ x }, ['z'])))
    for (const [i, { outputs, computeUs }] of runs.entries()) {
      t.strictSame(Object.keys(outputs), ['z'])
      t.ok(sameBits(outputs['z']!, floats([1, 4], [-i, -i - 1, -i - 2, -i - 3])), `run ${i}`)
      t.ok(computeUs >= 0)
    }
    await engine.close()
  })

  t.test(`${mode}: feeds that do not fit are refused, and harm no other run`, async (t) => {
    const engine = await openEngine(small(), mode)
    const [wrong, good] = await Promise.allSettled([
      engine.run({ x: noise([1, 5], 'wrong') }, ['y']),
      engine.run(fresh('good'), ['y']),
    ])
    t.match(wrong, { status: 'rejected', reason: { name: 'Refusal' } })
    t.equal(good.status, 'fulfilled')
    await engine.close()
  })

  t.test(`${mode}: the model's bytes are not left behind, good or bad`, async (t) => {
    const whole = small()
    const part = new Uint8Array(whole.length + 8).subarray(8)
    part.set(whole)
    await (await openEngine(part, mode)).close()
    t.ok(isGone(part))
    const own = small()
    await (await openEngine(own, mode)).close()
    t.ok(isGone(own), 'wiped, or with the worker that had them')
    const bad = new Uint8Array(64).fill(9)
    await t.rejects(openEngine(bad, mode), { name: 'Refusal' })
    t.ok(isGone(bad))
  })

  t.test(`${mode}: closing waits for what was asked before, and refuses what is asked after`, async (t) => {
    const engine = await openEngine(small(), mode)
    const settled: string[] = []
    const run = engine.run(fresh('before'), ['y']).then(() => settled.push('run'))
    const closed = engine.close().then(() => settled.push('closed'))
    await t.rejects(engine.run(fresh('after'), ['y']), { code: 'bad-segment' })
    await Promise.all([run, closed])
    t.strictSame(settled, ['run', 'closed'])
    await engine.close()
    await t.rejects(engine.run(fresh('after'), ['y']), { code: 'bad-segment' })
  })
}

t.test('a worker that dies refuses all that waits and all that comes, and can still be closed', async (t) => {
  const entry = new URL('../../support/dying-worker.js', import.meta.url)
  const engine = await openInWorker(small(), entry)
  await engine.run(fresh('first'), ['y'])
  const waiting = [engine.run(fresh('second'), ['y']), engine.run(fresh('third'), ['y'])]
  for (const run of waiting) await t.rejects(run, { code: 'bad-segment', message: /out of memory/ })
  await t.rejects(engine.run(fresh('fourth'), ['y']), { code: 'bad-segment' })
  await engine.close()
})

t.test('a worker that cannot start refuses to open', async (t) => {
  await t.rejects(openInWorker(small(), new URL('./no-such-worker.js', import.meta.url)), { code: 'bad-segment' })
})

t.test('memory that tensors share changes hands once, strings have none', (t) => {
  const shared = new Uint8Array(8)
  const tensors = {
    a: { dtype: 'uint8', shape: [4], data: shared.subarray(0, 4) },
    b: { dtype: 'uint8', shape: [4], data: shared.subarray(4) },
    c: { dtype: 'string', shape: [1], data: ['text'] },
  } as const
  t.strictSame(transferable(tensors), [shared.buffer])
  t.end()
})
