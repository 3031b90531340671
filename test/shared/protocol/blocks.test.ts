import * as fc from 'fast-check'
import t from 'tap'
import { askFor, blocksAsked, maxBlocksSpanned } from '#shared/protocol/blocks.js'
import { blobGet } from '#shared/protocol/messages.js'

const file = new Uint8Array(32)

t.test('what is asked for are the first blocks that are missing, as many as wanted', (t) => {
  const have = fc.array(fc.boolean(), { maxLength: 200 })
  fc.assert(
    fc.property(have, fc.integer({ min: 1, max: 60 }), (have, limit) => {
      const missing = have.flatMap((isHere, block) => (isHere ? [] : [block]))
      const asked = askFor(file, have, limit)
      if (asked === undefined) return missing.length === 0
      const blocks = blocksAsked(asked)
      return JSON.stringify(blocks) === JSON.stringify(missing.slice(0, limit)) && blobGet.safeParse(asked).success
    }),
  )
  t.pass('no counterexample')
  t.end()
})

t.test('the first bit is the highest of the first byte', (t) => {
  t.strictSame(askFor(file, [true, false, true, false, false], 9), {
    file,
    first: 1,
    count: 4,
    missing: Uint8Array.of(0b10110000),
  })
  t.end()
})

t.test('a request spans no more than its bitmap has bits for, however far apart the blocks are', (t) => {
  const have = Array.from({ length: 3 * maxBlocksSpanned }, (_, block) => block % maxBlocksSpanned !== 7)
  const asked = askFor(file, have, 32)!
  t.ok(blobGet.safeParse(asked).success)
  t.strictSame(blocksAsked(asked), [7], 'the next one is a span away')
  t.end()
})

t.test('whatever a request says, few blocks come of it, and only those whose bit is there', (t) => {
  fc.assert(
    fc.property(
      fc.record({
        file: fc.constant(file),
        first: fc.maxSafeNat(),
        count: fc.maxSafeNat(),
        missing: fc.uint8Array({ maxLength: 1024 }),
      }),
      (asked) => {
        const bits = asked.missing.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)
        return blocksAsked(asked).length <= Math.min(bits, asked.count, maxBlocksSpanned)
      },
    ),
    { numRuns: 50 },
  )
  t.pass('no counterexample')
  t.end()
})
