import * as fc from 'fast-check'
import t from 'tap'
import { Assembly, sending, type Named, type SlicedPort } from '#shared/onnx/assembly.js'
import { cutOut } from '#shared/onnx/span.js'
import { elementCount, sameBits, type Dtype, type Tensor } from '#shared/onnx/tensor.js'
import { seededRandom } from '#shared/random.js'
import { refuses } from '#test/support/refusal.js'

const sizes = { uint8: 1, int16: 2, float32: 4, float64: 8 } as const

/** A tensor of at most three axes, the axis along which it is cut, and where. */
const cutting = fc
  .record({
    dtype: fc.constantFrom('uint8' as const, 'int16' as const, 'float32' as const, 'float64' as const),
    shape: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 3 }),
    seed: fc.nat(),
  })
  .chain(({ dtype, shape, seed }) =>
    fc.nat(shape.length - 1).chain((axis) => {
      const data = Uint8Array.from(seededRandom(seed)(elementCount(shape) * sizes[dtype]))
      const inner = Array.from({ length: shape[axis]! - 1 }, (_, i) => i + 1)
      return fc.record({
        tensor: fc.constant<Tensor>({ dtype, shape, data }),
        axis: fc.constant(axis),
        mine: fc.subarray(inner),
        theirs: fc.subarray(inner),
        order: fc.nat(),
      })
    }),
  )

const bordersOf = (at: readonly number[], size: number): [number, number][] =>
  [0, ...at].map((from, i) => [from, at[i] ?? size])

const portOf = (dtype: Dtype, shape: readonly number[], axis: number, at: number, of: number): SlicedPort =>
  ({ name: 't', dtype, shape, slice: { axis, at, of } }) // prettier-ignore

t.test('what is cut anywhere and sent by several ways is put together again, in whatever order the ways are', (t) => {
  fc.assert(
    fc.property(cutting, ({ tensor, axis, mine, order }) => {
      const { dtype, shape } = tensor
      const size = shape[axis]!
      const ports = bordersOf(mine, size).map(([from, to]) =>
        portOf(dtype, shape.with(axis, to - from), axis, from, size),
      )
      const turned = [...ports.slice(order % ports.length), ...ports.slice(0, order % ports.length)]
      const ways = turned.map((port) => sending(() => tensor, [port]))
      const whole = new Assembly(turned.map((port) => [port])).assemble(ways).get('t')!
      return sameBits(whole, tensor)
    }),
    { numRuns: 300 },
  )
  t.pass('no counterexample')
  t.end()
})

t.test('slices of slices are those of the whole', (t) => {
  fc.assert(
    fc.property(cutting, ({ tensor, axis, mine, theirs }) => {
      const size = tensor.shape[axis]!
      return bordersOf(mine, size).every(([from, to]) => {
        const part = cutOut(tensor, { axis, at: from, of: size }, to - from)
        return theirs.every((at) => {
          if (at < from || at >= to) return true
          const again = cutOut(part, { axis, at: at - from, of: to - from }, to - at)
          return sameBits(again, cutOut(tensor, { axis, at, of: size }, to - at))
        })
      })
    }),
    { numRuns: 200 },
  )
  t.pass('no counterexample')
  t.end()
})

const whole = (name: string, shape = [4]): SlicedPort => ({ name, dtype: 'uint8', shape })
const slice = (at: number, length: number, more: Partial<SlicedPort> & { of?: number; axis?: number } = {}) => {
  const { of = 10, axis = 0, ...port } = more
  return { name: 't', dtype: 'uint8' as const, shape: [length], slice: { axis, at, of }, ...port }
}

t.test('ways that make up no tensor are refused before anything comes', async (t) => {
  const wrong: [RegExp, SlicedPort[][]][] = [
    [/'a' comes twice/, [[whole('a')], [whole('a')]]],
    [/'t' comes twice/, [[whole('t')], [slice(0, 10)]]],
    [/'t' comes twice/, [[slice(0, 10)], [whole('t')]]],
    [/two overlap, at 0 of 10/, [[slice(0, 5)], [slice(0, 5)], [slice(5, 5)]]],
    [/two overlap, at 4 of 10/, [[slice(0, 5)], [slice(4, 6)]]],
    [/none has the elements 5 to 6/, [[slice(0, 5)], [slice(6, 4)]]],
    [/none has the elements 0 to 5/, [[slice(5, 5)]]],
    [/slices of 9 elements, but has 10/, [[slice(0, 5)], [slice(5, 4)]]],
    [/slices of 11 elements, but has 10/, [[slice(0, 5)], [slice(5, 6)]]],
    [/not of one tensor/, [[slice(0, 5)], [slice(5, 5, { of: 11 })]]],
    [/not of one tensor/, [[slice(0, 5)], [slice(5, 5, { dtype: 'int8' })]]],
    [/not of one tensor/, [[slice(0, 5)], [slice(5, 5, { shape: [5, 1] })]]],
    [/no slices along axis 1/, [[slice(0, 5, { axis: 1 })]]],
    [/no slices along axis 0/, [[slice(0, 10, { varies: true })]]],
    [/no slices along axis 0/, [[slice(0, 10, { dtype: 'string' })]]],
  ]
  for (const [says, legs] of wrong) await refuses(t, 'bad-segment', says, () => new Assembly(legs))
})

t.test(
  'what comes and is not what its way brings is refused by name; what nobody asked for is passed over',
  async (t) => {
    const assembly = new Assembly([[whole('a'), slice(0, 6)], [slice(6, 4)]])
    t.strictSame(
      assembly.ports.map(({ name, shape }) => [name, shape]),
      [
        ['a', [4]],
        ['t', [10]],
      ],
    )
    const named = (name: string, length: number): Named => ({
      name,
      dtype: 'uint8',
      shape: [length],
      data: new Uint8Array(length).fill(length),
    })
    const good = [[named('a', 4), named('t', 6), named('other', 1)], [named('t', 4)]]
    t.strictSame(assembly.assemble(good).get('t')!.data, Uint8Array.from([6, 6, 6, 6, 6, 6, 4, 4, 4, 4]))
    t.equal(assembly.assemble(good).get('a'), good[0]![0], 'what is whole is not copied')
    await refuses(t, 'bad-tensor', /'t' is missing/, () => assembly.assemble([good[0]!, []]))
    await refuses(t, 'bad-tensor', /'a' is missing/, () => assembly.assemble([[named('t', 6)], good[1]!]))
    await refuses(t, 'bad-tensor', /'t' must be uint8\[4\]/, () => assembly.assemble([good[0]!, [named('t', 6)]]))
    await refuses(t, 'bad-segment', /gave no tensor 'z'/, () => sending(() => undefined, [whole('z')]))
    const short = (): Named => named('t', 8)
    await refuses(t, 'bad-tensor', /has no elements 6 to 10 of 10 along axis 0/, () => sending(short, [slice(6, 4)]))
    const strings: Tensor = { dtype: 'string', shape: [2], data: ['a', 'b'] }
    await refuses(t, 'bad-tensor', /strings cannot be cut/, () => cutOut(strings, { axis: 0, at: 0, of: 2 }, 1))
  },
)
