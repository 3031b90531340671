import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { z } from 'zod'
import {
  checkSettings,
  configLimitBytes,
  jsonSchemaOf,
  loadConfig,
  optionOf,
  parseConfig,
  shownProblems,
} from '#shared/config.js'
import { Refusal } from '#shared/errors.js'

const shape = z.strictObject({
  listen: z.strictObject({
    host: z.string().regex(/^[a-z0-9.]+$/, 'a host name or an address'),
    port: z.int().min(1).max(65535).default(1883),
  }),
  graceMs: z.number().positive().optional(),
  cipher: z.enum(['auto', 'aes', 'chacha']).optional(),
  radios: z
    .array(z.strictObject({ name: z.string().min(1) }))
    .max(2)
    .optional(),
  limits: z.record(z.string().regex(/^[a-z]+$/, 'lower case'), z.int()).optional(),
  store: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('file'), path: z.string() }),
      z.strictObject({ kind: z.literal('memory') }),
    ])
    .optional(),
  size: z.union([z.strictObject({ width: z.int(), height: z.int() }), z.int()]).optional(),
  seedPin: z.string().optional(),
})

const good = 'listen:\n  host: hub.local\n'

function refusalOf(text: string): string {
  try {
    parseConfig(text, 'hub.yaml', shape)
  } catch (error) {
    if (error instanceof Refusal && error.code === 'bad-config') return error.message
    throw error
  }
  throw new Error('was accepted')
}

t.test('settings are read from YAML and from JSON, defaults filled in', (t) => {
  const read = { listen: { host: 'hub.local', port: 1883 } }
  t.strictSame(parseConfig(good, 'hub.yaml', shape), read)
  t.strictSame(parseConfig('{\n\t"listen": { "host": "hub.local" }\n}', 'hub.json', shape), read)
  t.strictSame(parseConfig('# all defaults\n', 'x.yaml', z.strictObject({ a: z.int().default(1) })), { a: 1 })
  t.end()
})

