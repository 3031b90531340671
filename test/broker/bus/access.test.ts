import t from 'tap'
import * as fc from 'fast-check'
import { isLate, mayPublish, maySubscribe, type Rights } from '#broker/bus/access.js'
import { newDeviceId, newFleetId, type DeviceId } from '#shared/ids.js'
import { filterOf, filtersOf, fleetRoot, topicOf, topics, type Topic, type TopicName } from '#shared/protocol/topics.js'
import { seededRandom } from '#shared/random.js'

const random = seededRandom('access')
const fleet = newFleetId(random)
const [self, peer, other, hub] = [0, 1, 2, 3].map(() => newDeviceId(random)) as [DeviceId, DeviceId, DeviceId, DeviceId]
const planes = ['control', 'relay'] as const
const rightsOn = (plane: Topic['plane']): Rights => ({ fleet, plane, device: self, peers: new Set([peer, hub]) })
const entries = Object.entries(topics) as [TopicName, Topic][]

/** Levels that make a valid topic of `name` in the branch of `branch`, said by `from`. */
const levelsOf = (name: TopicName, branch: DeviceId, from: DeviceId): string[] =>
  name === 'blob' ? [branch, 'ab12cd34', '7'] : [branch, from].slice(0, topics[name].path.split('<').length - 1)

t.test(
  'a device publishes on its own branch and in the inboxes of its peers, under its own name: nowhere else',
  (t) => {
    for (const plane of planes) {
      for (const [name, entry] of entries) {
        for (const branch of [self, peer, other, hub]) {
          for (const from of [self, peer, other]) {
            const expected =
              entry.plane === plane &&
              ((entry.from === 'device' && branch === self) ||
                (entry.from === 'peer' && from === self && (branch === peer || branch === hub)))
            const topic = topicOf(fleet, name, ...levelsOf(name, branch, from))
            t.equal(mayPublish(rightsOn(plane), topic), expected, `${plane}: ${name} of ${branch} by ${from}`)
          }
        }
      }
    }
    t.end()
  },
)

t.test('what a device reads is the list that the table makes, each filter exactly', (t) => {
  for (const plane of planes) {
    const own = filtersOf(fleet, plane, self, [peer, hub])
    t.ok(own.length > 0)
    for (const { filter } of own) t.ok(maySubscribe(rightsOn(plane), filter), filter)
    for (const [name, entry] of entries) {
      const readable = entry.plane === plane && entry.to !== 'hub'
      const mine = entry.to === 'all' ? [] : [entry.to === 'device' ? self : peer]
      t.equal(maySubscribe(rightsOn(plane), filterOf(fleet, name, ...mine)), readable, `${plane}: ${name}`)
      if (entry.to === 'all') continue
      t.notOk(maySubscribe(rightsOn(plane), filterOf(fleet, name, other)), `${name} of a stranger`)
      t.notOk(maySubscribe(rightsOn(plane), filterOf(fleet, name)), `${name} of everybody`)
    }
  }
  t.end()
})

t.test('wider, narrower, shared and system filters are refused', (t) => {
  const root = fleetRoot(fleet)
  const filters = [
    '#',
    '+/#',
    '+',
    '$SYS/#',
    '$SYS/+/new/clients',
    `$share/all/${root}/hub`,
    `${root}/#`,
    `${root}/d/${self}/#`,
    `${root}/d/${self}/+`,
    `${root}/d/+/status`,
    `${root}/d/${self}/peer/${peer}`,
    `${root}/d/${self}/peer/#`,
    `tessera/1/${newFleetId(random)}/hub`,
    `/${root}/hub`,
    `${root}/hub/`,
    '',
    'constructor',
    '__proto__',
  ]
  for (const plane of planes) {
    for (const filter of filters) t.notOk(maySubscribe(rightsOn(plane), filter), filter)
  }
  t.end()
})

t.test('no two filters of a device overlap, however many peers it has', (t) => {
  const matches = (filter: string, topic: string): boolean => {
    const levels = topic.split('/')
    return (
      filter.split('/').every((part, i) => part === '+' || part === levels[i]) &&
      filter.split('/').length === levels.length
    )
  }
  const ids = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 8 })
  fc.assert(
    fc.property(ids, fc.constantFrom(...planes), (numbers, plane) => {
      const peers = numbers.map((n) => [self, peer, other, hub, self, peer][n]!)
      const own = filtersOf(fleet, plane, self, peers).map(({ filter }) => filter)
      t.equal(new Set(own).size, own.length)
      for (const [name] of entries) {
        for (const branch of [self, peer, other, hub]) {
          const topic = topicOf(fleet, name, ...levelsOf(name, branch, peer))
          t.ok(own.filter((filter) => matches(filter, topic)).length <= 1, topic)
        }
      }
    }),
    { numRuns: 20 },
  )
  t.end()
})

t.test('no topic outside the table is allowed, whatever it looks like', (t) => {
  const known = new Set(
    entries.flatMap(([name]) =>
      [self, peer, hub].flatMap((a) => [self, peer].map((b) => topicOf(fleet, name, ...levelsOf(name, a, b)))),
    ),
  )
  const parts = [
    fleetRoot(fleet),
    'd',
    self,
    peer,
    'status',
    'peer',
    'in',
    'blob',
    'get',
    '',
    '+',
    '#',
    '\0',
    '\ufffd',
    '__proto__',
  ]
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...parts), { maxLength: 7 }), fc.constantFrom(...planes), (levels, plane) => {
      const topic = levels.join('/')
      if (!known.has(topic)) t.notOk(mayPublish(rightsOn(plane), topic), JSON.stringify(topic))
    }),
    { numRuns: 2000 },
  )
  t.end()
})

t.test('speaking under its own name to a former peer is late; anything else that is refused is not', (t) => {
  t.ok(isLate(rightsOn('relay'), topicOf(fleet, 'in', other, self)))
  t.ok(isLate(rightsOn('control'), topicOf(fleet, 'peer', other, self)))
  t.notOk(isLate(rightsOn('relay'), topicOf(fleet, 'in', peer, self)), 'allowed')
  t.notOk(isLate(rightsOn('relay'), topicOf(fleet, 'in', other, peer)), 'under another name')
  t.notOk(isLate(rightsOn('control'), topicOf(fleet, 'in', other, self)), 'on the wrong broker')
  t.notOk(isLate(rightsOn('control'), topicOf(fleet, 'status', other)), 'not an inbox')
  t.end()
})
