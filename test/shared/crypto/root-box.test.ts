import t from 'tap'
import { equal, fromHex, toHex } from '#shared/bytes.js'
import { newBoxKey, openRoot, sealRoot, type BoxContext } from '#shared/crypto/root-box.js'
import { systemRandom } from '#shared/random.js'

const context: BoxContext = {
  fleet: systemRandom(8),
  device: systemRandom(16),
  bootId: systemRandom(8),
  epoch: 3,
  ordinal: 7,
}
const root = systemRandom(32)
const key = newBoxKey()

t.test('a box opens with its key in its context, and each box is another', (t) => {
  const [one, two] = [sealRoot(root, key.publicKey, context), sealRoot(root, key.publicKey, context)]
  for (const { box, ephemeral } of [one, two]) t.ok(equal(openRoot(box, ephemeral, key, context), root))
  t.not(toHex(one.box), toHex(two.box))
  t.not(toHex(one.ephemeral), toHex(two.ephemeral))
  t.notOk(toHex(one.box).includes(toHex(root)))
  t.end()
})

t.test('a box opens in no other context and with no other key', (t) => {
  const { box, ephemeral } = sealRoot(root, key.publicKey, context)
  const others: Partial<BoxContext>[] = [
    { fleet: systemRandom(8) },
    { device: systemRandom(16) },
    { bootId: systemRandom(8) },
    { epoch: 4 },
    { ordinal: 8 },
  ]
  for (const other of others) {
    const changed = { ...context, ...other }
    t.throws(() => openRoot(box, ephemeral, key, changed), { code: 'forged' }, Object.keys(other)[0]!)
  }
  t.throws(() => openRoot(box, ephemeral, newBoxKey(), context), { code: 'forged' })
  t.throws(() => openRoot(box, newBoxKey().publicKey, key, context), { code: 'forged' })
  t.end()
})

t.test('a box with any bit flipped, and one of another length, is refused', (t) => {
  const { box, ephemeral } = sealRoot(root, key.publicKey, context)
  let refused = 0
  for (let bit = 0; bit < (box.length + ephemeral.length) * 8; bit++) {
    const [changed, from] = [Uint8Array.from(box), Uint8Array.from(ephemeral)]
    const at = bit >> 3
    if (at < box.length) changed[at]! ^= 1 << (bit & 7)
    else from[at - box.length]! ^= 1 << (bit & 7)
    try {
      openRoot(changed, from, key, context)
    } catch (error) {
      if ((error as { code?: string }).code === 'forged') refused++
    }
  }
  t.equal(refused, (48 + 32) * 8)
  for (const length of [0, 47, 49, 128]) {
    t.throws(() => openRoot(new Uint8Array(length), ephemeral, key, context), { code: 'forged' }, `${length} bytes`)
  }
  t.end()
})

t.test('keys of low order and keys that are none are refused on both sides', (t) => {
  const { box } = sealRoot(root, key.publicKey, context)
  // The points of small order on Curve25519 and its twist, as far as they differ mod p (RFC 7748, 6.1).
  const lowOrder = [
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  ]
  const wrong = [...lowOrder.map(fromHex), new Uint8Array(0), new Uint8Array(31).fill(9), new Uint8Array(33).fill(9)]
  for (const bytes of wrong) {
    t.throws(() => sealRoot(root, bytes, context), { code: 'forged' }, toHex(bytes))
    t.throws(() => openRoot(box, bytes, key, context), { code: 'forged' }, toHex(bytes))
  }
  t.end()
})

t.test('only a root of 32 bytes is sealed: another is a bug of ours', (t) => {
  t.throws(() => sealRoot(new Uint8Array(31), key.publicKey, context), RangeError)
  t.end()
})
