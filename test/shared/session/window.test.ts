import * as fc from 'fast-check'
import t from 'tap'
import { ReplayWindow, windowSize } from '#shared/session/window.js'

/** The same by remembering everything. */
class Memory {
  #top = -1
  readonly #taken = new Set<number>()

  admits(counter: number): boolean {
    return counter > this.#top - windowSize && !this.#taken.has(counter)
  }

  take(counter: number): void {
    this.#taken.add(counter)
    this.#top = Math.max(this.#top, counter)
  }
}

t.test('the window answers as one that remembers every counter and refuses what is 1024 behind', (t) => {
  // Steps from the highest counter so far: small ones, around the edges of a word and of the window, and leaps.
  const step = fc.oneof(
    fc.integer({ min: -6, max: 6 }),
    fc.integer({ min: -40, max: 40 }),
    fc.constantFrom(-1025, -1024, -1023, 1023, 1024, 1025, 2048),
    fc.integer({ min: -3000, max: 3000 }),
  )
  fc.assert(
    fc.property(
      fc.nat(2 ** 48 - 2 ** 22),
      fc.array(fc.tuple(step, fc.boolean()), { minLength: 1, maxLength: 400 }),
      (start, steps) => {
        const window = new ReplayWindow()
        const memory = new Memory()
        let top = start
        for (const [by, authentic] of steps) {
          const counter = Math.max(0, top + by)
          if (window.admits(counter) !== memory.admits(counter)) return false
          if (!authentic || !window.admits(counter)) continue
          window.take(counter)
          memory.take(counter)
          top = Math.max(top, counter)
        }
        return true
      },
    ),
    { numRuns: 500 },
  )
  t.pass('no counterexample')
  t.end()
})

t.test('each of the first counters is admitted once, in any order within the window', (t) => {
  const window = new ReplayWindow()
  const order = Array.from({ length: windowSize }, (_, i) => windowSize - 1 - i)
  for (const counter of order) {
    if (!window.admits(counter)) t.fail(`${counter} is not admitted`)
    window.take(counter)
    if (window.admits(counter)) t.fail(`${counter} is admitted twice`)
  }
  window.take(windowSize)
  t.notOk(window.admits(0), 'what fell out of the window is refused')
  t.ok(window.admits(windowSize + 1))
  t.end()
})
