import t from 'tap'
import { Measuring, type MeasuringOptions } from '#device/measuring.js'
import { callCost } from '#device/runtime/call-cost.js'
import { openEngine } from '#device/runtime/engine.js'
import { timeSegment } from '#device/runtime/timing.js'
import { memoryStore } from '#device/vault/store.js'
import { sealSegment } from '#broker/models/delivery.js'
import { SteppedClock } from '#shared/clock.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import { newDeviceId } from '#shared/ids.js'
import { loadEngine } from '#shared/onnx/session.js'
import { byteLength, type Port } from '#shared/onnx/tensor.js'
import { kernelOf, kernels, tiledSample, timeKernels } from '#shared/onnx/workload.js'
import { blocksAsked } from '#shared/protocol/blocks.js'
import type { Measured } from '#shared/protocol/measuring.js'
import { seededRandom } from '#shared/random.js'
import { sealingCost } from '#shared/session/sealing-cost.js'
import { buildModel, node, noise, port } from '#test/support/models.js'

const rough = { batchMs: 0, batches: 1 }
const random = seededRandom('measuring')
const self = newDeviceId(random)
const peer = newDeviceId(random)

/** y = x · w */
const model = (): Uint8Array<ArrayBuffer> =>
  buildModel({
    nodes: [node('MatMul', ['x', 'w'], ['y'])],
    inputs: [port('x', 'float32', [1, 4])],
    outputs: [port('y', 'float32', [1, 4])],
    weights: { w: noise([4, 4], 'w') },
  })
