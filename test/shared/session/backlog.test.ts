import * as fc from 'fast-check'
import t from 'tap'
import type { DeviceId } from '#shared/ids.js'
import { Backlog, maxResendAfterMs, resendAfterMs, type Item } from '#shared/session/backlog.js'

const client: DeviceId = 'd000000000000000000000000000000aa'
const run = new Uint8Array(8)
const item = (request: number, bytes = 10): Item => ({ client, run, request, bytes })

/** A backlog with its counters kept, as a channel keeps them. */
function backlogOf(items: readonly Item[], window?: { frames: number; bytes: number }) {
  const backlog = new Backlog<Item>()
  let counter = 0
  if (window !== undefined) backlog.heard(0, window)
  for (const one of items) backlog.offer(one)
  return {
    backlog,
    /** Sends all that there is room for; gives the numbers. */
    pump: (nowMs = 0): number[] => {
      const sent: number[] = []
      for (let next = backlog.next(); next !== undefined; next = backlog.next()) {
        backlog.sent(next, counter++, nowMs)
        sent.push(next.request)
      }
      return sent
    },
    acknowledge: (requests: readonly number[], nowMs = 0) =>
      backlog.acknowledged(client, run, requests, nowMs).map(({ request }) => request),
  }
}

t.test('before the peer has said a window one frame goes, of any size', (t) => {
  const { backlog, pump } = backlogOf([item(0, 1e9), item(1)])
  t.strictSame(pump(), [0])
  backlog.heard(1, { frames: 2, bytes: 100 })
  t.strictSame(pump(), [1])
  t.end()
})

t.test('no more is under way than the window has room for, in frames and in bytes', (t) => {
  const { backlog, pump } = backlogOf([item(0), item(1), item(2), item(3, 60), item(4, 50), item(5)], {
    frames: 3,
    bytes: 100,
  })
  t.strictSame(pump(), [0, 1, 2])
  backlog.heard(3, { frames: 3, bytes: 100 })
  t.strictSame(pump(), [3], 'the next one would be more than the bytes')
  backlog.heard(4, { frames: 3, bytes: 100 })
  t.strictSame(pump(), [4, 5])
  t.strictSame(backlog.flying, { frames: 2, bytes: 60 })
  t.end()
})

t.test('a frame larger than the window goes when nothing is under way, and only then', (t) => {
  const { backlog, pump } = backlogOf([item(0), item(1, 500), item(2)], { frames: 9, bytes: 100 })
  t.strictSame(pump(), [0])
  backlog.heard(1, { frames: 9, bytes: 100 })
  t.strictSame(pump(), [1])
  backlog.heard(2, { frames: 9, bytes: 100 })
  t.strictSame(pump(), [2])
  t.end()
})

t.test('an item is kept until it is settled, offered once however often, and known only by its whole name', (t) => {
  const { backlog, pump, acknowledge } = backlogOf([item(0), item(0)], { frames: 9, bytes: 100 })
  t.strictSame(pump(), [0])
  backlog.offer(item(0))
  t.strictSame(pump(), [])
  t.equal(backlog.held, 1)
  t.strictSame(backlog.acknowledged(client, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0), [0], 0), [], 'of another run')
  t.strictSame(acknowledge([7, 0, 0]), [0])
  t.equal(backlog.held, 0)
  t.strictSame(acknowledge([0]), [])
  t.end()
})

t.test('settling releases the room of what was settled, though its last copy was lost', (t) => {
  const { backlog, pump, acknowledge } = backlogOf([item(0), item(1)], { frames: 1, bytes: 100 })
  t.strictSame(pump(), [0])
  backlog.requeueOverdue(resendAfterMs)
  t.strictSame(pump(resendAfterMs), [0], 'sent again as counter 1')
  backlog.heard(1, { frames: 1, bytes: 100 }) // the first copy was taken, the second one is lost
  t.strictSame(pump(resendAfterMs), [])
  acknowledge([0], resendAfterMs)
  t.strictSame(pump(resendAfterMs), [1])
  t.end()
})

