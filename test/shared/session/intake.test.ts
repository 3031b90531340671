import t from 'tap'
import { maxFrameBytes } from '#shared/protocol/frame.js'
import { Intake, type Queued } from '#shared/session/intake.js'

const window = { frames: 3, bytes: 100 }
const frame = (counter: number, bytes = 10): Queued => ({ counter, bytes })
/** An intake into which the frames came, in their order. */
function intakeOf(...frames: readonly Queued[]): Intake {
  const intake = new Intake(window)
  for (const one of frames) intake.arrived(one)
  return intake
}

t.test('all below the oldest frame in the queue is taken, and all before the next when the queue is empty', (t) => {
  const [a, b, c] = [frame(0), frame(1), frame(2)]
  const intake = intakeOf(a, b, c)
  t.equal(intake.takenBelow, 0)
  t.ok(intake.took(b))
  t.equal(intake.takenBelow, 0, 'the oldest is still there')
  t.ok(intake.took(a))
  t.equal(intake.takenBelow, 2)
  t.ok(intake.took(c))
  t.equal(intake.takenBelow, 3)
  t.notOk(intake.took(c), 'once is enough')
  t.end()
})

t.test('a frame that was lost is given up when a later one comes, or when the peer begins later', (t) => {
  const last = frame(4)
  const intake = intakeOf(last)
  intake.took(last)
  t.equal(intake.takenBelow, 5)
  intake.begin(9)
  t.equal(intake.takenBelow, 9)
  intake.begin(3)
  t.equal(intake.takenBelow, 9)
  t.end()
})

t.test('a new session counts from 0, and what is left of the earlier one takes room', (t) => {
  const [a, b] = [frame(7), frame(8, 30)]
  const intake = intakeOf(a, b)
  intake.restart()
  t.equal(intake.takenBelow, 0)
  t.strictSame(intake.room, { frames: 1, bytes: 60 })
  intake.arrived(frame(0))
  intake.arrived(frame(9), true)
  t.equal(intake.takenBelow, 0, 'a late frame of the earlier session moves nothing')
  t.strictSame(intake.room, { frames: 0, bytes: 50 })
  t.ok(intake.took(b))
  t.ok(intake.took(a))
  t.strictSame(intake.room, { frames: 2, bytes: 90 })
  t.end()
})

t.test('who takes no notice of the window is refused at twice of it', (t) => {
  const frames = Array.from({ length: 6 }, (_, counter) => frame(counter))
  const intake = intakeOf(...frames)
  t.throws(() => intake.arrived(frame(6)), { code: 'over-limit' })
  t.equal(intake.takenBelow, 0)
  intake.took(frames[0]!)
  t.doesNotThrow(() => intake.arrived(frame(6)))

  const large = intakeOf(frame(0, maxFrameBytes), frame(1, maxFrameBytes))
  t.throws(() => large.arrived(frame(2, 1)), { code: 'over-limit' }, 'the largest frame may come twice, nothing beside')
  t.end()
})
