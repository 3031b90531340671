import * as fc from 'fast-check'
import t from 'tap'
import { gather, type Slice } from '#shared/onnx/gather.js'
import { sliceOf } from '#shared/onnx/layout.js'
import { sameBits, type Tensor } from '#shared/onnx/tensor.js'
import { floats, noise, strings } from '#test/support/models.js'
import { refuses } from '#test/support/refusal.js'

/** A tensor, an axis of it, and the sizes of slices along that axis. */
const sliced = fc
  .tuple(
    fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 0, maxLength: 3 }),
    fc.nat(3),
    fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 5 }),
  )
  .map(([others, place, sizes]) => {
    const axis = Math.min(place, others.length)
    return {
      axis,
      sizes,
      shape: others.toSpliced(
        axis,
        0,
        sizes.reduce((sum, size) => sum + size, 0),
      ),
    }
  })

t.test('slices put together are the tensor that they were cut from, in whatever order they come', (t) => {
  fc.assert(
    fc.property(sliced, fc.nat(4), ({ axis, sizes, shape }, rotation) => {
      const whole = noise(shape, shape.join())
      const slices = cut(whole, axis, sizes)
      const turned = slices.map((_, index) => slices[(index + rotation) % slices.length]!)
      return sameBits(gather(turned, axis, shape), whole)
    }),
  )
  t.end()
})

function cut(whole: Tensor, axis: number, sizes: readonly number[]): Slice[] {
  const channels = whole.shape[axis] as number
  let from = 0
  return sizes.map((size) => {
    const slice = {
      offset: from,
      tensor: sliceOf(whole, { axis, banks: 1 }, { from, to: from + size, channels }),
    }
    from += size
    return slice
  })
}

t.test('slices that do not make up the whole are refused', async (t) => {
  const whole = noise([2, 6, 3], 'whole')
  const [a, b, c] = cut(whole, 1, [2, 1, 3]) as [Slice, Slice, Slice]
  const mistakes: [slices: Slice[], words: RegExp][] = [
    [[], /no slices/],
    [[a, b], /end at 3 of 6 along axis 1: one is missing/],
    [[b, c], /leave a gap.*begins at 2, the last ended at 0/],
    [[a, c], /leave a gap/],
    [[a, b, b, c], /overlap/],
    [[a, { ...b, offset: 1 }, c], /overlap/],
    [[a, b, { ...c, offset: 7 }], /leave a gap/],
    [[a, b, { ...c, offset: Number.NaN }], /leave a gap|overlap/],
    [[a, b, { ...c, tensor: { ...c.tensor, dtype: 'int32' } }], /float32 and int32/],
    [[a, b, { ...c, tensor: { ...c.tensor, shape: [2, 9] } }], /\[2,9\].*no part of float32\[2,6,3\]/],
    [[a, b, { ...c, tensor: { ...c.tensor, shape: [2, 4, 3] } }], /of 72 bytes is no part/],
    [[a, b, { ...c, tensor: { ...c.tensor, data: ['a'] } }], /is no part/],
    [[{ offset: 0, tensor: strings([2, 6, 3], []) }], /strings cannot/],
  ]
  for (const [slices, words] of mistakes) await refuses(t, 'bad-tensor', words, () => gather(slices, 1, whole.shape))
  await refuses(t, 'bad-tensor', /has no axis 3/, () => gather([a, b, c], 3, whole.shape))
  await refuses(t, 'bad-tensor', /has no axis 0/, () => gather([{ offset: 0, tensor: floats([], [1]) }], 0, []))
})