t.test('an item that is not settled goes again after a while, although others come through all the time', (t) => {
  const { backlog, pump, acknowledge } = backlogOf([item(0)], { frames: 9, bytes: 1000 })
  pump()
  for (let request = 1; request < 20; request++) {
    const nowMs = request * 100
    backlog.offer(item(request))
    backlog.requeueOverdue(nowMs)
    const sent = pump(nowMs)
    backlog.heard(request + 1, { frames: 9, bytes: 1000 })
    acknowledge([request], nowMs)
    t.equal(sent.includes(0), nowMs === resendAfterMs, `at ${nowMs} ms went ${sent.join(', ')}`)
  }
  t.end()
})

t.test('pauses between copies double up to a maximum', (t) => {
  const { backlog, pump } = backlogOf([item(0)], { frames: 9, bytes: 1000 })
  const sentAtMs: number[] = []
  for (let nowMs = 0; nowMs < 200_000; nowMs += 500) {
    backlog.requeueOverdue(nowMs)
    if (pump(nowMs).length > 0) sentAtMs.push(nowMs)
  }
  t.strictSame(
    sentAtMs.slice(1).map((ms, i) => ms - sentAtMs[i]!),
    [
      1000,
      2000,
      4000,
      8000,
      16_000,
      maxResendAfterMs,
      maxResendAfterMs,
      maxResendAfterMs,
      maxResendAfterMs,
      maxResendAfterMs,
    ],
  )
  t.end()
})

t.test('where settling usually takes long, nothing is taken for lost early', (t) => {
  const { backlog, pump, acknowledge } = backlogOf([], { frames: 99, bytes: 10_000 })
  for (let request = 0; request < 60; request++) {
    backlog.offer(item(request))
    pump(request * 1000)
    if (request >= 2) acknowledge([request - 2], request * 1000)
  }
  t.equal(backlog.held, 2)
  backlog.requeueOverdue(60_000)
  t.strictSame(pump(60_000), [], 'two seconds are usual here')
  backlog.requeueOverdue(80_000)
  t.strictSame(pump(80_000), [58, 59])
  t.end()
})

t.test('over a new link all that is unsettled goes again, without taking more of the window', (t) => {
  const { backlog, pump } = backlogOf([item(0), item(1), item(2), item(3)], { frames: 2, bytes: 1000 })
  t.strictSame(pump(), [0, 1])
  backlog.heard(1, { frames: 2, bytes: 1000 })
  t.strictSame(pump(), [2], 'item 0 left the peer queue, but is not settled')
  backlog.resendAll()
  t.strictSame(pump(), [1, 2, 0], '1 and 2 are counted already, 0 is the first of all; 3 waits for room')
  t.equal(backlog.flying.frames, 3)
  backlog.heard(99, { frames: 2, bytes: 1000 })
  t.strictSame(pump(), [3])
  t.end()
})

t.test('the first of all requests waits for no room, in the order of clients, runs and numbers; no other does', (t) => {
  const other = 'd00000000000000000000000000000000'
  const late = { ...item(9, 500), run: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1) }
  const { backlog, pump, acknowledge } = backlogOf([late, item(7, 500), item(5, 500)], { frames: 1, bytes: 10 })
  t.strictSame(pump(), [9, 5], '5 is of an earlier run, and before 7')
  backlog.offer(item(6))
  t.strictSame(pump(), [])
  acknowledge([5])
  t.strictSame(pump(), [6], 'now it is the first')
  backlog.offer({ ...item(100), client: other })
  t.strictSame(pump(), [100])
  t.equal(backlog.flying.frames, 3)
  t.end()
})

t.test('in a new session nothing is under way, and the window is unknown', (t) => {
  const { backlog, pump } = backlogOf([item(0), item(1)], { frames: 2, bytes: 1000 })
  pump()
  backlog.restart()
  t.strictSame(backlog.flying, { frames: 0, bytes: 0 })
  t.strictSame(pump(), [0])
  t.end()
})

