import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import t from 'tap'
import { readGoldenSets } from '#shared/onnx/golden.js'
import { inspect } from '#shared/onnx/inspect.js'
import { loadEngine } from '#shared/onnx/session.js'
import { verify } from '#shared/onnx/verify.js'
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

for (const name of models) {
  const folder = referencePath('models', name)
  const options = folder === undefined ? { skip: 'no reference models on this machine' } : {}
  t.test(`${name} cuts exactly and keeps to its known outputs`, options, async (t) => {
    if (folder === undefined) return
    const bytes = await readFile(join(folder, 'model.onnx'))
    const inputs = inspect(bytes).inputs.map((input) => input.name)
    const cases = (await readGoldenSets(folder)).map((set) => ({
      name: basename(set.folder),
      feeds: Object.fromEntries(set.inputs.map((tensor, i) => [inputs[i] ?? '', tensor])),
      expected: set.outputs,
    }))
    const verdict = await verify(bytes, cases, {
      engine: await loadEngine(),
      level: 'all',
      cuts: 8,
      randomSets: 4,
      seed: 1,
    })
    t.strictSame(verdict.failures, [])
    t.ok(verdict.cutsTried >= 9)
    t.equal(verdict.exact, verdict.cutsTried)
    t.ok(verdict.maxAbsDiffToGolden !== undefined)
  })
}
