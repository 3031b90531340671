import * as fc from 'fast-check'
import t from 'tap'
import { concat, lengthOf, toHex } from '#shared/bytes.js'
import { type Aeads, type AlgId, nodeAeads } from '#shared/crypto/aead.js'
import { portableAeads } from '#shared/crypto/portable.js'
import { referencePath } from '#test/support/reference.js'
import { hex, readJson } from '#test/support/vectors.js'

const algs = [1, 2] as const
const backends: Record<string, Aeads> = { node: nodeAeads, portable: portableAeads }

const fixed = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length })
// Sizes around the block and chunk edges of both ciphers, in any number of parts, empty ones included.
const part = fc.oneof(
  fc.uint8Array({ maxLength: 70 }),
  fc.constantFrom(0, 15, 16, 17, 63, 64, 65, 1023, 4096).chain(fixed),
)
const call = fc.record({
  alg: fc.constantFrom(...algs),
  key: fixed(32),
  nonce: fixed(12),
  ad: fc.uint8Array({ maxLength: 40 }),
  parts: fc.array(part, { maxLength: 5 }),
})

t.test('both implementations seal to the same bytes, however the plaintext is parted, and open each other', (t) => {
  fc.assert(
    fc.property(call, ({ alg, key, nonce, ad, parts }) => {
      const whole = concat(parts)
      const pieces = nodeAeads(alg).seal(key, nonce, ad, parts)
      const sealed = concat(pieces)
      const others = [
        portableAeads(alg).seal(key, nonce, ad, parts),
        portableAeads(alg).seal(key, nonce, ad, [whole]),
        nodeAeads(alg).seal(key, nonce, ad, [whole]),
      ]
      if (others.some((other) => toHex(concat(other)) !== toHex(sealed))) return false
      const lengths = [...parts.map((part) => part.length), 16]
      const shapes = [pieces, others[0]!].map((shape) => shape.map((piece) => piece.length))
      if (shapes.some((shape) => shape.join() !== lengths.join())) return false
      return Object.values(backends).every((aeads) => {
        const plain = aeads(alg).open(key, nonce, ad, sealed)
        return toHex(plain) === toHex(whole)
      })
    }),
    { numRuns: 400 },
  )
  t.pass('no counterexample')
  t.end()
})

for (const [name, aeads] of Object.entries(backends)) {
  for (const alg of algs) {
    t.test(`${name} alg ${alg}: one changed bit anywhere, a byte less or more, is forged`, (t) => {
      fc.assert(
        fc.property(call, fc.nat(), ({ key, nonce, ad, parts }, at) => {
          const sealed = concat(aeads(alg).seal(key, nonce, ad, parts))
          const inputs: Record<'key' | 'nonce' | 'ad' | 'sealed', Uint8Array> = { key, nonce, ad, sealed }
          const refused = (changed: Partial<typeof inputs>): boolean => {
            const all = { ...inputs, ...changed }
            try {
              aeads(alg).open(all.key, all.nonce, all.ad, all.sealed)
              return false
            } catch (error) {
              return (error as { code?: string }).code === 'forged'
            }
          }
          const flipped = (bytes: Uint8Array): Uint8Array => {
            const copy = Uint8Array.from(bytes)
            const index = at % copy.length
            copy[index] = copy[index]! ^ (1 << (at % 8))
            return copy
          }
          return (
            refused({ sealed: flipped(sealed) }) &&
            refused({ key: flipped(key) }) &&
            refused({ nonce: flipped(nonce) }) &&
            refused({ ad: concat([ad, Uint8Array.of(0)]) }) &&
            (ad.length === 0 || refused({ ad: flipped(ad) })) &&
            refused({ sealed: sealed.subarray(0, -1) }) &&
            refused({ sealed: concat([sealed, Uint8Array.of(0)]) }) &&
            refused({ sealed: sealed.subarray(0, at % 16) })
          )
        }),
        { numRuns: 100 },
      )
      t.pass('no counterexample')
      t.end()
    })

    t.test(`${name} alg ${alg}: the plaintext is alone in its buffer and can be transferred`, (t) => {
      for (const size of [0, 1, 100, 5000]) {
        const [key, nonce, ad] = [new Uint8Array(32), new Uint8Array(12), new Uint8Array(16)]
        const sealed = concat(aeads(alg).seal(key, nonce, ad, [new Uint8Array(size).fill(7)]))
        const plain = aeads(alg).open(key, nonce, ad, sealed)
        t.equal(plain.byteOffset, 0)
        t.equal(plain.buffer.byteLength, size)
        const moved = structuredClone(plain, { transfer: [plain.buffer] })
        t.equal(moved.length, size)
        t.equal(plain.length, 0)
      }
      t.end()
    })

    t.test(`${name} alg ${alg}: a key or nonce of another length is a bug, not a message`, (t) => {
      const aead = aeads(alg)
      const [key, nonce, none] = [new Uint8Array(32), new Uint8Array(12), new Uint8Array(0)]
      for (const length of [0, 16, 24, 31, 33]) {
        t.throws(() => aead.seal(new Uint8Array(length), nonce, none, []), RangeError)
        t.throws(() => aead.open(new Uint8Array(length), nonce, none, new Uint8Array(16)), RangeError)
      }
      for (const length of [0, 8, 11, 13, 16]) {
        t.throws(() => aead.seal(key, new Uint8Array(length), none, []), RangeError)
        t.throws(() => aead.open(key, new Uint8Array(length), none, new Uint8Array(16)), RangeError)
      }
      t.end()
    })
  }
}

