import t from 'tap'
import * as fc from 'fast-check'
import { concat, equal } from '#shared/bytes.js'
import { Assembler, chunkBytes, chunksOf, readChunk } from '#shared/protocol/chunk.js'
import { seededRandom } from '#shared/random.js'

const random = seededRandom('chunk')
const boot = random(8)
const limits = { maxFrameBytes: 4 * chunkBytes, staleMs: 1000 }
/** Sizes around the edges of chunks. */
const sizes = fc.oneof(
  fc.integer({ min: 0, max: 3000 }),
  fc.constantFrom(chunkBytes - 1, chunkBytes, chunkBytes + 1, 2 * chunkBytes, 3 * chunkBytes + 7, 4 * chunkBytes),
)

t.test('a frame comes out as it went in, whatever pieces it was given in', (t) => {
  fc.assert(
    fc.property(fc.array(sizes, { maxLength: 4 }), (lengths) => {
      const pieces = lengths.map((length) => random(length))
      const whole = concat(pieces)
      const assembler = new Assembler({ maxFrameBytes: 2 ** 30, staleMs: 1000 })
      const chunks = [...chunksOf(1, pieces)]
      t.ok(chunks.every((chunk) => chunk.length <= 8 + chunkBytes))
      const frames = chunks.map((chunk) => assembler.take('a', boot, chunk, 0))
      t.ok(frames.slice(0, -1).every((frame) => frame === undefined))
      t.ok(equal(frames.at(-1)!, whole))
      t.equal(assembler.open + assembler.lost, 0)
    }),
    { numRuns: 20 },
  )
  t.end()
})

t.test('losing any chunks loses exactly the frames they were of, for each sender on its own', (t) => {
  const senders = ['a', 'b', 'c'] as const
  // What each sender sends, and which of its chunks get lost; the senders' chunks come mixed.
  const traffic = fc.tuple(
    ...senders.map(() => fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 })),
    fc.infiniteStream(fc.nat(99)),
  )
  fc.assert(
    fc.property(traffic, (given) => {
      const dice = given.at(-1) as Iterator<number>
      const roll = (): number => dice.next().value as number
      const frames = senders.map((sender, s) =>
        (given[s] as number[]).map((parts, f) => {
          const bytes = new Uint8Array((parts - 1) * chunkBytes + 100 * (s + 1) + f)
          return [...chunksOf(f, [bytes])].map((chunk) => ({ sender, chunk, isLost: roll() < 15, bytes: bytes.length }))
        }),
      )
      const expected = frames.map((of) =>
        of.filter((chunks) => !chunks.some(({ isLost }) => isLost)).map(([first]) => first!.bytes),
      )
      const queues = frames.map((of) => of.flat())
      const assembler = new Assembler(limits)
      const got: number[][] = senders.map(() => [])
      while (queues.some((queue) => queue.length > 0)) {
        const s = roll() % 3
        const next = queues[s]!.shift()
        if (next === undefined || next.isLost) continue
        const frame = assembler.take(next.sender, boot, next.chunk, 0)
        if (frame !== undefined) got[s]!.push(frame.length)
      }
      t.strictSame(got, expected)
      t.ok(assembler.open <= senders.length)
    }),
    { numRuns: 30 },
  )
  t.end()
})

t.test('parts of two boots or of two frames of one number are never put together', (t) => {
  const parts = [...chunksOf(5, [new Uint8Array(2 * chunkBytes + 1)])]
  const assembler = new Assembler(limits)
  assembler.take('a', boot, parts[0]!, 0)
  t.equal(assembler.take('a', random(8), parts[1]!, 0), undefined)
  t.equal(assembler.take('a', boot, parts[2]!, 0), undefined)
  t.equal(assembler.lost, 1)
  assembler.take('a', boot, parts[0]!, 0)
  assembler.take('a', boot, parts[0]!, 0)
  assembler.take('a', boot, parts[1]!, 0)
  t.equal(assembler.take('a', boot, parts[2]!, 0)?.length, 2 * chunkBytes + 1, 'the second start counts')
  t.equal(assembler.lost, 2)
  t.end()
})

t.test('a frame above the limit is refused with its first chunk, before anything is kept', (t) => {
  const [first] = [...chunksOf(1, [new Uint8Array(4 * chunkBytes + 1)])]
  const assembler = new Assembler(limits)
  t.throws(() => assembler.take('a', boot, first!, 0), { code: 'over-limit' })
  t.equal(assembler.open, 0)
  const exact = [...chunksOf(1, [new Uint8Array(4 * chunkBytes)])].map((chunk) => assembler.take('a', boot, chunk, 0))
  t.equal(exact.at(-1)?.length, 4 * chunkBytes)
  t.end()
})

t.test('a frame that stands still, or whose sender is no peer any more, is dropped', (t) => {
  const [first, second] = [...chunksOf(1, [new Uint8Array(chunkBytes + 1)])]
  const assembler = new Assembler(limits)
  assembler.take('a', boot, first!, 0)
  assembler.take('b', boot, first!, 500)
  assembler.sweep(1000)
  t.equal(assembler.open, 1)
  t.equal(assembler.take('a', boot, second!, 1000), undefined)
  t.equal(assembler.take('b', boot, second!, 1000)?.length, chunkBytes + 1)
  assembler.take('c', boot, first!, 1000)
  assembler.forget('c')
  t.equal(assembler.open, 0)
  t.equal(assembler.lost, 2)
  t.end()
})

t.test('bytes that are no chunk are refused by name, and end the open frame of their sender only', (t) => {
  const [first, second] = [...chunksOf(1, [new Uint8Array(chunkBytes + 1)])]
  const changed = (at: number, value: number, chunk = first!): Uint8Array => {
    const copy = Uint8Array.from(chunk)
    copy[at] = value
    return copy
  }
  const bad = {
    empty: new Uint8Array(0),
    'shorter than its head': first!.subarray(0, 7),
    'of no parts': changed(7, 0),
    'beyond its parts': changed(5, 2),
    'not full, though not the last': first!.subarray(0, 100),
    'last, and empty': second!.subarray(0, 8),
    'last, and too full': changed(5, 1, new Uint8Array(9 + chunkBytes).fill(2, 7, 8)),
  }
  for (const [name, chunk] of Object.entries(bad)) {
    const assembler = new Assembler(limits)
    assembler.take('a', boot, first!, 0)
    assembler.take('b', boot, first!, 0)
    t.throws(() => assembler.take('a', boot, chunk, 0), { name: 'Refusal', code: 'bad-message' }, name)
    t.equal(assembler.open, 1)
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (garbage) => {
      try {
        readChunk(garbage)
      } catch (error) {
        t.match(error, { name: 'Refusal' })
      }
    }),
  )
  t.end()
})
