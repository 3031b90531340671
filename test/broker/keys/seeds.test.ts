import { createHmac } from 'node:crypto'
import t from 'tap'
import { memorySeeds } from '#broker/keys/seeds.js'
import { toHex, utf8 } from '#shared/bytes.js'
import { devSeed, devSeedMessage } from '#shared/crypto/schedule.js'
import { seededRandom } from '#shared/random.js'

t.test('a seed answers with HMAC-SHA-256, the same each time, and so derives what the key schedule says', (t) => {
  const key = seededRandom('seed')(32)
  const seeds = memorySeeds(seededRandom('seed'))
  const message = utf8('a message')
  const expected = createHmac('sha256', key).update(message).digest('hex')
  t.equal(toHex(seeds.hmac(1, message)), expected)
  t.equal(toHex(seeds.hmac(seeds.generation, message)), expected)
  const facts = { fleet: 'f0102030405060708', device: `d${'0a'.repeat(16)}`, epoch: 1, zone: '' } as const
  t.equal(toHex(seeds.hmac(1, devSeedMessage(facts))), toHex(devSeed(key, facts)))
  t.end()
})

t.test('another generation is a bug; a destroyed seed is gone', (t) => {
  const seeds = memorySeeds(seededRandom('seed'))
  const before = toHex(seeds.hmac(1, utf8('x')))
  t.throws(() => seeds.hmac(2, utf8('x')), RangeError)
  seeds.destroy()
  t.throws(() => seeds.hmac(1, utf8('x')), /destroyed/)
  t.type(before, 'string')
  t.end()
})
