import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { CommanderError } from 'commander'
import t from 'tap'
import { readPlan, type PlanDocument } from '#broker/planner/plan-document.js'
import { toHex } from '#shared/bytes.js'
import { identityFrom, saveIdentity } from '#shared/crypto/identity.js'
import { Refusal } from '#shared/errors.js'
import { programNamed } from '#shared/program.js'
import { planCommand } from '#scripts/cli/plan.js'
import { buildModel, node, noise, port } from '#test/support/models.js'

const root = resolve(import.meta.dirname, '../../../..')
const program = join(root, 'dist/scripts/tessera.js')
const digits = join(root, 'config/models/digits-resnet/model.onnx')

interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

async function plan(...args: string[]): Promise<Ended> {
  return new Promise((done) => {
    const child = execFile(process.execPath, [program, 'plan', ...args], (_, stdout, stderr) =>
      done({ status: child.exitCode ?? -1, stdout, stderr }),
    )
  })
}

interface Summary {
  readonly plan: PlanDocument
  readonly bottleneck: { readonly kind: string; readonly says: string }
  readonly certificate: string
  readonly next: readonly { readonly words: string; readonly gain: number }[]
  readonly changes: readonly { readonly kind: string; readonly gain: number }[]
  readonly idle: readonly string[]
}

async function whatIf(...args: string[]): Promise<Summary> {
  const ended = await plan('what-if', ...args, '--json')
  if (ended.status !== 0) throw new Error(ended.stderr)
  return JSON.parse(ended.stdout.trimEnd().split('\n').at(-1)!) as Summary
}

/** Four nodes in a row with a dynamic batch. */
async function smallModel(folder: string): Promise<string> {
  const file = join(folder, 'small.onnx')
  const model = buildModel({
    nodes: [
      node('MatMul', ['x', 'w'], ['h'], {}, { name: 'project' }),
      node('Relu', ['h'], ['r']),
      node('Tanh', ['r'], ['s']),
      node('Add', ['s', 'x'], ['y'], {}, { name: 'sum' }),
    ],
    inputs: [port('x', 'float32', ['N', 64])],
    outputs: [port('y', 'float32', ['N', 64])],
    weights: { w: noise([64, 64], 'w') },
  })
  await writeFile(file, model)
  return file
}

t.test('what-if plans the bundled model, and the plan can be kept, signed, explained and compared', async (t) => {
  const folder = t.testdir({
    'fleet.yaml': 'devices: [{ name: gateway, memory: 1 GiB }, { name: camera, memory: 64 MiB, speed: 0.5 }]\n',
  })
  const [first, second, drawing, key] = ['a.json', 'b.json', 'a.svg', 'identity.pem'].map((name) => join(folder, name))
  const identity = identityFrom(new Uint8Array(32).fill(3))
  await saveIdentity(key!, identity)
  const fleet = join(folder, 'fleet.yaml')
  const source = ['--model', digits, '--fleet', fleet, '--granularity', 'layer', '--seconds', '60']
  const found = await whatIf(...source, '--out', first!, '--svg', drawing!, '--identity', key!)
  t.equal(found.plan.model.name, 'digits-resnet')
  t.equal(found.plan.certificate.gap, 0)
  t.match(found.certificate, /proven/)
  t.match(found.bottleneck.says, /\w/)
  t.ok(found.changes.some(({ kind }) => kind === 'without'))
  const kept = readPlan(await readFile(first!, 'utf8'), 'a.json')
  t.strictSame(kept, found.plan)
  t.equal(kept.signature!.key, toHex(identity.publicKey))
  t.match(await readFile(drawing!, 'utf8'), /^<svg .*stage 0/s)

  const human = await plan('what-if', ...source, '--objective', 'latency', '--out', second!)
  t.equal(human.status, 0, human.stderr)
  t.equal(human.stderr, '', 'progress is for terminals only')
  for (const word of [
    'stage',
    'throughput',
    'latency',
    'bottleneck',
    'certificate',
    'client',
    'next best',
    'digits-resnet',
  ])
    t.ok(human.stdout.includes(word), word)

  const explained = await plan('explain', first!)
  t.equal(explained.status, 0, explained.stderr)
  t.match(explained.stdout, new RegExp(`signed by ${toHex(identity.publicKey)}`))
  const twin = JSON.parse((await plan('explain', first!, '--json')).stdout) as { plan: PlanDocument }
  t.strictSame(twin.plan, kept)

  const compared = await plan('diff', first!, second!)
  t.equal(compared.status, 0, compared.stderr)
  t.match(compared.stdout, /objective throughput → latency/)
  t.match(compared.stdout, /latency +\S+ \S+ +→/)
  t.match(JSON.parse((await plan('diff', first!, first!, '--json')).stdout), {
    sameModel: true,
    devices: [],
    settings: [],
  })
})

