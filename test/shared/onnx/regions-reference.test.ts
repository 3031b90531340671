import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { readGoldenSets } from '#shared/onnx/golden.js'
import { inspect } from '#shared/onnx/inspect.js'
import { prepare } from '#shared/onnx/prepare.js'
import { regionsOf } from '#shared/onnx/regions.js'
import { loadEngine } from '#shared/onnx/session.js'
import { spread } from '#shared/onnx/sets.js'
import { everyTensor, regionDifferences, sharesFor } from '#test/support/parted.js'
import { referencePath } from '#test/support/reference.js'

const models = [
  'mnist-8',
  'digits-resnet',
  'digits-resnet-qdq',
  'ultraface-rfb-320',
  'yolox-nano',
  'vittrack',
  'silero-vad-16k',
  'speech-commands-squeezenet',
]

/** Uneven shares, over two to four parts. */
const unevenShares = [
  [1, 3],
  [5, 2, 1],
  [1, 4, 2, 2],
]

/** Regions that are tried of each model at each level: every one, where somebody asks for it. */
const most = process.env['TESSERA_PART_RUNS'] === undefined ? 12 : Infinity

for (const name of models) {
  const folder = referencePath('models', name)
  const options = folder === undefined ? { skip: 'no reference models on this machine' } : {}
  t.test(`the regions of ${name} give, in uneven parts, the bits of the whole`, options, async (t) => {
    if (folder === undefined) return
    const engine = await loadEngine()
    const bytes = await readFile(join(folder, 'model.onnx'))
    const inputs = inspect(bytes).inputs.map((input) => input.name)
    const [set] = await readGoldenSets(folder)
    const feeds = Object.fromEntries((set?.inputs ?? []).map((tensor, i) => [inputs[i] ?? '', tensor]))
    for (const level of ['extended', 'all'] as const) {
      const graph = await prepare(bytes, { engine, level, sample: feeds })
      const exact = regionsOf(graph).regions.filter((region) => region.exact)
      t.ok(exact.length > 0, `it has regions at ${level}`)
      const tensors = await everyTensor(engine, graph, feeds)
      for (const [index, region] of spread(exact, most).entries()) {
        const shares = sharesFor(region, unevenShares[index % unevenShares.length]!)
        const found = await regionDifferences(engine, graph, region, shares, tensors)
        if (found.length > 0) t.fail(`${level}: ${found.join('; ')}`)
      }
    }
  })
}
