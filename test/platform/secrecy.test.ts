import t from 'tap'
import { type Aeads, nodeAeads } from '#shared/crypto/aead.js'
import { concat } from '#shared/bytes.js'
import { parseModel } from '#shared/onnx/parse.js'
import { decodeControl } from '#shared/protocol/control.js'
import { Fleet } from '#test/fleet.js'
import { digits } from '../support/digits.js'
import { sharedWindow } from '../support/windows.js'

const workload = await digits()
const requests = 4

/** Seals nothing: what the search must find, or it proves nothing. */
const nullAeads: Aeads = () => ({
  seal: (_key, _nonce, _ad, parts) => [...parts.map((part) => Uint8Array.from(part)), new Uint8Array(16)],
  open: (_key, _nonce, _ad, sealed) => Uint8Array.from(sealed.subarray(0, -16)),
})

/** All bytes on the wires of a whole run, and what must not be among them: tensors, weights, keys. */
async function wireOf(aeads: Aeads, link: 'direct' | 'relay') {
  const tensors: Uint8Array[] = []
  const keys: Uint8Array[] = []
  const recording: Aeads = (alg) => {
    const aead = aeads(alg)
    return {
      seal(key, nonce, ad, parts) {
        // An activation is a prefix and its tensors; what the hub says in its sessions is one part.
        if (ad.length > 0 && ad[1] === 1) for (const part of parts.slice(1)) tensors.push(Uint8Array.from(part))
        else if (ad.length > 0 && ad[1] === 2) keys.push(...secretsOf(parts))
        return aead.seal(key, nonce, ad, parts)
      },
      open: (key, nonce, ad, sealed) => aead.open(key, nonce, ad, sealed),
    }
  }
  const fleet = await Fleet.start({ devices: 3, link, aeads: recording, seed: `secrecy/${link}` })
  const seen: Uint8Array[] = []
  fleet.network.tap((bytes) => seen.push(Uint8Array.from(bytes)))
  const client = await fleet.addClient()
  const { cut } = await fleet.deploy({ name: 'digits', model: workload.model, sample: workload.sample, stages: 3 })
  await fleet.during(client.ready())
  for (let i = 0; i < requests; i++) await fleet.during(client.infer(workload.request(i)))
  await fleet.close()
  const weights = parseModel(cut.whole).graph.initializer.map(({ rawData }) => rawData)
  return { tensors, weights, keys, seen: [concat(seen)] }
}

/** The 32-byte secrets in a control message: seeds, pair roots, segment keys. */
function secretsOf(parts: readonly Uint8Array[]): Uint8Array[] {
  const found: Uint8Array[] = []
  const look = (value: unknown): void => {
    if (value instanceof Uint8Array) found.push(...(value.length === 32 ? [Uint8Array.from(value)] : []))
    else if (Array.isArray(value)) value.forEach(look)
  }
  const message = decodeControl(concat(parts))
  if (message[0] === 64) found.push(Uint8Array.from(message[7])) // of a pair root, not the public key beside it
  else if (message[0] === 2) found.push(Uint8Array.from(message[3])) // of a segment key, not the hash of its file
  // The relay's token is its MQTT password: a credential of the broker, clear on the wire until that is TLS.
  else if (message[0] !== 67) look(message)
  return found
}

for (const link of ['direct', 'relay'] as const) {
  t.test(`no 16 bytes of a tensor, a weight or a key are seen on any wire (${link})`, async (t) => {
    const { tensors, weights, keys, seen } = await wireOf(nodeAeads, link)
    t.ok(tensors.length >= requests * 4, 'every hop was recorded')
    t.ok(keys.length > 10, 'keys were recorded')
    t.equal(sharedWindow(tensors, seen), undefined, 'tensors')
    t.equal(sharedWindow(weights, seen), undefined, 'weights')
    t.equal(sharedWindow(keys, seen), undefined, 'keys')
  })
}

t.test('the same search finds tensors, weights and keys when nothing is sealed', async (t) => {
  const { tensors, weights, keys, seen } = await wireOf(nullAeads, 'direct')
  t.type(sharedWindow(tensors, seen), 'string', 'tensors')
  t.type(sharedWindow(weights, seen), 'string', 'weights')
  t.type(sharedWindow(keys, seen), 'string', 'keys')
})

t.test('the search finds one shared window anywhere, and no pattern that means nothing', (t) => {
  const secret = Uint8Array.from({ length: 100 }, (_, i) => (i * 37) & 255)
  const hidden = concat([new Uint8Array(1001).fill(9), secret.subarray(41, 57), new Uint8Array(77)])
  t.equal(sharedWindow([secret], [hidden]), Buffer.from(secret.subarray(41, 57)).toString('hex'))
  t.equal(sharedWindow([secret], [hidden.subarray(0, 1016)]), undefined)
  t.equal(sharedWindow([new Uint8Array(64)], [new Uint8Array(64)]), undefined)
  t.end()
})