interface Wycheproof {
  testGroups: {
    ivSize: number
    keySize: number
    tagSize: number
    tests: {
      tcId: number
      key: string
      iv: string
      aad: string
      msg: string
      ct: string
      tag: string
      result: string
    }[]
  }[]
}

const published: [string, AlgId][] = [
  ['aes_gcm_test.json', 1],
  ['chacha20_poly1305_test.json', 2],
]
for (const [file, alg] of published) {
  const path = referencePath('vectors', 'wycheproof', file)
  const skip = path === undefined && 'the reference material is not here'
  t.test(`Wycheproof ${file}`, { skip }, (t) => {
    // Our profile: 256-bit keys, 96-bit nonces, 128-bit tags.
    const groups = (readJson(path!) as Wycheproof).testGroups.filter(
      (group) => group.keySize === 256 && group.tagSize === 128,
    )
    let judged = 0
    for (const group of groups) {
      for (const v of group.tests) {
        const [key, nonce, ad, msg] = [hex(v.key), hex(v.iv), hex(v.aad), hex(v.msg)]
        const sealed = hex(v.ct + v.tag)
        for (const [name, aeads] of Object.entries(backends)) {
          const label = `${name} ${v.tcId}`
          if (group.ivSize !== 96) {
            t.throws(() => aeads(alg).open(key, nonce, ad, sealed), RangeError, `${label}: nonce of another length`)
          } else if (v.result === 'valid') {
            t.equal(toHex(concat(aeads(alg).seal(key, nonce, ad, [msg]))), v.ct + v.tag, `${label} seals`)
            t.equal(toHex(aeads(alg).open(key, nonce, ad, sealed)), v.msg, `${label} opens`)
          } else {
            t.throws(() => aeads(alg).open(key, nonce, ad, sealed), { code: 'forged' }, `${label} is refused`)
          }
          judged++
        }
      }
    }
    t.ok(judged > 100, `${judged} judged`)
    t.end()
  })
}

t.test('sealing keeps no hold of the nonce it was given', (t) => {
  for (const aeads of Object.values(backends)) {
    const [key, nonce, ad] = [new Uint8Array(32), new Uint8Array(12), new Uint8Array(0)]
    const first = concat(aeads(2).seal(key, nonce, ad, [new Uint8Array(8)]))
    const before = toHex(first)
    nonce.fill(9)
    aeads(2).seal(key, nonce, ad, [new Uint8Array(8)])
    t.equal(toHex(first), before)
    t.equal(lengthOf([first]), 24)
  }
  t.end()
})
