import t from 'tap'
import * as fc from 'fast-check'
import { chmod, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex, toHex, utf8 } from '#shared/bytes.js'
import { identityFrom, loadIdentity, newIdentity, saveIdentity, verifyWith } from '#shared/crypto/identity.js'
import { seededRandom } from '#shared/random.js'
import { referencePath } from '#test/support/reference.js'

/** RFC 8032 7.1, tests 1 to 3. */
const published = [
  [
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    '',
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  ],
  [
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    '72',
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  ],
  [
    'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    'af82',
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  ],
] as const

t.test('keys and signatures are those of RFC 8032', (t) => {
  for (const [seed, key, message, signature] of published) {
    const identity = identityFrom(fromHex(seed))
    t.equal(toHex(identity.publicKey), key)
    t.equal(toHex(identity.sign(fromHex(message))), signature)
    t.ok(verifyWith(fromHex(key))(fromHex(message), fromHex(signature)))
  }
  t.end()
})

const wycheproof = referencePath('vectors', 'wycheproof', 'ed25519_test.json')
t.test(
  'every Wycheproof vector is judged as published',
  { skip: wycheproof === undefined && 'no vectors here' },
  async (t) => {
    interface Group {
      readonly publicKey: { readonly pk: string }
      readonly tests: readonly {
        readonly tcId: number
        readonly msg: string
        readonly sig: string
        readonly result: string
      }[]
    }
    const { testGroups } = JSON.parse(await readFile(wycheproof!, 'utf8')) as { testGroups: readonly Group[] }
    for (const { publicKey, tests } of testGroups) {
      const verify = verifyWith(fromHex(publicKey.pk))
      for (const { tcId, msg, sig, result } of tests) {
        t.equal(verify(fromHex(msg), fromHex(sig)), result === 'valid', `test ${tcId}`)
      }
    }
  },
)

t.test('a signature is refused once any bit of it, of the message or of the key is another', (t) => {
  const identity = newIdentity(seededRandom('identity'))
  const flipped = (bytes: Uint8Array, bit: number): Uint8Array => {
    const copy = Uint8Array.from(bytes)
    copy[(bit >> 3) % copy.length]! ^= 1 << (bit & 7)
    return copy
  }
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), fc.nat(4095), (message, bit) => {
      const signature = identity.sign(message)
      t.ok(verifyWith(identity.publicKey)(message, signature))
      t.notOk(verifyWith(identity.publicKey)(message, flipped(signature, bit)))
      t.notOk(verifyWith(identity.publicKey)(flipped(message, bit), signature))
      t.notOk(verifyWith(flipped(identity.publicKey, bit))(message, signature))
    }),
    { numRuns: 30 },
  )
  t.end()
})

t.test('whatever is no key or no signature is refused, never thrown', (t) => {
  const { publicKey, sign } = newIdentity(seededRandom('other'))
  const message = utf8('on')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), (garbage) => {
      t.equal(verifyWith(garbage)(message, sign(message)), false)
      t.equal(verifyWith(publicKey)(message, garbage), false)
    }),
  )
  t.throws(() => identityFrom(new Uint8Array(31)), RangeError)
  t.end()
})

t.test('a key of small order is refused: one signature by it would fit every eighth message', (t) => {
  // The neutral point as key: R = B, S = 1 fulfils S B = R + h A whatever h is.
  const neutral = fromHex('01' + '00'.repeat(31))
  const base = '58' + '66'.repeat(31)
  const universal = fromHex(base + '01' + '00'.repeat(31))
  t.equal(verifyWith(neutral)(utf8('anything'), universal), false)
  const others = [
    '00'.repeat(32),
    '00'.repeat(31) + '80',
    'ec' + 'ff'.repeat(30) + '7f',
    'ee' + 'ff'.repeat(30) + '7f',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  ]
  for (const key of others) t.equal(verifyWith(fromHex(key))(utf8('anything'), universal), false)
  t.end()
})

t.test('an identity comes back from its file, which only its owner can read', async (t) => {
  const path = join(t.testdir(), 'identity.pem')
  const identity = newIdentity()
  await saveIdentity(path, identity)
  t.equal((await stat(path)).mode & 0o777, 0o600)
  t.match(await readFile(path, 'utf8'), /^-----BEGIN PRIVATE KEY-----\n/)
  const back = await loadIdentity(path)
  t.same(back.publicKey, identity.publicKey)
  t.ok(verifyWith(identity.publicKey)(utf8('hello'), back.sign(utf8('hello'))))
  await t.rejects(saveIdentity(path, newIdentity()), { code: 'bad-config' }, 'it is never replaced')
})

t.test('an identity file that others may read, that is absent or that holds no such key is refused', async (t) => {
  const dir = t.testdir({ 'text.pem': 'no key', 'rsa.pem': '' })
  await t.rejects(loadIdentity(join(dir, 'absent.pem')), { code: 'missing-file' })
  await chmod(join(dir, 'text.pem'), 0o600)
  await t.rejects(loadIdentity(join(dir, 'text.pem')), { code: 'bad-config', message: /holds no Ed25519 key/ })
  const { generateKeyPairSync } = await import('node:crypto')
  const { privateKey } = generateKeyPairSync('x25519')
  await writeFile(join(dir, 'x.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 })
  await t.rejects(loadIdentity(join(dir, 'x.pem')), { code: 'bad-config', message: /holds no Ed25519 key/ })
  const path = join(dir, 'open.pem')
  await saveIdentity(path, newIdentity())
  for (const mode of [0o640, 0o604, 0o660, 0o602]) {
    await chmod(path, mode)
    await t.rejects(loadIdentity(path), { code: 'bad-config', message: /chmod 600/ })
  }
})

t.test('the private key does not show in what is printed or serialised', (t) => {
  const seed = seededRandom('secret')(32)
  const identity = identityFrom(seed)
  t.notMatch(JSON.stringify(identity), toHex(seed))
  t.strictSame(Object.keys(identity).sort(), ['publicKey', 'sign'])
  t.end()
})
