import * as fc from 'fast-check'
import t from 'tap'
import {
  byteLength,
  checkTensor,
  maxAbsDiff,
  numbersOf,
  sameBits,
  type Port,
  type Tensor,
} from '#shared/onnx/tensor.js'
import { floats, ints, strings } from '#test/support/models.js'
import { refuses } from '#test/support/refusal.js'

const port: Port = { name: 'logits', dtype: 'float32', shape: [2, 3] }

t.test('a tensor passes its own port and no other', async (t) => {
  const good = floats([2, 3], [1, 2, 3, 4, 5, 6])
  checkTensor(port, good)
  await refuses(t, 'bad-tensor', /'logits' must be float32\[2,3\], got float32\[3,2\]/, () =>
    checkTensor(port, { ...good, shape: [3, 2] }),
  )
  await refuses(t, 'bad-tensor', /got float32\[6\]/, () => checkTensor(port, { ...good, shape: [6] }))
  await refuses(t, 'bad-tensor', /got int32\[2,3\]/, () => checkTensor(port, { ...good, dtype: 'int32' }))
  await refuses(t, 'bad-tensor', /20 bytes instead of 24/, () =>
    checkTensor(port, { ...good, data: new Uint8Array(20) }),
  )
  await refuses(t, 'bad-tensor', /strings instead of 24 bytes/, () => checkTensor(port, { ...good, data: ['a'] }))
  await refuses(t, 'bad-tensor', /the shape \[-2,-3\]/, () => checkTensor(port, { ...good, shape: [-2, -3] }))
})

t.test('a port whose shape varies takes any shape, but only of its dtype and with all its values', async (t) => {
  const varying: Port = { ...port, varies: true }
  checkTensor(varying, floats([1, 5], [1, 2, 3, 4, 5]))
  await refuses(t, 'bad-tensor', /of any shape/, () => checkTensor(varying, ints([1], [1])))
  await refuses(t, 'bad-tensor', /instead of 8 bytes/, () => checkTensor(varying, { ...floats([1], [1]), shape: [2] }))
})

t.test('a port of strings takes as many strings as its shape says', async (t) => {
  const words: Port = { name: 'words', dtype: 'string', shape: [2] }
  checkTensor(words, strings([2], ['a', 'b']))
  await refuses(t, 'bad-tensor', /not 2 strings/, () => checkTensor(words, strings([2], ['a'])))
  await refuses(t, 'bad-tensor', /not 2 strings/, () =>
    checkTensor(words, { dtype: 'string', shape: [2], data: new Uint8Array(2) }),
  )
})

t.test('equal bits are not equal numbers', (t) => {
  t.ok(sameBits(floats([1], [NaN]), floats([1], [NaN])))
  t.notOk(sameBits(floats([1], [0]), floats([1], [-0])))
  t.notOk(sameBits(floats([2], [1, 2]), floats([1, 2], [1, 2])))
  t.notOk(sameBits(strings([1], ['a']), strings([1], ['b'])))
  t.ok(sameBits(strings([1], ['ä']), strings([1], ['ä'])))
  t.end()
})

t.test('the largest difference takes NaN and infinities for what they are', (t) => {
  t.equal(maxAbsDiff(floats([3], [1, NaN, Infinity]), floats([3], [1.5, NaN, Infinity])), 0.5)
  t.equal(maxAbsDiff(floats([1], [NaN]), floats([1], [1])), Infinity)
  t.equal(maxAbsDiff(floats([1], [Infinity]), floats([1], [-Infinity])), Infinity)
  t.equal(maxAbsDiff(floats([1], [0]), floats([1], [-0])), 0)
  t.equal(maxAbsDiff(floats([1], [1]), floats([1, 1], [1])), Infinity)
  t.equal(maxAbsDiff(strings([1], ['a']), strings([1], ['b'])), Infinity)
  t.equal(maxAbsDiff(ints([1], [3]), ints([1], [-4])), 7)
  t.end()
})

t.test('half precision words read as the numbers they are', (t) => {
  const words = [0x0000, 0x3c00, 0xc000, 0x3555, 0x7bff, 0x0001, 0x7c00, 0xfc00, 0x7e00]
  const half: Tensor = { dtype: 'float16', shape: [words.length], data: new Uint8Array(Uint16Array.from(words).buffer) }
  t.strictSame([...numbersOf(half)], [0, 1, -2, 1365 / 4096, 65504, 2 ** -24, Infinity, -Infinity, NaN])
  t.end()
})

t.test('the largest difference is a distance: symmetric, and 0 exactly for equal numbers', (t) => {
  const values = fc.array(fc.float(), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(values, values, (a, b) => {
      const length = Math.min(a.length, b.length)
      const left = floats([length], a.slice(0, length))
      const right = floats([length], b.slice(0, length))
      const equal = a
        .slice(0, length)
        .every((value, i) => value === b[i] || (Number.isNaN(value) && Number.isNaN(b[i])))
      return (
        maxAbsDiff(left, right) === maxAbsDiff(right, left) &&
        (maxAbsDiff(left, right) === 0) === equal &&
        maxAbsDiff(left, left) === 0
      )
    }),
  )
  t.end()
})

t.test('lengths count bytes, of strings their UTF-8', (t) => {
  t.equal(byteLength(port), 24)
  t.equal(byteLength({ name: 'none', dtype: 'int64', shape: [0, 9] }), 0)
  t.equal(byteLength({ name: 'one', dtype: 'bool', shape: [] }), 1)
  t.equal(byteLength(strings([2], ['ä', 'b'])), 3)
  t.end()
})
