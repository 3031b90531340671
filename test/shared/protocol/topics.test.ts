import t from 'tap'
import * as fc from 'fast-check'
import { newDeviceId, newFleetId } from '#shared/ids.js'
import {
  branchOf,
  filterOf,
  fleetRoot,
  readTopic,
  topicOf,
  topics,
  type Topic,
  type TopicName,
} from '#shared/protocol/topics.js'
import { seededRandom } from '#shared/random.js'
import { topicNames } from '#test/support/messages.js'

const random = seededRandom('topics')
const fleet = newFleetId(random)
const [one, two] = [newDeviceId(random), newDeviceId(random)]
const levelsOf = (name: TopicName): string[] =>
  (topics[name].path.match(/<[^>]+>/g) ?? []).map((place) => ({ '<D>': one, '<from>': two })[place] ?? 'ab12')

t.test('every topic of the table is read back as itself, with what stood in its free levels', (t) => {
  for (const name of topicNames) {
    const levels = levelsOf(name)
    const topic = topicOf(fleet, name, ...levels)
    t.strictSame(readTopic(fleet, topic), { name, levels })
    t.equal(branchOf({ name, levels }), topics[name].path.startsWith('d/') ? one : undefined)
    t.ok(topic.length <= 200 && topic.split('/').length <= 8, `${name} is short enough for any broker`)
  }
  t.end()
})

t.test('no two topics of the table can be taken for each other', (t) => {
  for (const name of topicNames) {
    for (const other of topicNames) {
      if (name === other) continue
      t.not(readTopic(fleet, topicOf(fleet, other, ...levelsOf(other)))?.name, name)
    }
  }
  t.end()
})

t.test('a topic with a level more, less or changed, or of another fleet, is none of the table', (t) => {
  const strange = fc.constantFrom(
    '',
    '+',
    '#',
    'D',
    two.toUpperCase(),
    '\u0000',
    '\ufffd',
    'a//b',
    'ü',
    '__proto__',
    'x'.repeat(65),
  )
  fc.assert(
    fc.property(fc.constantFrom(...topicNames), fc.nat(9), strange, (name, at, level) => {
      const parts = topicOf(fleet, name, ...levelsOf(name)).split('/')
      const place = at % parts.length
      const changed = parts.with(place, level).join('/')
      t.equal(readTopic(fleet, changed), undefined, JSON.stringify(changed))
      t.equal(readTopic(fleet, parts.toSpliced(place, 1).join('/'))?.name === name, false)
      t.equal(readTopic(fleet, [...parts, level].join('/')), undefined)
    }),
  )
  t.equal(readTopic(newFleetId(random), topicOf(fleet, 'hub')), undefined)
  t.equal(readTopic(fleet, ''), undefined)
  t.equal(readTopic(fleet, fleetRoot(fleet)), undefined)
  t.end()
})

t.test('a topic without a value for each of its levels is a bug, a filter leaves the rest open', (t) => {
  t.throws(() => topicOf(fleet, 'peer', one), /needs a value for <from>/)
  t.equal(filterOf(fleet, 'peer', one), `${fleetRoot(fleet)}/d/${one}/peer/+`)
  t.equal(filterOf(fleet, 'blob', one), `${fleetRoot(fleet)}/d/${one}/blob/+/+`)
  t.end()
})

t.test('the table keeps its own rules', (t) => {
  for (const [name, entry] of Object.entries(topics) as [TopicName, Topic][]) {
    t.equal(
      entry.signed,
      entry.body !== undefined,
      `${name}: what has a shape is signed, what is sealed or hashed is opaque`,
    )
    t.ok(!entry.retain || (entry.qos === 1 && entry.signed), `${name}: what is kept arrives, and is signed`)
    t.ok(entry.plane === 'control' || (entry.qos === 0 && !entry.retain), `${name}: the relay keeps nothing`)
    t.equal(entry.from === 'peer', entry.path.endsWith('/<from>'), `${name}: peers write under their own name`)
    t.equal(entry.from === 'hub' && entry.path === name, entry.to === 'all', `${name}: only the hub speaks to all`)
    t.match(entry.about, /^[A-Z].*\.$/)
  }
  t.end()
})
