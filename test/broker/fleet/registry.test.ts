import t from 'tap'
import { Registry } from '#broker/fleet/registry.js'
import { newDeviceId } from '#shared/ids.js'
import type { Birth } from '#shared/protocol/messages.js'
import { seededRandom } from '#shared/random.js'

const random = seededRandom('registry')
const birth = (role: Birth['role'] = 'device'): Birth => ({
  role,
  name: 'shelf',
  key: new Uint8Array(32),
  boxKey: random(32),
  versions: { tessera: '0', node: '0', onnxRuntime: '0' },
  cpu: { arch: 'x64', model: 'x', cores: 2, aesInstructions: true },
  memoryBytes: 1,
})
const [a, b, client] = [newDeviceId(random), newDeviceId(random), newDeviceId(random)]

t.test(
  'a member is new, then known, then restarted, and only the last forgets what the process before reported',
  (t) => {
    const registry = new Registry()
    const [first, second] = [random(8), random(8)]
    t.equal(registry.born(a, birth(), first), 'new')
    registry.note(a, { assigned: { rev: 1, state: 'ready' }, endpoint: { addresses: [] }, state: 'offline' })
    t.equal(registry.born(a, birth(), first), 'known')
    t.match(registry.get(a), { assigned: { rev: 1 }, state: 'online' }, 'who introduces itself is here')
    t.equal(registry.born(a, birth(), second), 'restarted')
    t.equal(registry.get(a)!.assigned, undefined)
    t.strictSame(registry.get(a)!.endpoint, { addresses: [] }, 'it is told again by who says it, and no secret')
    t.strictSame(registry.get(a)!.bootId, second)
    t.end()
  },
)

t.test('stages go to devices that are online, in the order in which they came', (t) => {
  const registry = new Registry()
  for (const [id, role] of [
    [b, 'device'],
    [client, 'client'],
    [a, 'device'],
  ] as const) {
    registry.born(id, birth(role), random(8))
  }
  const ids = (members: readonly { id: string }[]) => members.map(({ id }) => id)
  t.strictSame(ids(registry.available()), [b, a])
  t.strictSame(ids(registry.clients()), [client])
  registry.note(b, { state: 'offline' })
  t.strictSame(ids(registry.available()), [a])
  registry.born(b, birth(), random(8))
  t.strictSame(ids(registry.available()), [b, a], 'who comes back has its place')
  t.strictSame(ids(registry.all()), [b, client, a])
  t.end()
})

t.test('what a stranger reports is not noted', (t) => {
  const registry = new Registry()
  registry.note(a, { state: 'online' })
  t.equal(registry.get(a), undefined)
  t.strictSame(registry.all(), [])
  t.end()
})
