import t from 'tap'
import { loadEngine } from '#shared/onnx/session.js'
import { verify } from '#shared/onnx/verify.js'
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
