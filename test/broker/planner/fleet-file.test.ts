import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { fleetFile, loadFleet, parseFleet } from '#broker/planner/fleet-file.js'
import { maxFleetDevices, nodeTimeUs, plannedLink } from '#broker/planner/fleet.js'
import { matches } from '#broker/planner/node-pattern.js'
import { Refusal } from '#shared/errors.js'
import { generated } from '#scripts/generate.js'
import { refuses } from '#test/support/refusal.js'

const root = resolve(import.meta.dirname, '../../../..')
const two = 'devices:\n  - { name: a, memory: 1 GiB, zone: x }\n  - { name: b, memory: 64 MiB, speed: 0.5, zone: y }\n'

t.test('the example is taken, names every setting, and its schema is the one for editors', async (t) => {
  const path = join(root, 'config/fleet.yaml')
  const text = readFileSync(path, 'utf8')
  const fleet = await loadFleet(path)
  t.equal(fleet.devices.length, 6)
  const file = join('config', /^# yaml-language-server: \$schema=(\S+)/.exec(text)![1]!)
  const schema = JSON.parse(generated()[file]!) as Schema
  const words = text.replace(/\n *#(?: {2,}#)? /g, ' ')
  for (const { key, description } of settingsOf(schema)) {
    t.match(text, new RegExp(String.raw`(^|[{ ])(# )?(- )?${key}:`, 'm'), key)
    const opening = (description ?? '').split('. ')[0]!.split(': ')[0]!.replace(/\.$/, '')
    t.ok(words.includes(opening), `${key} is explained as in the schema: ${opening}`)
  }
})

t.test('devices of a count get numbers, and links are looked up by device, name, zone and direction', (t) => {
  const fleet = parseFleet(
    `
client: { zone: x }
devices:
  - { name: a, memory: 1 GiB, zone: x }
  - { name: cam, count: 2, memory: 64 MiB, zone: y }
linkDefaults: { rate: 80 Mbit/s, rtt: 1 ms, message: 10 us }
links:
  - { between: [any, any], rtt: 4 ms }
  - { between: [a, y], rate: 1 Gbit/s }
  - { between: [cam-2, a], rate: 8 Mbit/s, oneWay: true }
  - { between: [client, any], message: 1 us }
policy: { nearZones: [[y, x]] }
`,
    'fleet.yaml',
  )
  t.strictSame(
    fleet.devices.map(({ name }) => name),
    ['a', 'cam-1', 'cam-2'],
  )
  t.equal(fleet.links[0]![1]!.bytesPerUs, 125)
  t.equal(fleet.links[0]![2]!.bytesPerUs, 125)
  t.equal(fleet.links[2]![0]!.bytesPerUs, 1)
  t.match(fleet.links[1]![2], { bytesPerUs: 10, rttUs: 4000, messageUs: 10 }, 'field by field, the last one wins')
  t.match(fleet.links[0]![0], { rttUs: 4000 }, 'also to another device like this one')
  t.match(fleet.fromClient[1], { rttUs: 1000, messageUs: 1 }, 'a rule for any device is none for the client')
  t.end()
})

t.test('policy decides which devices may share an edge, and leaves the client alone', (t) => {
  const linksOf = (more: string) =>
    parseFleet(two + more, 'fleet.yaml').links.map((row) => row.map((l) => l !== undefined))
  t.strictSame(
    linksOf(''),
    [
      [true, false],
      [false, true],
    ],
    'near by default',
  )
  t.strictSame(linksOf('policy: { near: false }\n'), [
    [true, true],
    [true, true],
  ])
  t.strictSame(linksOf('policy: { nearZones: [[x, y]] }\n'), [
    [true, true],
    [true, true],
  ])
  t.strictSame(linksOf('policy: { near: false, tier: T3 }\nlinks: [{ between: [a, b], tier: T3 }]\n'), [
    [false, true],
    [true, false],
  ])
  t.strictSame(linksOf('policy: { near: false }\nlinks: [{ between: [a, b], kind: none, oneWay: true }]\n'), [
    [true, false],
    [true, true],
  ])
  const fleet = parseFleet(two, 'fleet.yaml')
  t.ok([...fleet.fromClient, ...fleet.toClient].every((link) => link !== undefined))
  t.end()
})

t.test('a relayed link costs what the broker costs, and half its round trip is its latency', (t) => {
  const fleet = parseFleet(`${two}linkDefaults: { kind: relay, rate: 1 MB/s, rtt: 2 ms, message: 5 us }\n`, 'f.yaml')
  const relay = { messageUs: 100, byteUs: 0.5 }
  t.strictSame(plannedLink(fleet.links[0]![0], relay), { messageUs: 105, byteUs: 1.5, latencyUs: 1000 })
  t.equal(plannedLink(undefined, relay), undefined)
  t.end()
})

t.test('measured times stand instead of the speed', (t) => {
  const { devices } = parseFleet(
    'devices: [{ name: a, memory: 1 MB, speed: 0.5, times: { "conv*": 3 ms, conv2: 1 ms } }]',
    'fleet.yaml',
  )
  t.equal(nodeTimeUs(devices[0]!, 'conv1', 10), 3000)
  t.equal(nodeTimeUs(devices[0]!, 'conv2', 10), 1000, 'the last one that fits wins')
  t.equal(nodeTimeUs(devices[0]!, 'relu', 10), 20)
  t.end()
})

const device = 'devices:\n  - name: cam\n    memory: 1 GiB\n'
const mistakes: [title: string, text: string, says: string | RegExp][] = [
  ['no device', 'devices: []\n', 'f.yaml:1:10  devices must be a list of at least one device, got a list of 0'],
  ['an empty file', '', 'f.yaml:1:1  devices must be a list of devices, got nothing'],
  [
    'an unknown key',
    `${device}    memry: 5\n`,
    "f.yaml:4:5  'devices[0].memry' is not a setting: did you mean 'memory'?",
  ],
  ['an unknown key of the file', `${device}lnks: []\n`, "f.yaml:4:1  'lnks' is not a setting: did you mean 'links'?"],
  [
    'an unknown unit',
    'devices:\n  - name: cam\n    memory: 1 Gib\n',
    "f.yaml:3:13  devices[0].memory must be an amount of memory like 512 MiB, and 'Gib' is no unit of it (did you mean 'GiB'?), got '1 Gib'",
  ],
  [
    'an amount without a unit',
    'devices:\n  - name: cam\n    memory: 512\n',
    'f.yaml:3:13  devices[0].memory must be an amount of memory with its unit, like 512 MiB, got 512',
  ],
  [
    'no memory at all',
    'devices:\n  - name: cam\n    memory: 0 MiB\n',
    /memory must be an amount of memory, more than 0/,
  ],
  [
    'a memory that is left out',
    'devices:\n  - name: cam\n',
    /f\.yaml:2:5 {2}devices\[0\]\.memory must be .*got nothing/,
  ],
  [
    'a rate of 0',
    `${device}linkDefaults: { rate: 0 Mbit/s }\n`,
    /f\.yaml:4:23 {2}linkDefaults\.rate must be a rate, more than 0/,
  ],
  ['a unit of another kind', `${device}linkDefaults: { rate: 5 ms }\n`, /'ms' is no unit of it/],
  ['a time below 0', `${device}linkDefaults: { rtt: -1 ms }\n`, /rtt must be a time, not less than 0/],
  ['a time past all patience', `${device}linkDefaults: { rtt: 9000 s }\n`, /at most 3600 s/],
  [
    'a speed of 0',
    `${device}    speed: 0\n`,
    'f.yaml:4:12  devices[0].speed must be a number above 0, from 0.000001 to 1000000, got 0',
  ],
  [
    'a speed below 0',
    `${device}    speed: -1\n`,
    /f\.yaml:4:12 {2}devices\[0\]\.speed must be a number above 0.*, got -1/,
  ],
  [
    'a speed that is not a number',
    `${device}    speed: .nan\n`,
    /f\.yaml:4:12 {2}devices\[0\]\.speed must be a number/,
  ],
  ['an infinite speed', `${device}    speed: .inf\n`, /f\.yaml:4:12 {2}devices\[0\]\.speed must be/],
  ['a count of 0', `${device}    count: 0\n`, /count must be at least 1, got 0/],
  [
    'a name that is there twice',
    `${device}  - { name: cam, memory: 1 GB }\n`,
    "f.yaml:4:13  devices[1].name must be a name of its own: device 1 of the list is called 'cam' as well, got 'cam'",
  ],
  [
    'a name that a count makes',
    `${device}    count: 2\n  - { name: cam-2, memory: 1 GB }\n`,
    /f\.yaml:5:13 .*called 'cam-2' as well/,
  ],
  [
    'a name that means something else',
    'devices:\n  - { name: any, memory: 1 GB }\n',
    /another name: 'any' has a meaning of its own/,
  ],
  ['a device named like a zone', 'devices:\n  - { name: here, memory: 1 GB }\n', /it is that of a zone as well/],
  [
    'too many devices',
    `${device}    count: 500\n  - { name: b, count: 13, memory: 1 GB }\n`,
    new RegExp(`at most ${maxFleetDevices} devices in all, they are 513`),
  ],
  [
    'an unknown device in a link',
    `${device}links:\n  - between: [cam, client]\n  - between: [cma, client]\n`,
    "f.yaml:6:15  links[1].between[0] must be a device, a zone, client or any (did you mean 'cam'?), got 'cma'",
  ],
  ['a link with one end', `${device}links: [{ between: [cam] }]\n`, /f\.yaml:4:/],
  [
    'a link of the client with itself',
    `${device}links: [{ between: [client, client] }]\n`,
    /two ends, of which one is a device/,
  ],
  [
    'an unknown kind of link',
    `${device}links: [{ between: [cam, cam], kind: dirct }]\n`,
    /kind must be 'direct', 'relay' or 'none', got 'dirct'/,
  ],
  [
    'an unknown zone',
    `${device}policy: { nearZones: [[here, ther]] }\n`,
    /nearZones\[0\]\[1\] must be a zone of a device .*got 'ther'/,
  ],
  [
    'an unknown tag',
    `${device}    tags: [wired]\ndemands: [{ nodes: x, tag: wried }]\n`,
    /tag must be a tag of a device \(did you mean 'wired'\?\)/,
  ],
  [
    'a demand that no device meets',
    `${device}demands: [{ nodes: x, hardware: tee }]\n`,
    /f\.yaml:4:33 .*a level that a device of the fleet has, got 'tee'/,
  ],
  ['a demand of nothing', `${device}demands: [{ nodes: x }]\n`, /a demand with hardware, zone or tag/],
  [
    'an unknown device in a pin',
    `${device}pins:\n  - { nodes: conv1, device: camra }\n`,
    "f.yaml:5:29  pins[0].device must be a device of the list (did you mean 'cam'?), got 'camra'",
  ],
  [
    'an unknown node in a pin',
    `${device}pins: [{ nodes: conv9, device: cam }]\n`,
    /f\.yaml:4:17 .*the name of a node of the model \(did you mean 'conv1'\?\)/,
  ],
  ['an unknown node in measured times', `${device}    times: { cnov1: 1 ms }\n`, /f\.yaml:4:21 .*the name of a node/],
  ['a measured time of 0', `${device}    times: { conv1: 0 ms }\n`, /a time above 0, more than 0/],
]

for (const [title, text, says] of mistakes) {
  t.test(`refused with its place: ${title}`, async (t) => {
    const pattern = typeof says === 'string' ? new RegExp(`^${says.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`) : says
    await refuses(t, 'bad-config', pattern, () => parseFleet(text, 'f.yaml', ['conv1', 'relu']))
    await refuses(t, 'bad-config', /^f\.yaml:\d+:\d+ {2}/, () => parseFleet(text, 'f.yaml', ['conv1', 'relu']))
  })
}

t.test('names of nodes are taken as they come where the model is not known yet', (t) => {
  t.ok(parseFleet(`${device}pins: [{ nodes: conv9, device: cam }]\n`, 'f.yaml'))
  t.end()
})

t.test('no text is anything but a fleet or a refusal', (t) => {
  const line = fc.constantFrom(
    ...`${two}${device}links:\n  - between: [a, b]\n    rate: 3 Mbit/s\npins:\n  - { nodes: "*", device: a }\n`.split(
      '\n',
    ),
    'devices: [{}]',
    'links: 7',
    '- 4',
    '    count: 1e9',
  )
  fc.assert(
    fc.property(fc.array(line, { maxLength: 9 }), (lines) => {
      try {
        parseFleet(lines.join('\n'), 'f.yaml', ['n'])
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
      }
    }),
    { numRuns: 300 },
  )
  t.end()
})

t.test('a pattern of nodes is a name in which * stands for any text', (t) => {
  for (const [pattern, node, isMeant] of [
    ['conv1', 'conv1', true],
    ['conv1', 'conv10', false],
    ['conv*', 'conv10', true],
    ['*', '', true],
    ['*1*', 'a1b', true],
    ['a*a', 'a', false],
    ['a*b*c', 'a-b-c', true],
    ['a*b*c', 'a-c', false],
    ['a**c', 'ac', true],
  ] as const) {
    t.equal(matches(pattern, node), isMeant, `${pattern} ${node}`)
  }
  t.end()
})

interface Schema {
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
}

/** Every setting with a value of its own. */
function settingsOf({ properties, items }: Schema): { key: string; description: string | undefined }[] {
  if (items !== undefined) return settingsOf(items)
  return Object.entries(properties ?? {}).flatMap(([key, inner]) => [
    { key, description: inner.description },
    ...settingsOf(inner),
  ])
}

t.test('the shape knows no key that its schema does not', (t) => {
  t.strictSame(
    Object.keys(fleetFile.shape).sort(),
    Object.keys((JSON.parse(generated()['config/schema/fleet.schema.json']!) as Schema).properties!).sort(),
  )
  t.end()
})