t.test('cleared, it holds nothing, and its window is free for the next plan', (t) => {
  const { backlog, pump } = backlogOf([item(0), item(1)], { frames: 1, bytes: 1000 })
  pump()
  t.strictSame(
    backlog.clear().map(({ request }) => request),
    [0, 1],
  )
  t.equal(backlog.held, 0)
  backlog.offer(item(5))
  t.strictSame(pump(), [5])
  t.end()
})

type Step =
  | { do: 'offer'; bytes: number }
  | { do: 'arrive' | 'lose' }
  | { do: 'take'; index: number }
  | { do: 'tell' }
  | { do: 'settle'; index: number }
  | { do: 'wait'; ms: number }
  | { do: 'new link' }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('offer' as const), bytes: fc.integer({ min: 1, max: 60 }) }),
  fc.record({ do: fc.constantFrom('arrive' as const, 'lose' as const) }),
  fc.record({ do: fc.constant('take' as const), index: fc.nat(3) }),
  fc.record({ do: fc.constant('tell' as const) }),
  fc.record({ do: fc.constant('settle' as const), index: fc.nat(3) }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 3000 }) }),
  fc.record({ do: fc.constant('new link' as const) }),
)

t.test(
  'on a link that keeps its order: the peer never has more un-taken than its window, and in the end all comes',
  (t) => {
    fc.assert(
      fc.property(
        fc.record({ frames: fc.integer({ min: 1, max: 4 }), bytes: fc.integer({ min: 1, max: 150 }) }),
        fc.array(step, { maxLength: 120 }),
        (window, steps) => {
          const backlog = new Backlog<Item>()
          let wire: { counter: number; item: Item }[] = []
          /** The peer: what is in its queue, what it knows, what is finished. */
          const queue: { counter: number; item: Item }[] = []
          const known = new Set<number>()
          const inWork: number[] = []
          let [counter, next, request, nowMs] = [0, 0, 0, 0]
          const pump = (): void => {
            for (let item = backlog.next(); item !== undefined; item = backlog.next()) {
              backlog.sent(item, counter, nowMs)
              wire.push({ counter: counter++, item })
            }
          }
          const act = (step: Step): void => {
            switch (step.do) {
              case 'offer':
                backlog.offer(item(request++, step.bytes))
                break
              case 'lose':
                wire.shift()
                break
              case 'arrive': {
                const frame = wire.shift()
                if (frame === undefined) break
                next = frame.counter + 1
                if (known.has(frame.item.request)) break
                known.add(frame.item.request)
                queue.push(frame)
                break
              }
              case 'take': {
                const [taken] = queue.splice(step.index, 1)
                if (taken !== undefined) inWork.push(taken.item.request)
                break
              }
              case 'tell':
                backlog.heard(Math.min(next, ...queue.map((frame) => frame.counter)), window)
                break
              case 'settle': {
                const [done] = inWork.splice(step.index, 1)
                if (done !== undefined) backlog.acknowledged(client, run, [done], nowMs)
                break
              }
              case 'wait':
                nowMs += step.ms
                backlog.requeueOverdue(nowMs)
                break
              case 'new link':
                wire = []
                backlog.resendAll()
            }
            pump()
          }
          act({ do: 'tell' })
          for (const step of steps) {
            act(step)
            const bytes = queue.reduce((sum, frame) => sum + frame.item.bytes, 0)
            if (queue.length > window.frames) throw new Error(`${queue.length} frames in the queue`)
            if (queue.length > 1 && bytes > window.bytes) throw new Error(`${bytes} bytes in the queue`)
          }
          for (let round = 0; backlog.held > 0 && round < 400; round++) {
            for (const last of ['arrive', 'take', 'tell', 'settle'] as const) act({ do: last, index: 0 })
            if (wire.length === 0) act({ do: 'wait', ms: maxResendAfterMs })
          }
          // Settled before its copies came: these are all that may still be counted.
          return backlog.held === 0 && known.size === request && backlog.flying.frames === 0
        },
      ),
      { numRuns: 500 },
    )
    t.pass('no counterexample')
    t.end()
  },
)
