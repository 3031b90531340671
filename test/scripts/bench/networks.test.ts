import t from 'tap'
import { createHash } from 'node:crypto'
import { buildNetwork } from '#scripts/bench/networks.js'
import { fitLine, median, percentile } from '#scripts/bench/statistics.js'
import { parseModel } from '#shared/onnx/parse.js'
import { makeSample } from '#shared/onnx/sample.js'
import { loadEngine } from '#shared/onnx/session.js'
import { numbersOf } from '#shared/onnx/tensor.js'

t.test(
  'a network is the same bytes each time, and its values stay in range from the image to the scores',
  async (t) => {
    const [first, second] = [buildNetwork('S'), buildNetwork('S')]
    const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
    t.equal(hash(first), hash(second))
    const session = await (await loadEngine()).create(first, { level: 'all' })
    const [scores] = Object.values(
      await session.run(makeSample([{ name: 'image', dtype: 'uint8', shape: [1, 3, 112, 112] }])),
    )
    await session.release()
    t.same(scores!.shape, [1, 1000])
    const largest = Math.max(...numbersOf(scores!).map((score) => Math.abs(score)))
    t.ok(largest > 0.1 && largest < 100, `largest score ${largest}`)
  },
)

t.test('L and M have the layers and the size of ResNet-50 and MobileNetV2', (t) => {
  for (const { name, megabytes, convolutions } of [
    { name: 'L', megabytes: 102, convolutions: 53 },
    { name: 'M', megabytes: 14, convolutions: 52 },
  ] as const) {
    const bytes = buildNetwork(name)
    t.equal(Math.round(bytes.length / 1e6), megabytes)
    t.equal(parseModel(bytes).graph.node.filter(({ opType }) => opType === 'Conv').length, convolutions)
  }
  t.end()
})

t.test('median, percentile and line', (t) => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 3, 2]), 2.5)
  t.equal(percentile([5, 1, 4, 2, 3], 0.5), 3)
  t.equal(percentile([5, 1, 4, 2, 3], 0.99), 5)
  const { fixed, slope } = fitLine([1, 100, 10_000].map((x) => [x, 7 + 3 * x] as const))
  t.ok(Math.abs(fixed - 7) < 1e-6 && Math.abs(slope - 3) < 1e-6)
  t.end()
})
