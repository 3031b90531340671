import * as fc from 'fast-check'
import t from 'tap'
import { percentile, Tally, type Outcome } from '#scripts/demo/tally.js'

const outcome = (more: Partial<Outcome> = {}): Outcome => ({
  isExact: true,
  isCorrect: true,
  latencyMs: 10,
  hops: [],
  ...more,
})

t.test('results are counted by what they are', (t) => {
  const tally = new Tally(1000)
  tally.sent = 5
  tally.add(outcome(), 1100)
  tally.add(outcome({ isExact: false }), 1200)
  tally.add(outcome({ isCorrect: false }), 1300)
  tally.failed = 1
  t.strictSame([tally.results, tally.exact, tally.correct, tally.lost], [3, 2, 2, 1])
  t.end()
})

t.test('throughput is from the start to the last result, and none before the first', (t) => {
  const tally = new Tally(1000)
  t.equal(tally.throughput, 0)
  for (let i = 1; i <= 10; i++) tally.add(outcome(), 1000 + i * 50)
  t.equal(tally.throughput, 20)
  t.end()
})

t.test('latencies and hops are given by their percentiles', (t) => {
  const tally = new Tally(0)
  t.strictSame(tally.latencyMs, { p50: 0, p99: 0 })
  for (let i = 1; i <= 100; i++) {
    const hops = [2000, 3000 + i].map((computeUs, stage) => ({ stage, queuedUs: 0, computeUs, sealUs: 0 }))
    tally.add(outcome({ latencyMs: i, hops }), i)
  }
  t.strictSame(tally.latencyMs, { p50: 51, p99: 100 })
  t.strictSame(tally.hopMs, [2, 3.051])
  t.end()
})

t.test('a percentile is one of the values, and as many lie below it as it says', (t) => {
  const values = fc.array(fc.double({ noNaN: true }), { minLength: 1 })
  fc.assert(
    fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (values, share) => {
      const found = percentile(values, share)
      const below = values.filter((value) => value < found).length
      return values.includes(found) && below <= share * values.length
    }),
  )
  t.equal(percentile([], 0.5), 0)
  t.end()
})

t.test('the rates are of the last seconds, each with what came in it, the running one left out', (t) => {
  const tally = new Tally(500)
  t.strictSame(tally.rates(500), [])
  for (let second = 0; second < 100; second++) {
    for (let i = 0; i < second % 5; i++) tally.add(outcome(), 500 + second * 1000 + i)
  }
  const rates = tally.rates(500 + 100 * 1000)
  t.equal(rates.length, 32)
  t.strictSame(
    rates,
    Array.from({ length: 32 }, (_, i) => (68 + i) % 5),
  )
  t.strictSame(
    tally.rates(500 + 200 * 1000),
    rates.map(() => 0),
    'nothing has come for long',
  )
  t.end()
})
