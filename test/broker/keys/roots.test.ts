import * as fc from 'fast-check'
import t from 'tap'
import { PairRoots, type Boot } from '#broker/keys/roots.js'
import { toHex } from '#shared/bytes.js'
import { newDeviceId } from '#shared/ids.js'
import { seededRandom } from '#shared/random.js'

const random = seededRandom('roots')
const boot = (): Boot => ({ id: newDeviceId(random), bootId: random(8) })
const restarted = ({ id }: Boot): Boot => ({ id, bootId: random(8) })

t.test('two processes have one root, whoever asks first, as long as both run', (t) => {
  const roots = new PairRoots(random)
  const [a, b] = [boot(), boot()]
  const one = roots.between(a, b)
  t.equal(one.root.length, 32)
  t.equal(one.ordinal, 0)
  t.strictSame(roots.between(b, a), one)
  t.strictSame(roots.between(a, b), one)
  t.end()
})

t.test('each pair has a root of its own', (t) => {
  const roots = new PairRoots(random)
  const boots = Array.from({ length: 6 }, boot)
  const seen = new Set(boots.flatMap((a, i) => boots.slice(i + 1).map((b) => toHex(roots.between(a, b).root))))
  t.equal(seen.size, 15)
  t.end()
})

t.test('whichever end restarts, the root is new, the ordinal rises, and the earlier root is wiped', (t) => {
  const roots = new PairRoots(random)
  let [a, b] = [boot(), boot()]
  fc.assert(
    fc.property(fc.boolean(), (isA) => {
      const before = roots.between(a, b)
      const earlier = toHex(before.root)
      if (isA) a = restarted(a)
      else b = restarted(b)
      const after = roots.between(a, b)
      return (
        after.ordinal === before.ordinal + 1 && toHex(after.root) !== earlier && before.root.every((byte) => byte === 0)
      )
    }),
  )
  t.pass('no counterexample')
  t.end()
})

t.test('two processes under one id that take turns get a new root each time', (t) => {
  const roots = new PairRoots(random)
  const [a, b] = [boot(), boot()]
  const twin = restarted(a)
  const seen = [a, twin, a, twin].map((one) => roots.between(one, b))
  t.strictSame(
    seen.map(({ ordinal }) => ordinal),
    [0, 1, 2, 3],
  )
  t.end()
})

t.test('when the ordinals of an epoch are used up, a new root is refused and no earlier one comes back', (t) => {
  const roots = new PairRoots((length) => new Uint8Array(length).fill(7))
  const b = boot()
  let a = boot()
  for (let ordinal = 0; ordinal <= 0xffff; ordinal++) {
    a = restarted(a)
    if (roots.between(a, b).ordinal !== ordinal) throw new Error(`not ordinal ${ordinal}`)
  }
  const last = roots.between(a, b)
  t.throws(() => roots.between(restarted(a), b), { code: 'key-exhausted' })
  t.strictSame(roots.between(a, b), last, 'who is still here goes on')
  t.end()
})

t.test('erased, no root is left in memory', (t) => {
  const roots = new PairRoots(random)
  const { root } = roots.between(boot(), boot())
  roots.erase()
  t.ok(root.every((byte) => byte === 0))
  t.end()
})