const refused: [title: string, text: string, says: string][] = [
  ['a wrong type', 'listen: 5\n', 'hub.yaml:1:9  listen must be a map of settings, got 5'],
  [
    'a wrong type that has rules on its size',
    `${good}radios: many\n`,
    "hub.yaml:3:9  radios must be a list, got 'many'",
  ],
  ['a broken number', `${good}  port: 18.5\n`, 'hub.yaml:3:9  listen.port must be a whole number, got 18.5'],
  ['a number past its limit', `${good}  port: 99999\n`, 'hub.yaml:3:9  listen.port must be at most 65535, got 99999'],
  ['a number that must be positive', `${good}graceMs: 0\n`, 'hub.yaml:3:10  graceMs must be more than 0, got 0'],
  [
    'a word that is none of the choices',
    `${good}cipher: rot13\n`,
    "hub.yaml:3:9  cipher must be 'auto', 'aes' or 'chacha', got 'rot13'",
  ],
  [
    'a text of a wrong form',
    'listen: { host: a_b }\n',
    "hub.yaml:1:17  listen.host must be a host name or an address, got 'a_b'",
  ],
  ['a setting that is missing', 'listen: { port: 1 }\n', 'hub.yaml:1:9  listen.host must be a text, got nothing'],
  ['an empty file', '', 'hub.yaml:1:1  listen must be a map of settings, got nothing'],
  ['a file that is no map', '- 1\n', 'hub.yaml:1:1  the file must be a map of settings, got a list of 1'],
  [
    'a list that is too long',
    `${good}radios: [{name: a}, {name: b}, {name: c}]\n`,
    'hub.yaml:3:9  radios must be at most 2 entries long, got a list of 3',
  ],
  [
    'an entry of a list',
    `${good}radios:\n  - name: a\n  - name: ''\n`,
    "hub.yaml:5:11  radios[1].name must be at least 1 character long, got ''",
  ],
  ['an unknown setting', `${good}ciphre: aes\n`, "hub.yaml:3:1  'ciphre' is not a setting: did you mean 'cipher'?"],
  [
    'a setting without its unit',
    `${good}grace: 5\n`,
    "hub.yaml:3:1  'grace' is not a setting: did you mean 'graceMs'?",
  ],
  [
    'an unknown setting within',
    'listen:\n  host: h\n  prot: 1\n',
    "hub.yaml:3:3  'listen.prot' is not a setting: did you mean 'port'?",
  ],
  [
    'an unknown setting like no other',
    'listen:\n  host: h\n  zzz: 1\n',
    "hub.yaml:3:3  'listen.zzz' is not a setting; known here: host, port",
  ],
  [
    'an unknown setting in a list',
    `${good}radios: [{name: a, nmae: b}]\n`,
    "hub.yaml:3:20  'radios[0].nmae' is not a setting: did you mean 'name'?",
  ],
  [
    'a key that would reach the prototype',
    `${good}__proto__: {}\n`,
    "hub.yaml:3:1  '__proto__' is not a setting; known here: listen, graceMs, cipher, radios, limits, store, size, seedPin",
  ],
  ['a name of a wrong form', `${good}limits: { Frames: 3 }\n`, "hub.yaml:3:11  the name 'Frames' must be lower case"],
  [
    'a kind that is not known',
    `${good}store: { kind: cloud }\n`,
    "hub.yaml:3:16  store.kind must be 'file' or 'memory', got 'cloud'",
  ],
  [
    'a kind that lacks its setting',
    `${good}store: { kind: file }\n`,
    'hub.yaml:3:8  store.path must be a text, got nothing',
  ],
  [
    'a value of none of two types',
    `${good}size: big\n`,
    "hub.yaml:3:7  size must be a map of settings or a number, got 'big'",
  ],
  [
    'a value of one of two types with a fault within',
    `${good}size: { width: 1, hieght: 2 }\n`,
    "hub.yaml:3:7  size.height must be a number, got nothing\nhub.yaml:3:19  'size.hieght' is not a setting: did you mean 'height'?",
  ],
  ['a secret, without showing it', `${good}seedPin: 1234\n`, 'hub.yaml:3:10  seedPin must be a text, got 4 characters'],
  ['a setting given twice', `${good}listen: 3\n`, 'hub.yaml:3:1  this is no valid YAML: Map keys must be unique'],
  [
    'two documents',
    `${good}---\na: 1\n`,
    'hub.yaml:3:1  this is no valid YAML: Source contains multiple documents; please use YAML.parseAllDocuments()',
  ],
  ['a tag', `${good}graceMs: !!js 3\n`, 'hub.yaml:3:10  this is no valid YAML: Unresolved tag: tag:yaml.org,2002:js'],
  ['a key that is no text', `${good}? [1]\n: 2\n`, 'hub.yaml:3:3  a key must be a plain text'],
  [
    'an alias without its anchor',
    'listen: *there\n',
    'hub.yaml:1:9  *there refers to an anchor that is not set before it',
  ],
]

for (const [title, text, says] of refused) {
  t.test(`${title} is refused with its place and what was expected`, (t) => {
    t.equal(refusalOf(text), says)
    t.end()
  })
}

t.test('a fault behind an alias is shown where the value stands', (t) => {
  t.equal(
    refusalOf('listen: &l { host: h }\nradios: [*l]\n').split('\n')[0],
    "hub.yaml:1:14  'radios[0].host' is not a setting; known here: name",
  )
  t.end()
})

t.test('YAML that does not parse is refused at the line of the fault', (t) => {
  t.match(refusalOf('listen:\n  host: [a, b\ngraceMs: 3\n'), /^hub\.yaml:3:1 {2}this is no valid YAML: Flow sequence/)
  t.end()
})

t.test('all problems are told at once in the order of the file, and at most ten', (t) => {
  const lines = refusalOf(
    `cipher: x\nlisten: 1\n${Array.from({ length: 12 }, (_, at) => `zzz${at}: 1\n`).join('')}`,
  ).split('\n')
  t.equal(lines.length, shownProblems + 1)
  t.equal(lines[0], "hub.yaml:1:9  cipher must be 'auto', 'aes' or 'chacha', got 'x'")
  t.equal(lines[1], 'hub.yaml:2:9  listen must be a map of settings, got 1')
  t.equal(lines.at(-1), '… and 4 more')
  t.end()
})