t.test('pins are kept, by name and by pattern, on the command line and in the file', async (t) => {
  const folder = t.testdir({
    'fleet.yaml':
      'devices: [{ name: a, memory: 64 MiB }, { name: b, memory: 64 MiB, speed: 0.1 }]\npins: [{ nodes: project, device: b }]\n',
  })
  const model = await smallModel(folder)
  const source = ['--model', model, '--dims', 'N=8', '--level', 'disabled', '--fleet', join(folder, 'fleet.yaml')]
  const found = await whatIf(...source, '--pin', 'su*=a', '--seconds', '1')
  const deviceOf = (name: string) =>
    found.plan.stages.find(({ nodes }) => nodes.includes(name))?.members.map(({ device }) => device)
  t.strictSame(deviceOf('project'), ['b'])
  t.strictSame(deviceOf('sum'), ['a'])
  t.equal(found.plan.stages.length, 2)
})

t.test('each mistake gets one sentence and a status of its own', async (t) => {
  const folder = t.testdir({
    'fleet.yaml': 'devices: [{ name: a, memory: 64 MiB }]\n',
    'wrong.yaml': 'devices:\n  - { name: a, memory: 64 MiB, sped: 2 }\n',
    'pinned.yaml': 'devices: [{ name: a, memory: 64 MiB }]\npins: [{ nodes: projct, device: a }]\n',
    'tiny.yaml': 'devices: [{ name: a, memory: 1 kB }]\n',
    'plan.json': '{ "format": "tessera-plan/9" }',
  })
  const fleet = join(folder, 'fleet.yaml')
  const model = ['--model', await smallModel(folder), '--dims', 'N=1', '--level', 'disabled']
  const mistakes: [status: number, words: RegExp, ...args: string[]][] = [
    [
      3,
      /wrong\.yaml:2:32 {2}'devices\[0\]\.sped' is not a setting: did you mean 'speed'\? \[bad-config\]/,
      'what-if',
      ...model,
      '--fleet',
      join(folder, 'wrong.yaml'),
    ],
    [
      3,
      /pinned\.yaml:2:17 {2}pins\[0\]\.nodes must be the name of a node of the model \(did you mean 'project'\?\), got 'projct'/,
      'what-if',
      ...model,
      '--fleet',
      join(folder, 'pinned.yaml'),
    ],
    [3, /absent\.yaml does not exist/, 'what-if', ...model, '--fleet', join(folder, 'absent.yaml')],
    [3, /no file '.*absent\.onnx'/, 'what-if', '--model', join(folder, 'absent.onnx'), '--fleet', fleet],
    [6, /\[cannot-plan\]/, 'what-if', ...model, '--fleet', join(folder, 'tiny.yaml')],
    [
      6,
      /the pin 'projct=a' names no node .*did you mean 'project'\? \[cannot-plan\]/,
      'what-if',
      ...model,
      '--fleet',
      fleet,
      '--pin',
      'projct=a',
    ],
    [
      6,
      /the pin 'project=b' names no device of the fleet/,
      'what-if',
      ...model,
      '--fleet',
      fleet,
      '--pin',
      'project=b',
    ],
    [2, /cannot write '.*nowhere/, 'what-if', ...model, '--fleet', fleet, '--out', join(folder, 'nowhere/plan.json')],
    [2, /throughput, latency, memory or batch:N/, 'what-if', ...model, '--fleet', fleet, '--objective', 'batch:0'],
    [2, /not of the form node=device/, 'what-if', ...model, '--fleet', fleet, '--pin', 'project'],
    [2, /Allowed choices are 8, 16, 32/, 'what-if', ...model, '--fleet', fleet, '--bits', '4'],
    [2, /whole number from 1 to 512/, 'what-if', ...model, '--fleet', fleet, '--replicas', '0'],
    [2, /required option '--fleet <file>'/, 'what-if', ...model],
    [
      3,
      /plan\.json:1:\d+ {2}format must be 'tessera-plan\/1', got 'tessera-plan\/9'/,
      'explain',
      join(folder, 'plan.json'),
    ],
    [3, /absent\.json does not exist/, 'diff', join(folder, 'absent.json'), join(folder, 'plan.json')],
    [2, /unknown command 'what'/, 'what'],
  ]
  for (const [status, words, ...args] of mistakes) {
    const said = await mistaken(['plan', ...args])
    t.match(said.words, words)
    t.equal(said.status, status, said.words)
  }
  const ended = await plan('explain', join(folder, 'plan.json'))
  t.match(ended.stderr, /^tessera: .*plan\.json:1:1 {2}/)
  t.equal(ended.status, 3)
})

/** How a command ends that must not succeed: without a process, which takes its time to start. */
async function mistaken(args: readonly string[]): Promise<{ status: number; words: string }> {
  const program = programNamed('tessera', 'in a test')
  let words = ''
  program.configureOutput({ writeErr: (text) => void (words += text) })
  planCommand(program)
  try {
    await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return { status: 2, words }
    if (error instanceof Refusal) return { status: error.exitStatus, words: `${error.message} [${error.code}]` }
    throw error
  }
  throw new Error('was done')
}
