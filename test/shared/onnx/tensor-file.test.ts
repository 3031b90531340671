import { create, toBinary } from '@bufbuild/protobuf'
import * as fc from 'fast-check'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Refusal } from '#shared/errors.js'
import { readGoldenSet, readGoldenSets } from '#shared/onnx/golden.js'
import { TensorValueSchema } from '#shared/onnx/onnx_pb.js'
import { makeSample } from '#shared/onnx/sample.js'
import { encodeTensorFile, parseTensorFile } from '#shared/onnx/tensor-file.js'
import { dtypes, numbersOf, sameBits } from '#shared/onnx/tensor.js'
import { floats, strings, type stored } from '#test/support/models.js'
import { refuses } from '#test/support/refusal.js'

function file(value: ReturnType<typeof stored>): Uint8Array {
  return toBinary(TensorValueSchema, create(TensorValueSchema, value))
}

for (const dtype of dtypes) {
  t.test(`a file of ${dtype} reads back as the same bits`, (t) => {
    for (const shape of [[], [0, 3], [2, 3]]) {
      const tensor = makeSample([{ name: 'x', dtype, shape }], 7)['x']
      if (tensor === undefined) throw new Error('no sample')
      const back = parseTensorFile(encodeTensorFile('x', tensor))
      t.equal(back.name, 'x')
      t.ok(sameBits(back.tensor, tensor))
    }
    t.end()
  })
}

t.test('values in the typed fields of the format read like raw ones', (t) => {
  const numbers = (value: ReturnType<typeof stored>): number[] => [...numbersOf(parseTensorFile(file(value)).tensor)]
  t.strictSame(numbers({ dims: [2n], dataType: 1, floatData: [0.5, -1] }), [0.5, -1])
  t.strictSame(numbers({ dims: [1n], dataType: 11, doubleData: [0.1] }), [0.1])
  t.strictSame(numbers({ dims: [2n], dataType: 7, int64Data: [-5n, 6n] }), [-5, 6])
  t.strictSame(numbers({ dims: [1n], dataType: 12, uint64Data: [4_000_000_000n] }), [4_000_000_000])
  t.strictSame(numbers({ dims: [1n], dataType: 13, uint64Data: [9n] }), [9])
  t.strictSame(numbers({ dims: [2n], dataType: 10, int32Data: [0x3c00, 0xbc00] }), [1, -1])
  for (const dataType of [3, 5, 6]) t.strictSame(numbers({ dims: [2n], dataType, int32Data: [-3, 4] }), [-3, 4])
  for (const dataType of [2, 4]) t.strictSame(numbers({ dims: [2n], dataType, int32Data: [200, 4] }), [200, 4])
  t.strictSame(numbers({ dims: [2n], dataType: 9, int32Data: [1, 0] }), [1, 0])
  t.end()
})

t.test('what is no tensor that may cross is refused by name', async (t) => {
  await refuses(t, 'unsupported-dtype', /'odd\.pb' is bfloat16/, () =>
    parseTensorFile(file({ dims: [], dataType: 16 }), "'odd.pb'"),
  )
  await refuses(t, 'bad-tensor', /float32\[2\] but holds 4 instead of 8 bytes/, () =>
    parseTensorFile(file({ dims: [2n], dataType: 1, rawData: new Uint8Array(4) })),
  )
  await refuses(t, 'bad-tensor', /instead of/, () =>
    parseTensorFile(file({ dims: [-1n, -4n], dataType: 1, rawData: new Uint8Array(16) })),
  )
  await refuses(t, 'external-data', /another file/, () =>
    parseTensorFile(file({ dims: [1n], dataType: 1, dataLocation: 1 })),
  )
  await refuses(t, 'bad-tensor', /no serialised ONNX tensor/, () => parseTensorFile(Uint8Array.of(0xff, 0xff)))
})

t.test('no bytes make the reader throw anything but a refusal', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        parseTensorFile(bytes)
        return true
      } catch (error) {
        return error instanceof Refusal
      }
    }),
  )
  t.end()
})

t.test('data sets are read in the order of their numbers', async (t) => {
  const folder = t.testdir({})
  for (const set of [10, 2]) {
    await mkdir(join(folder, `test_data_set_${set}`))
    for (let i = 0; i < 11; i++)
      await writeFile(
        join(folder, `test_data_set_${set}`, `input_${i}.pb`),
        encodeTensorFile('', floats([], [set * 100 + i])),
      )
    await writeFile(join(folder, `test_data_set_${set}`, 'output_0.pb'), encodeTensorFile('', strings([1], ['done'])))
  }
  const sets = await readGoldenSets(folder)
  const values = sets.map(({ inputs }) => inputs.map((tensor) => numbersOf(tensor)[0]))
  const eleven = Array.from({ length: 11 }, (_, i) => i)
  t.strictSame(values, [eleven.map((i) => 200 + i), eleven.map((i) => 1000 + i)])
  t.strictSame(sets[0]?.outputs, [strings([1], ['done'])])
})

t.test('missing data sets and gaps in them are refused', async (t) => {
  const folder = t.testdir({
    test_data_set_0: { 'input_1.pb': Buffer.from(encodeTensorFile('', floats([], [1]))) },
    test_data_set_1: { 'input_0.pb': 'text' },
  })
  await refuses(t, 'no-golden-data', /holds no test_data_set/, async () => readGoldenSets(join(folder, 'absent')))
  await refuses(t, 'no-golden-data', /input_1\.pb but not the file before/, async () =>
    readGoldenSet(join(folder, 'test_data_set_0')),
  )
  await refuses(t, 'bad-tensor', /input_0\.pb/, async () => readGoldenSet(join(folder, 'test_data_set_1')))
})
