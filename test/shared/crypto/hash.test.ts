import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js'
import * as fc from 'fast-check'
import t from 'tap'
import { concat, equal, toHex } from '#shared/bytes.js'
import { expand, extract, hmac, sha256 } from '#shared/crypto/hash.js'
import { referencePath } from '#test/support/reference.js'
import { hex, readJson } from '#test/support/vectors.js'

interface HkdfFile {
  testGroups: {
    tests: { tcId: number; ikm: string; salt: string; info: string; size: number; okm: string; result: string }[]
  }[]
}
interface HmacFile {
  testGroups: { tagSize: number; tests: { tcId: number; key: string; msg: string; tag: string; result: string }[] }[]
}

const hkdfPath = referencePath('vectors', 'wycheproof', 'hkdf_sha256_test.json')
t.test('Wycheproof HKDF-SHA-256', { skip: hkdfPath === undefined && 'the reference material is not here' }, (t) => {
  for (const v of (readJson(hkdfPath!) as HkdfFile).testGroups.flatMap((group) => group.tests)) {
    const derive = (): Uint8Array => expand(extract(hex(v.salt), hex(v.ikm)), hex(v.info), v.size)
    if (v.result === 'valid') t.equal(toHex(derive()), v.okm, `case ${v.tcId}`)
    else t.throws(derive, RangeError, `case ${v.tcId} is refused`)
  }
  t.end()
})

const hmacPath = referencePath('vectors', 'wycheproof', 'hmac_sha256_test.json')
t.test('Wycheproof HMAC-SHA-256', { skip: hmacPath === undefined && 'the reference material is not here' }, (t) => {
  for (const group of (readJson(hmacPath!) as HmacFile).testGroups) {
    for (const v of group.tests) {
      const mac = hmac(hex(v.key), hex(v.msg)).subarray(0, group.tagSize / 8)
      t.equal(equal(mac, hex(v.tag)), v.result === 'valid', `case ${v.tcId}`)
    }
  }
  t.end()
})

t.test('HKDF and SHA-256 agree with a second implementation, and parts with their concatenation', (t) => {
  const bytes = fc.uint8Array({ maxLength: 100 })
  fc.assert(
    fc.property(
      fc.array(bytes, { maxLength: 3 }),
      bytes,
      bytes,
      fc.integer({ min: 1, max: 200 }),
      (ikm, salt, info, size) => {
        const whole = concat(ikm)
        const okm = expand(extract(salt, ...ikm), info, size)
        return (
          toHex(okm) === toHex(hkdf(nobleSha256, whole, salt, info, size)) &&
          toHex(sha256(...ikm)) === toHex(nobleSha256(whole))
        )
      },
    ),
  )
  t.pass('no counterexample')
  t.end()
})
