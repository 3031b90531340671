import * as fc from 'fast-check'
import t from 'tap'
import type { DeviceId } from '#shared/ids.js'
import { maxOpenRequests, maxRuns, Requests } from '#shared/session/requests.js'
import { Refusal } from '#shared/errors.js'

const client: DeviceId = 'd000000000000000000000000000000aa'
const run = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
const key = (request: number, of: { client?: DeviceId; run?: Uint8Array } = {}) => ({ client, run, request, ...of })

t.test('a request is new once, then in hand, then done, also when it comes again and again', (t) => {
  const requests = new Requests()
  t.equal(requests.admit(key(0), 0), 'new')
  t.equal(requests.admit(key(0), 0), 'in-hand')
  t.equal(requests.open, 1)
  requests.settle(key(0))
  t.equal(requests.admit(key(0), 0), 'done')
  requests.settle(key(0))
  t.equal(requests.open, 0)
  t.end()
})

t.test('the same number of another run or another client is another request', (t) => {
  const requests = new Requests()
  requests.admit(key(0), 0)
  t.equal(requests.admit(key(0, { run: new Uint8Array(8) }), 0), 'new')
  t.equal(requests.admit(key(0, { client: 'd000000000000000000000000000000bb' }), 0), 'new')
  t.end()
})

t.test('all below the low-water mark is done, though it never came here', (t) => {
  const requests = new Requests()
  t.equal(requests.admit(key(7), 5), 'new')
  t.equal(requests.admit(key(4), 0), 'done')
  t.equal(requests.admit(key(5), 0), 'new', 'an older mark does not take the newer one back')
  t.equal(requests.admit(key(9), 8), 'new')
  t.equal(requests.open, 1, 'what the mark has passed is no longer open')
  t.equal(requests.admit(key(7), 5), 'done')
  t.end()
})

t.test('a number too far above the mark is refused, and is welcome when the mark has moved', (t) => {
  const requests = new Requests()
  t.equal(requests.admit(key(maxOpenRequests - 1), 0), 'new')
  t.throws(() => requests.admit(key(maxOpenRequests), 0), { code: 'over-limit' })
  t.equal(requests.admit(key(maxOpenRequests), 1), 'new')
  t.end()
})

t.test('of many runs the longest silent is forgotten', (t) => {
  const requests = new Requests()
  const runOf = (i: number): Uint8Array => Uint8Array.of(0, 0, 0, 0, 0, 0, i >> 8, i & 255)
  for (let i = 0; i < maxRuns; i++) requests.admit(key(0, { run: runOf(i) }), 0)
  requests.admit(key(1, { run: runOf(0) }), 0)
  requests.admit(key(0, { run: runOf(maxRuns) }), 0)
  t.equal(requests.admit(key(0, { run: runOf(0) }), 0), 'in-hand', 'it has spoken since')
  t.equal(requests.admit(key(0, { run: runOf(1) }), 0), 'new', 'forgotten: at worst it is computed again')
  t.end()
})

t.test('as a model of plain sets: nothing is new twice while its run is known', (t) => {
  const steps = fc.array(fc.record({ request: fc.nat(40), low: fc.nat(30), settle: fc.boolean() }), { maxLength: 80 })
  fc.assert(
    fc.property(steps, (steps) => {
      const requests = new Requests()
      const seen = new Set<number>()
      const done = new Set<number>()
      let low = 0
      for (const step of steps) {
        if (step.settle) {
          requests.settle(key(step.request))
          if (seen.has(step.request)) done.add(step.request)
          continue
        }
        low = Math.max(low, step.low)
        const isDone = step.request < low || done.has(step.request)
        const expected = isDone ? 'done' : seen.has(step.request) ? 'in-hand' : 'new'
        if (requests.admit(key(step.request), step.low) !== expected) return false
        if (expected === 'new') seen.add(step.request)
      }
      return requests.open === [...seen].filter((request) => request >= low && !done.has(request)).length
    }),
  )
  t.pass('no counterexample')
  t.end()
})

t.test('whatever numbers come, only a refusal is thrown', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.maxSafeNat(), fc.maxSafeNat())), (numbers) => {
      const requests = new Requests()
      for (const [request, low] of numbers) {
        try {
          requests.admit(key(request), low)
        } catch (error) {
          if (!(error instanceof Refusal)) throw error
        }
        if (requests.open > maxOpenRequests) return false
      }
      return true
    }),
  )
  t.pass('no counterexample')
  t.end()
})