t.test('a file that unfolds without end or is too long is refused', (t) => {
  const nested = 'abcdef'
    .split('')
    .map((name, at, all) => `${name}: &${name} [${`${at === 0 ? 1 : `*${all[at - 1]}`},`.repeat(9)}]`)
  t.match(refusalOf(nested.join('\n')), /^hub\.yaml cannot be unfolded: Excessive alias count/)
  t.match(refusalOf(' '.repeat(configLimitBytes + 1)), /^hub\.yaml is longer than 1048576 bytes/)
  t.end()
})

t.test('whatever the text, it is read or refused, and nothing else is thrown', (t) => {
  const line = fc.tuple(
    fc.constantFrom(
      'listen',
      'host',
      '  host',
      '  port',
      'radios',
      '  - name',
      'size',
      '&a',
      '*a',
      '? ',
      '<<',
      '__proto__',
      '- ',
    ),
    fc.constantFrom(': ', ':', ' ', ': {', ': [', ': |\n', ': !!set ', ': &a ', ': *a'),
    fc.constantFrom('1', 'x', '}', ']', '~', '"', "'", '1e999', '.nan', '0x', '{a: 1}', '#', '\t', '%'),
  )
  const text = fc.oneof(
    fc.string(),
    fc.array(line).map((lines) => lines.map((parts) => parts.join('')).join('\n')),
  )
  fc.assert(
    fc.property(text, (text) => {
      try {
        parseConfig(text, 'x.yaml', shape)
      } catch (error) {
        if (!(error instanceof Refusal && error.code === 'bad-config')) throw error
      }
    }),
    { numRuns: 500 },
  )
  t.pass('500 texts')
  t.end()
})

t.test('a file is loaded by its path, which every complaint names', async (t) => {
  const folder = t.testdir({ 'hub.yaml': good })
  const file = join(folder, 'hub.yaml')
  t.strictSame(await loadConfig(file, shape), { listen: { host: 'hub.local', port: 1883 } })
  writeFileSync(file, 'listen: 1\n')
  await t.rejects(loadConfig(file, shape), {
    code: 'bad-config',
    message: `${file}:1:9  listen must be a map of settings, got 1`,
  })
  const absent = join(folder, 'absent.yaml')
  await t.rejects(loadConfig(absent, shape), {
    code: 'missing-file',
    message: `${absent} does not exist: name an existing settings file`,
  })
  await t.rejects(loadConfig(folder, shape), {
    code: 'missing-file',
    message: `${folder} cannot be read (EISDIR): name an existing settings file`,
  })
})

t.test('what was given on the command line is complained about by its option, not by a place in the file', (t) => {
  t.throws(() => parseConfig(`${good}cipher: x\n`, 'hub.yaml', shape, { graceMs: 0, seedPin: 3 }), {
    code: 'bad-config',
    message: '--grace-ms must be more than 0, got 0\n--seed-pin must be a text, got 1 characters',
  })
  t.strictSame(parseConfig(good, 'hub.yaml', shape, { graceMs: 5 }).graceMs, 5)
  t.end()
})

t.test('settings that stand in no file are complained about under the names that their writer knows', (t) => {
  const listen = { host: 'h' }
  t.strictSame(checkSettings({ listen }, shape), { listen: { host: 'h', port: 1883 } })
  t.throws(() => checkSettings({ listen, graceMs: 'x' }, shape), { message: "graceMs must be a number, got 'x'" })
  t.throws(() => checkSettings({ listen, seedPin: 1 }, shape, optionOf), { message: /^--seed-pin must be a text/ })
  t.throws(() => checkSettings({ listen, ciphre: 1 }, shape), { message: /'ciphre' is not a setting: did you mean/ })
  t.end()
})

t.test('an editor is told of every setting by the JSON Schema, and that defaults may be left out', (t) => {
  const schema = jsonSchemaOf(shape, 'Hub settings') as {
    title: string
    properties: { listen: { required: string[] } }
  }
  t.equal(schema.title, 'Hub settings')
  t.strictSame(schema.properties.listen.required, ['host'])
  t.match(schema, { additionalProperties: false, properties: { cipher: { enum: ['auto', 'aes', 'chacha'] } } })
  t.end()
})
