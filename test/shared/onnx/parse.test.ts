import * as fc from 'fast-check'
import t from 'tap'
import { Refusal } from '#shared/errors.js'
import { canonicalise } from '#shared/onnx/canonical.js'
import { dataflowOf } from '#shared/onnx/dataflow.js'
import { inspect } from '#shared/onnx/inspect.js'
import { encodeModel, parseModel } from '#shared/onnx/parse.js'
import { prepare } from '#shared/onnx/prepare.js'
import { legalCuts } from '#shared/onnx/cuts.js'
import { loadEngine } from '#shared/onnx/session.js'
import { refuses } from '#test/support/refusal.js'
import { zoo } from '#test/support/zoo.js'

const text = (words: string): Uint8Array => new TextEncoder().encode(words)

t.test('files that are not ONNX are told from damaged ones', async (t) => {
  const [{ model }] = zoo as [(typeof zoo)[number]]
  await refuses(t, 'not-onnx', /no ONNX model/, () => parseModel(new Uint8Array()))
  await refuses(t, 'not-onnx', /no ONNX model/, () => parseModel(text('<html>')))
  await refuses(t, 'not-onnx', /no ONNX model/, () => parseModel(text('{"a": 1}')))
  await refuses(t, 'not-onnx', /no ONNX model/, () => parseModel(Uint8Array.of(0x08, 0x78, 0x08, 0x01)))
  await refuses(t, 'bad-model', /truncated or damaged/, () => parseModel(model.subarray(0, model.length - 40)))
})

t.test('a model survives reading and writing byte for byte', (t) => {
  for (const { name, model } of zoo) t.strictSame(encodeModel(parseModel(model)), model, name)
  t.end()
})

t.test('fields that the reader does not know survive', (t) => {
  const [{ model }] = zoo as [(typeof zoo)[number]]
  const docString = Uint8Array.of(0x32, 2, 0x68, 0x69) // field 6 of the model
  const back = encodeModel(parseModel(Buffer.concat([model, docString])))
  t.ok(Buffer.from(back).includes(Buffer.from(docString)))
  t.end()
})

/** A specimen's bytes with some of them changed, dropped or repeated. */
const damaged = fc
  .record({
    specimen: fc.constantFrom(...zoo),
    edits: fc.array(fc.record({ at: fc.nat(), value: fc.integer({ min: 0, max: 255 }) }), {
      minLength: 1,
      maxLength: 8,
    }),
    cut: fc.option(fc.nat(), { freq: 3 }),
  })
  .map(({ specimen, edits, cut }) => {
    const bytes = Uint8Array.from(specimen.model)
    for (const { at, value } of edits) bytes[at % bytes.length] = value
    return { specimen, bytes: cut === null ? bytes : bytes.subarray(0, cut % bytes.length) }
  })

t.test('damaged files are read or refused, never worse', (t) => {
  fc.assert(
    fc.property(damaged, ({ bytes }) => {
      try {
        inspect(bytes)
        const model = parseModel(bytes)
        canonicalise(model)
        dataflowOf(model)
        return true
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        return true
      }
    }),
    { numRuns: 2000 },
  )
  t.end()
})

t.test('damaged files are prepared or refused, and what is prepared can be asked for its cuts', async () => {
  const engine = await loadEngine()
  await fc.assert(
    fc.asyncProperty(damaged, async ({ specimen, bytes }) => {
      try {
        const prepared = await prepare(bytes, { engine, level: 'basic', sample: specimen.feeds })
        return legalCuts(prepared).every((cut) => cut.at >= 1 && cut.at < prepared.nodes.length)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        return error.message.length > 0
      }
    }),
    { numRuns: 150 },
  )
})
