import t from 'tap'
import * as fc from 'fast-check'
import { SteppedClock } from '#shared/clock.js'
import { newIdentity, verifyWith } from '#shared/crypto/identity.js'
import { newDeviceId, newFleetId } from '#shared/ids.js'
import { Inbox } from '#shared/protocol/inbox.js'
import { Outbox } from '#shared/protocol/outbox.js'
import { seededRandom } from '#shared/random.js'
import { sampleBody } from '#test/support/messages.js'

const random = seededRandom('inbox')
const fleet = newFleetId(random)
const identity = newIdentity(random)
const [hub, device, peer] = [newDeviceId(random), newDeviceId(random), newDeviceId(random)]

function parties() {
  const clock = new SteppedClock()
  const boot = (from = device, bootId = random(8)): Outbox =>
    new Outbox({ fleet, from, bootId, clock, sign: identity.sign })
  const inbox = new Inbox({ fleet, clock, hub: () => hub, verifierOf: () => verifyWith(identity.publicKey) })
  const hear = (sealed: { topic: string; payload: Uint8Array }, retained = false): string => {
    try {
      const { message } = inbox.read(sealed.topic, sealed.payload, retained)
      return message.name === 'status' ? message.body.state : message.name
    } catch (error) {
      t.match(error, { name: 'Refusal' })
      return (error as { code: string }).code
    }
  }
  return { clock, boot, inbox, hear }
}
const online = { state: 'online' } as const
const offline = { state: 'offline' } as const

t.test('numbers may not go back: each message of a topic is heard once, in the order in which it was said', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(9), { maxLength: 30 }), (order) => {
      const { boot, hear } = parties()
      const out = boot()
      const said = Array.from({ length: 10 }, () => out.seal('status', [device], online))
      let highest = -1
      for (const i of order) {
        t.equal(hear(said[i]!), i > highest ? 'online' : 'replayed')
        highest = Math.max(highest, i)
      }
    }),
    { numRuns: 50 },
  )
  t.end()
})

t.test('each topic is counted for itself, so that what the broker kept may come after newer words', (t) => {
  const { boot, hear } = parties()
  const out = boot()
  const kept = out.seal('status', [device], online)
  const later = out.seal('birth', [device], sampleBody('birth'))
  t.equal(hear(later), 'birth')
  t.equal(hear(kept, true), 'online')
  t.equal(hear(kept, true), 'online', 'and again, after the next connection')
  t.equal(hear(kept), 'replayed', 'but not as news')
  const newer = out.seal('status', [device], offline)
  t.equal(hear(newer), 'offline')
  t.equal(hear(kept, true), 'replayed', 'nor once there was something newer')
  t.end()
})

t.test('a last will counts after all of its own connection and before all of the next', (t) => {
  const { boot, hear } = parties()
  const out = boot()
  const firstWill = out.sealWill('status', [device], offline)
  t.equal(hear(out.seal('status', [device], online)), 'online')
  for (let i = 0; i < 100; i++) out.seal('birth', [device], sampleBody('birth'))
  t.equal(hear(out.seal('status', [device], { state: 'draining' })), 'draining')
  t.equal(hear(firstWill), 'offline')
  t.equal(hear(firstWill), 'replayed')

  const secondWill = out.sealWill('status', [device], offline)
  t.equal(hear(out.seal('status', [device], online)), 'online')
  const thirdWill = out.sealWill('status', [device], offline)
  const back = out.seal('status', [device], online)
  t.equal(hear(back), 'online')
  t.equal(hear(secondWill), 'replayed', 'the end of an old connection does not end the new one')
  t.equal(hear(thirdWill), 'offline')
  t.end()
})

t.test('a new boot begins anew, and the boots before it stay over', (t) => {
  const { boot, hear } = parties()
  const boots = Array.from({ length: 10 }, () => boot())
  const unsaid = boots.map((out) => out.seal('status', [device], online))
  const old = boots.map((out) => out.seal('status', [device], online))
  for (const said of unsaid) t.equal(hear(said), 'online')
  for (const said of old.slice(0, -1)) t.equal(hear(said), 'replayed')
  t.equal(hear(old.at(-1)!), 'online')
  t.end()
})

t.test('what has expired is refused, to the millisecond', (t) => {
  const { clock, boot, hear } = parties()
  const out = boot(hub)
  const expiresMs = clock.nowMs() + 50
  const said = Array.from({ length: 2 }, () => out.seal('command', [device], { name: 'drain' }, { expiresMs }))
  clock.step(50)
  t.equal(hear(said[0]!), 'command')
  clock.step(1)
  t.equal(hear(said[1]!), 'replayed')
  t.end()
})

t.test('a message is refused unless it is from whom its topic belongs to', (t) => {
  const { boot, hear } = parties()
  const honest = { hub: boot(hub), device: boot(device), peer: boot(peer) }
  const command = { name: 'drain' } as const
  t.equal(hear(honest.hub.seal('command', [device], command)), 'command')
  t.equal(hear(honest.device.seal('command', [device], command)), 'unknown-sender', 'the device is not the hub')
  t.equal(hear(honest.peer.seal('status', [device], online)), 'unknown-sender', "in another's branch")
  t.equal(hear(honest.hub.seal('status', [device], online)), 'unknown-sender', 'not even the hub')
  t.equal(hear(honest.peer.seal('peer', [device, peer], new Uint8Array(3))), 'peer')
  t.equal(
    hear(honest.device.seal('peer', [device, peer], new Uint8Array(3))),
    'unknown-sender',
    'unsigned, under a wrong name',
  )
  t.equal(hear(honest.peer.seal('in', [device, hub], new Uint8Array(3))), 'unknown-sender')
  t.end()
})

t.test('a forged message does not use up the number of the true one', (t) => {
  const { boot, hear, clock } = parties()
  const bootId = random(8)
  const forger = new Outbox({ fleet, from: device, bootId, clock, sign: newIdentity(random).sign })
  for (let i = 0; i < 5; i++) t.equal(hear(forger.seal('status', [device], online)), 'bad-signature')
  t.equal(hear(boot(device, bootId).seal('status', [device], online)), 'online')
  t.end()
})

t.test('a topic that is not in the table is refused; a forgotten sender begins anew', (t) => {
  const { boot, hear, inbox } = parties()
  const said = boot().seal('status', [device], online)
  t.equal(hear({ ...said, topic: said.topic + '/x' }), 'not-allowed')
  t.equal(hear(said), 'online')
  t.equal(hear(said), 'replayed')
  inbox.forget(device)
  t.equal(hear(said), 'online')
  t.end()
})

t.test('message ids are distinct within a boot', (t) => {
  const { boot, inbox } = parties()
  const out = boot()
  const ids = new Set<string>()
  for (let i = 0; i < 3; i++) {
    const sealed = [
      out.sealWill('status', [device], offline),
      ...Array.from({ length: 20 }, () => out.seal('birth', [device], sampleBody('birth'))),
    ]
    for (const { topic, payload } of sealed)
      ids.add(Buffer.from(inbox.read(topic, payload).message.envelope.id).toString('hex'))
    inbox.forget(device)
  }
  t.equal(ids.size, 63)
  t.end()
})