const ports = {
  runInputs: [{ name: 'x', dtype: 'float32' as const, shape: [1, 4] }],
  runOutputs: [{ name: 'y', dtype: 'float32' as const, shape: [1, 4] }],
}
const sealed = sealSegment(
  { device: self, name: 'small/seg-0', version: 1, modelId: random(16), plain: model() },
  random,
  nodeAeads,
)
const key = { ...sealed.file, dek: sealed.dek }
const segmentOrder = (order: number) => ({ order, what: { kind: 'segment' as const, segment: sealed.file, ...ports } })

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** A device's measuring whose reports are kept, and which is given the blocks that it asks for. */
function started(options: Partial<MeasuringOptions> = {}) {
  const reports: Measured[] = []
  const waiting: (() => void)[] = []
  const measuring: Measuring = new Measuring({
    self,
    clock: new SteppedClock(),
    random,
    aeads: nodeAeads,
    store: memoryStore(),
    engine: 'inline',
    effort: rough,
    isBusy: () => false,
    ask(asked) {
      for (const block of blocksAsked(asked)) {
        const { blockBytes, fileHash } = sealed.file
        const hash = Buffer.from(fileHash.subarray(0, 8)).toString('hex')
        measuring.blockCame(hash, block, sealed.bytes.subarray(block * blockBytes, (block + 1) * blockBytes))
      }
      return Promise.resolve()
    },
    report(measured) {
      reports.push(measured)
      for (const wake of waiting.splice(0)) wake()
    },
    invite: () => t.fail('nobody is to be a peer') as never,
    dismiss: () => t.fail('nobody is a peer'),
    ...options,
  })
  const report = async (order: number): Promise<Measured> => {
    for (;;) {
      const found = reports.find((one) => one.order === order)
      if (found !== undefined) return found
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
  }
  return { measuring, reports, report }
}

t.test('a device says how fast it is, what sealing costs, and how much memory is free', async (t) => {
  const { measuring, report, reports } = started()
  measuring.order({ order: 1, what: { kind: 'device' } })
  const { result } = await report(1)
  t.match(result, { kind: 'device', seal: { messageNs: Number }, open: { bytePs: Number }, sessionBytes: Number })
  if (result.kind !== 'device') return
  for (const ns of Object.values(result.kernels)) t.ok(Number.isInteger(ns) && ns > 0)
  t.ok(result.stageNs > 0 && result.memoryBytes > 0)
  measuring.order({ order: 1, what: { kind: 'device' } })
  t.equal(reports.length, 2)
  t.equal(reports[1], reports[0], 'the same order again is answered by the same report')
})

t.test('a segment is timed as it was delivered, once its key is here', async (t) => {
  const { measuring, report, reports } = started()
  measuring.order(segmentOrder(7))
  await turns()
  t.strictSame(reports, [])
  t.ok(measuring.isWaitingForKey)
  measuring.keyCame(key)
  const { result } = await report(7)
  t.match(result, { kind: 'segment', fileHash: sealed.file.fileHash, runs: Number, loadNs: Number })
  if (result.kind === 'segment') t.ok(result.computeNs > 0 && result.peakBytes >= result.loadedBytes)
  t.notOk(measuring.isWaitingForKey)
  measuring.order(segmentOrder(8))
  t.match((await report(8)).result, { kind: 'segment' }, 'the key is still here')
})

t.test('a segment sealed for another device, or under another key, is refused', async (t) => {
  for (const [file, dek] of [
    [sealed.file, random(32)],
    [{ ...sealed.file, name: 'other' }, sealed.dek],
  ] as const) {
    const { measuring, report } = started()
    measuring.keyCame({ ...file, dek })
    measuring.order({ order: 1, what: { kind: 'segment', segment: file, ...ports } })
    t.match((await report(1)).result, { kind: 'refused', isBusy: false, message: String })
  }
})

t.test('a segment that memory would not hold a second time is refused before anything is taken for it', async (t) => {
  const { measuring, report } = started()
  const huge = { ...sealed.file, fileBytes: 2 ** 50 }
  measuring.order({ order: 1, what: { kind: 'segment', segment: huge, ...ports } })
  t.match((await report(1)).result, {
    kind: 'refused',
    isBusy: false,
    code: 'over-limit',
    message: /too little memory/,
  })
})

t.test('nothing is measured while requests are under way, and the hub is told that it may be later', async (t) => {
  const { measuring, report } = started({ isBusy: () => true })
  measuring.order({ order: 1, what: { kind: 'device' } })
  measuring.order({ order: 2, what: { kind: 'link', peer, part: 'ask' } })
  for (const order of [1, 2])
    t.match((await report(order)).result, { kind: 'refused', isBusy: true, code: 'not-allowed' })
})

t.test('orders beyond the limit are refused, and those of a device that closes are not answered', async (t) => {
  const { measuring, report, reports } = started()
  for (let order = 1; order <= 12; order++) measuring.order(segmentOrder(order))
  t.match((await report(12)).result, { kind: 'refused', isBusy: true, code: 'over-limit' })
  measuring.close()
  await turns()
  t.ok(reports.every(({ result }) => result.kind === 'refused'))
  measuring.order(segmentOrder(20))
  await turns()
  t.notOk(reports.some(({ order }) => order === 20))
})

t.test('the known work runs, and every operator goes with one of it', async (t) => {
  const { usual, least } = await timeKernels(await loadEngine(), rough)
  for (const kernel of kernels) t.ok(least[kernel] > 0 && usual[kernel] >= least[kernel], kernel)
  t.strictSame(['Conv', 'QLinearConv', 'Gemm', 'Attention', 'Relu', 'Nonsense'].map(kernelOf), [
    'conv',
    'conv',
    'matmul',
    'matmul',
    'element',
    'element',
  ])
})

t.test('values for a segment fit its ports, whatever their type and size', (t) => {
  const sizes = [[], [0], [1], [3, 7], [2, 1025]]
  for (const dtype of ['float32', 'float16', 'int64', 'uint8', 'bool', 'string'] as const) {
    for (const shape of sizes) {
      const of: Port = { name: 'x', dtype, shape }
      const { x } = tiledSample([of])
      t.equal(
        x!.data.length,
        dtype === 'string' ? shape.reduce((a, b) => a * b, 1) : byteLength(of),
        `${dtype} [${shape.join(',')}]`,
      )
    }
  }
  t.end()
})

t.test('timing gives figures in both kinds of engine, and the segment refuses what it cannot take', async (t) => {
  for (const mode of ['inline', 'worker'] as const) {
    const engine = await openEngine(model(), mode)
    const { computeUs, runs } = await timeSegment(engine, ports, rough)
    t.ok(computeUs >= 0 && runs === 1, mode)
    const wrong = { ...ports, runInputs: [{ ...ports.runInputs[0]!, shape: [1, 5] }] }
    await t.rejects(timeSegment(engine, wrong, rough), { name: 'Refusal' })
    await engine.close()
    const { callUs, sessionBytes } = await callCost(mode, rough)
    t.ok(callUs > 0 && sessionBytes >= 0)
  }
})

t.test('what sealing and opening cost grows with the bytes', (t) => {
  const { seal, open } = sealingCost(nodeAeads, random, 1)
  for (const { messageUs, byteUs } of [seal, open]) t.ok(messageUs >= 0 && byteUs >= 0 && messageUs + byteUs > 0)
  t.end()
})
