import t from 'tap'
import { every, SteppedClock } from '#shared/clock.js'

t.test('a stepped clock fires timers in the order they fall due, those set on the way included', (t) => {
  const clock = new SteppedClock(1000)
  const fired: string[] = []
  clock.after(20, () => fired.push(`b@${clock.nowMs()}`))
  clock.after(10, () => {
    fired.push(`a@${clock.nowMs()}`)
    clock.after(5, () => fired.push(`c@${clock.nowMs()}`))
  })
  clock.after(30, () => fired.push('never'))()
  clock.step(25)
  t.strictSame(fired, ['a@1010', 'c@1015', 'b@1020'])
  t.equal(clock.monotonicMs(), 25)
  t.end()
})

t.test('a repeated action stops when cancelled, also from within', (t) => {
  const clock = new SteppedClock()
  let count = 0
  const cancel = every(clock, 10, () => {
    if (++count === 3) cancel()
  })
  clock.step(100)
  t.equal(count, 3)
  t.end()
})
