/** What people get wrong: each time one sentence that names the thing and the remedy, and a status of its own. */

import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { digits, freePort, programs, run, Running, startDevice, startHub } from '#test/support/processes.js'

type Program = keyof typeof programs
const fleet = `f${'0'.repeat(16)}`

/** Expects the program to end with this status and to say nothing but what matches; no stack, no second sentence. */
async function fails(
  t: Test,
  program: Program,
  args: readonly string[],
  status: number,
  words: RegExp,
  options?: Parameters<typeof run>[3],
): Promise<void> {
  const ended = await run(t, programs[program], args, options)
  const said = ended.stderr.replace(/^\{.*\}\n/gm, '') // the log, for programs
  t.equal(ended.status, status, ended.stderr)
  t.match(said, words)
  t.notMatch(ended.stderr, /\n {4}at /, 'no stack trace')
}

t.test('a command line that is wrong is answered by status 2 and what was meant', async (t) => {
  await fails(t, 'tessera', [], 2, /^Usage: tessera .*model .*demo .*Exit status:/s)
  await fails(t, 'tessera', ['dmo'], 2, /^error: unknown command 'dmo'\n\(Did you mean demo\?\)\n\('tessera --help'/)
  await fails(t, 'tessera', ['demo', '--requets', '3'], 2, /\(Did you mean --requests\?\)\n\('tessera demo --help'/)
  await fails(t, 'tessera', ['demo', '--devices', '65'], 2, /whole number from 1 to 64/)
  await fails(t, 'tessera', ['demo', '--model', 'm.onnx'], 2, /^tessera: --model needs --data: .* \[usage\]\n$/)
  await fails(t, 'tessera', ['demo', '--data', '.'], 2, /^tessera: --data goes with --model: /)
  await fails(t, 'device', ['--flet', fleet], 2, /\(Did you mean --fleet\?\)/)
  await fails(t, 'device', ['--link', 'radio'], 2, /Allowed choices are auto, direct, relay/)
  await fails(t, 'hub', ['--confg', 'x'], 2, /\(Did you mean --config\?\)/)
})

t.test('help fits 80 columns, and the version is the package’s', async (t) => {
  const { version } = JSON.parse(readFileSync(join(digits, '../../../package.json'), 'utf8')) as { version: string }
  for (const program of Object.keys(programs) as Program[]) {
    const help = await run(t, programs[program], ['--help'])
    t.equal(help.status, 0)
    t.match(help.stdout, /^Usage: .*\nExit status:\n {2}0 {2}done/s)
    t.strictSame(
      help.stdout.split('\n').filter((line) => line.length > 80),
      [],
      program,
    )
    t.equal((await run(t, programs[program], ['--version'])).stdout, `${version}\n`)
  }
})

t.test('settings that are wrong are all told at once, with their places', async (t) => {
  const folder = t.testdir({
    'hub.yaml': 'listen:\n  prot: 1883\n  host: 10.0.0.7\ndeploy:\n  name: x\n  model: m.onnx\n  stages: 0\n',
    'device.yaml': 'fleet: f12\nengine: fast\n',
    'good.yaml': `fleet: ${fleet}\n`,
  })
  await fails(
    t,
    'hub',
    ['--config', join(folder, 'hub.yaml')],
    3,
    /^tessera-hub: .*hub\.yaml:2:3 {2}'listen\.prot' is not a setting: did you mean 'port'\?\n.*hub\.yaml:3:9 {2}listen\.host must be .*, got '10\.0\.0\.7'\n.*hub\.yaml:7:11 {2}deploy\.stages must be at least 1, got 0 \[bad-config\]\n$/,
  )
  await fails(
    t,
    'device',
    ['--config', join(folder, 'device.yaml')],
    3,
    /device\.yaml:1:8 {2}fleet must be f and 16 hex digits, as the hub prints it, got 'f12'\n.*:2:9 {2}engine must be /,
  )
  await fails(
    t,
    'device',
    [],
    3,
    /^tessera-device: --fleet must be f and 16 hex digits, .*, got nothing \[bad-config\]\n$/,
  )
  await fails(
    t,
    'device',
    ['--config', join(folder, 'good.yaml'), '--hub', 'http://hub', '--hub-key', '12'],
    3,
    /^tessera-device: --hub must be mqtt:\/\/HOST:PORT, got 'http:\/\/hub'\n--hub-key must be 64 hex digits, .*, got 2 characters/,
  )
  await fails(t, 'device', ['--fleet', fleet, '--hub', 'mqtt://h:99999'], 3, /--hub must be mqtt:\/\/HOST:PORT/)
  await fails(t, 'hub', ['--config', join(folder, 'no.yaml')], 3, /no\.yaml does not exist: name an existing settings/)
})

t.test('a state folder that cannot be used is named with the remedy', async (t) => {
  const folder = t.testdir({
    file: 'a file',
    garbled: { id: 'dxyz\n' },
    half: { id: `d${'1'.repeat(32)}\n`, 'identity.pem': '-----BEGIN PRIVATE KEY-----\nMC4CAQ' },
    open: { id: `d${'1'.repeat(32)}\n`, 'identity.pem': 'x' },
    locked: {},
  })
  const state = (name: string): string[] => ['--fleet', fleet, '--state', join(folder, name)]
  chmodSync(join(folder, 'half/identity.pem'), 0o600)
  chmodSync(join(folder, 'open/identity.pem'), 0o644)
  await fails(
    t,
    'device',
    state('file/state'),
    3,
    /cannot keep an identity in the folder '.*file\/state' \(ENOTDIR.*\): make it writable, or set 'state'/,
  )
  await fails(t, 'device', state('garbled'), 3, /garbled\/id' holds no device id: restore the folder, or remove it/)
  await fails(t, 'device', state('half'), 3, /half\/identity\.pem holds no Ed25519 key in PKCS #8 PEM: restore it/)
  await fails(t, 'device', state('open'), 3, /open\/identity\.pem is open to others \(mode 644\): run chmod 600/)
  // Nothing is forbidden to root: then it is tried as somebody else.
  chmodSync(join(folder, 'locked'), 0o555)
  const uid = process.getuid?.() === 0 ? 65534 : undefined
  await fails(
    t,
    'device',
    state('locked/state'),
    3,
    /locked\/state' \(EACCES.*\): make it writable/,
    uid === undefined ? {} : { uid },
  )
})

t.test('an identity is made whole or not at all when the disk is full', async (t) => {
  const folder = t.testdir({})
  const args = ['--fleet', fleet, '--state', join(folder, 'state')]
  // A limit of no bytes for files is as near to a full disk as everybody can come.
  await fails(t, 'device', args, 3, /cannot (keep|write) .*state.*EFBIG/, { before: `trap '' XFSZ; ulimit -f 0;` })
  const later = new Running(t, programs.device, args)
  await later.says(/no hub answers/)
  t.match(await later.stop(), { status: 0 })
})

t.test('two processes in one folder are told apart before they can do harm', async (t) => {
  const folder = t.testdir({})
  const args = ['--fleet', fleet, '--state', join(folder, 'state'), '--hub', 'mqtt://127.0.0.1:9']
  const first = new Running(t, programs.device, args)
  await first.says(/no hub answers/)
  await fails(
    t,
    'device',
    args,
    3,
    /another process runs from the folder '.*state': set 'state' to a folder of its own/,
  )
  await first.stop('SIGKILL')
  const again = new Running(t, programs.device, args)
  await again.says(/no hub answers/) // a killed process bars nobody's way
})

t.test('a device says that no hub answers, goes on trying, and joins when there is one', async (t) => {
  const folder = t.testdir({})
  const port = await freePort()
  const hubs = join(folder, 'hub')
  const settings = `listen: { port: ${port}, relayPort: 0 }\n`
  const { hub, joinArguments } = await startHub(t, hubs, settings)
  await hub.stop()

  const waiting = startDevice(t, { joinArguments }, join(folder, 'a'))
  await waiting.says(
    /^tessera-device: no hub answers at mqtt:\/\/127\.0\.0\.1:\d+ \(.*ECONNREFUSED.*\); trying on until it does$/m,
  )
  const asked = startDevice(t, { joinArguments }, join(folder, 'b'), '--no-wait')
  const stopped = startDevice(t, { joinArguments }, join(folder, 'c'))
  await stopped.says(/no hub answers/)
  t.match(
    await stopped.stop('SIGINT'),
    { status: 0, signal: null },
    'who is asked to stop meanwhile has done all it could',
  )

  t.match(await asked.ended, { status: 4 })
  t.match(
    asked.stderr,
    /no hub answers at 127\.0\.0\.1:\d+ \(.*ECONNREFUSED.*\): start the hub there or correct the address \[hub-unreachable\]\n$/,
  )
  const back = await startHub(t, hubs, settings)
  await waiting.says(/^d[0-9a-f]{32} joined fleet f[0-9a-f]{16} at mqtt/m)
  await back.hub.stop()
  await waiting.says(/^tessera-device: lost the hub at mqtt:\/\/.*; direct links go on, trying to come back$/m)
  t.match(await waiting.stop(), { status: 0 })
})

t.test('a port in use is named, for each of the two, and nothing is left open', async (t) => {
  const folder = t.testdir({})
  const taken = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => taken.once('listening', resolve))
  const { port } = taken.address() as AddressInfo
  for (const [control, relay] of [
    [port, 0],
    [0, port],
  ]) {
    writeFileSync(join(folder, 'hub.yaml'), `state: state\nlisten: { port: ${control}, relayPort: ${relay} }\n`)
    await fails(
      t,
      'hub',
      ['--config', join(folder, 'hub.yaml')],
      4,
      new RegExp(
        `^tessera-hub: 127\\.0\\.0\\.1:${port} is in use: stop the program .* choose another port \\[port-in-use\\]\\n$`,
      ),
    )
  }
  const device = join(folder, 'device.yaml')
  writeFileSync(device, `fleet: ${fleet}\nstate: device\nlisten: { port: ${port} }\n`)
  await fails(
    t,
    'device',
    ['--config', device],
    4,
    /port \d+ on 127\.0\.0\.1 is taken: stop the program .*set another port/,
  )
  taken.close()
})

t.test('a model that cannot be used is told before anything is started, by the demo and by the hub', async (t) => {
  const folder = t.testdir({ 'page.onnx': '<html>', empty: { test_data_set_0: {} } })
  const model = join(digits, 'model.onnx')
  writeFileSync(join(folder, 'half.onnx'), readFileSync(model).subarray(0, 20_000))
  const mistakes: [status: number, words: RegExp, file: string, data: string][] = [
    [3, /there is no file '.*absent\.onnx': give the path of an ONNX file/, join(folder, 'absent.onnx'), digits],
    [6, /page\.onnx': the file is no ONNX model: export the network to ONNX first/, join(folder, 'page.onnx'), digits],
    [
      6,
      /half\.onnx': the ONNX file is truncated or damaged .*: fetch or export it again/,
      join(folder, 'half.onnx'),
      digits,
    ],
    [6, /is not a file; name the \.onnx file in it/, folder, digits],
    [6, /holds 0 inputs, .*\(image\)/, model, join(folder, 'empty')],
  ]
  for (const [status, words, file, data] of mistakes) {
    const demo = await run(t, programs.tessera, ['demo', '--once', '--model', file, '--data', data])
    t.match(demo, { status, stderr: words, stdout: /^$/ })
    const settings = `listen: { port: 0, relayPort: 0 }\nstate: state\ndeploy: { name: x, model: '${file}', data: '${data}', stages: 2 }\n`
    writeFileSync(join(folder, 'hub.yaml'), settings)
    await fails(t, 'hub', ['--config', join(folder, 'hub.yaml')], status, words)
  }
  await fails(
    t,
    'tessera',
    ['demo', '--once', '--model', model, '--data', folder],
    6,
    /holds no test_data_set_K folder/,
  )
})

t.test('a model that has no such many cuts is refused when it is cut, and everything ends', async (t) => {
  const demo = await run(t, programs.tessera, ['demo', '--once', '--devices', '20'])
  t.match(demo, {
    status: 6,
    stderr:
      /^tessera: the model has \d+ legal cuts, so it cannot be cut into 20 segments: ask for at most \d+ \[cannot-cut\]\n$/,
  })
})

t.test('a disk that is full at one device is told there and at the hub, and harms nobody else', async (t) => {
  const folder = t.testdir({})
  const deploy = `deploy: { name: digits, model: '${join(digits, 'model.onnx')}', data: '${digits}', stages: 2 }\n`
  const fleet = await startHub(t, join(folder, 'hub'), deploy)
  const other = startDevice(t, fleet, join(folder, 'a'))
  const limited = new Running(t, programs.device, [...fleet.joinArguments, '--state', join(folder, 'b')], {
    before: `trap '' XFSZ; ulimit -f 64;`,
  })
  await limited.says(
    /^tessera-device: cannot take the stage: cannot keep the segment file .*b\/segments\/\S+: the disk is full \(EFBIG\): free some room, then start the device again$/m,
  )
  await fleet.hub.says(
    /^tessera-hub: device d\w+ cannot take stage \d: cannot keep the segment file .* \[bad-segment\]$/m,
  )
  t.ok(fleet.hub.isRunning)
  t.ok(other.isRunning)
  t.ok(limited.isRunning)
  await limited.stop()
  startDevice(t, fleet, join(folder, 'b'))
  await fleet.hub.says(/^'digits' is ready in 2 sealed segments/m)
})
