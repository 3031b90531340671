import * as fc from 'fast-check'
import t from 'tap'
import { hopEndUs, hopEndUsPerByte, partition, type ChainCosts } from '#broker/planner/partition.js'

/** Time of each step when the chain is cut there, by the definition. */
function stepsUs({ nodeUs, cuts, inputBytes, outputBytes }: ChainCosts, at: readonly number[]): number[] {
  const bytesAt = new Map(cuts.map((cut) => [cut.at, cut.bytes]))
  const borders = [
    { at: 0, bytes: inputBytes },
    ...at.map((at) => ({ at, bytes: bytesAt.get(at)! })),
    { at: nodeUs.length, bytes: outputBytes },
  ]
  return borders.slice(1).map((border, i) => {
    const before = borders[i]!
    const computeUs = nodeUs.slice(before.at, border.at).reduce((sum, us) => sum + us, 0)
    return computeUs + 2 * hopEndUs + hopEndUsPerByte * (before.bytes + border.bytes)
  })
}

function* choices(of: readonly number[], count: number): Generator<number[]> {
  if (count === 0) yield []
  else for (const [i, one] of of.entries()) for (const rest of choices(of.slice(i + 1), count - 1)) yield [one, ...rest]
}

const chain: fc.Arbitrary<ChainCosts> = fc
  .array(fc.tuple(fc.nat(9), fc.nat(4), fc.nat(40)), { minLength: 4, maxLength: 11 })
  .chain((nodes) =>
    fc.record({
      nodeUs: fc.constant(nodes.map(([us]) => us * 100)),
      cuts: fc.constant(
        nodes.flatMap(([, isCut, bytes], i) => (isCut > 0 && i > 0 ? [{ at: i, bytes: bytes * 100_000 }] : [])),
      ),
      inputBytes: fc.nat(1_000_000),
      outputBytes: fc.nat(1000),
    }),
  )

t.test('no other choice of cuts has a faster slowest step, and none as fast sends fewer bytes', (t) => {
  let compared = 0
  fc.assert(
    fc.property(chain, fc.integer({ min: 1, max: 6 }), (costs, stages) => {
      fc.pre(costs.cuts.length >= stages - 1)
      const at = partition(costs, stages)
      const bytesOf = (at: readonly number[]): number =>
        at.reduce((sum, one) => sum + costs.cuts.find((cut) => cut.at === one)!.bytes, 0)
      const worst = Math.max(...stepsUs(costs, at))
      for (const other of choices(
        costs.cuts.map((cut) => cut.at),
        stages - 1,
      )) {
        compared++
        const otherWorst = Math.max(...stepsUs(costs, other))
        // Sums of floats in another order: what differs by less is the same.
        if (otherWorst < worst - 1e-6) return false
        if (otherWorst < worst + 1e-6 && bytesOf(other) < bytesOf(at)) return false
      }
      return at.length === stages - 1 && at.every((one, i) => i === 0 || one > at[i - 1]!)
    }),
    { numRuns: 300 },
  )
  t.ok(compared > 1000, `${compared} other choices were tried`)
  t.end()
})

t.test('bytes count: a cut is moved to where less crosses when that is faster', (t) => {
  const costs = (crossing: number): ChainCosts => ({
    nodeUs: [100, 100, 100, 100],
    cuts: [
      { at: 1, bytes: 10 },
      { at: 2, bytes: crossing },
      { at: 3, bytes: 10 },
    ],
    inputBytes: 10,
    outputBytes: 10,
  })
  t.strictSame(partition(costs(10), 2), [2])
  t.not(partition(costs(1_000_000), 2)[0], 2)
  t.end()
})

t.test('where several choices are as fast, the one with the fewest bytes is taken', (t) => {
  const costs: ChainCosts = {
    nodeUs: [1000, 0, 0, 10],
    cuts: [
      { at: 1, bytes: 500 },
      { at: 2, bytes: 100 },
      { at: 3, bytes: 300 },
    ],
    inputBytes: 0,
    outputBytes: 0,
  }
  t.strictSame(partition(costs, 2), [2])
  t.end()
})

t.test('one stage needs no cut', (t) => {
  t.strictSame(partition({ nodeUs: [1], cuts: [], inputBytes: 1, outputBytes: 1 }, 1), [])
  t.end()
})

t.test('more stages than there are places to cut, and no number of stages, are refused by name', (t) => {
  const costs: ChainCosts = { nodeUs: [1, 1], cuts: [{ at: 1, bytes: 1 }], inputBytes: 1, outputBytes: 1 }
  t.throws(() => partition(costs, 3), { code: 'cannot-cut', message: /has 1 legal cut, .* 3 segments: .* at most 2/ })
  for (const stages of [0, -1, 1.5, NaN, Infinity]) {
    t.throws(() => partition(costs, stages), { code: 'cannot-cut' }, String(stages))
  }
  t.end()
})

t.test('a chain of 2000 nodes is parted into 16 in a moment', (t) => {
  const nodeUs = Array.from({ length: 2000 }, (_, i) => (i * 7919) % 997)
  const cuts = Array.from({ length: 1999 }, (_, i) => ({ at: i + 1, bytes: (i * 104_729) % 1_000_003 }))
  const at = partition({ nodeUs, cuts, inputBytes: 1000, outputBytes: 10 }, 16)
  t.equal(at.length, 15)
  const total = nodeUs.reduce((sum, us) => sum + us, 0)
  const worst = Math.max(...stepsUs({ nodeUs, cuts, inputBytes: 1000, outputBytes: 10 }, at))
  t.ok(worst < total / 8, `the slowest of 16 takes ${Math.round(worst)} of ${total} us`)
  t.end()
})
