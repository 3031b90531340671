import { execFile } from 'node:child_process'
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import t, { type Test } from 'tap'
import { encodeTensorFile } from '#shared/onnx/tensor-file.js'
import { loadEngine } from '#shared/onnx/session.js'
import { buildModel, floats, node, noise, port } from '#test/support/models.js'

const program = resolve(import.meta.dirname, '../../scripts/tessera.js')

interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

async function tessera(...args: string[]): Promise<Ended> {
  return new Promise((done) => {
    const child = execFile(process.execPath, [program, 'model', ...args], (_, stdout, stderr) =>
      done({ status: child.exitCode ?? -1, stdout, stderr }),
    )
  })
}

function lastLine(text: string): Record<string, unknown> {
  return JSON.parse(text.trimEnd().split('\n').at(-1) ?? '') as Record<string, unknown>
}

/** A model of four nodes with a dynamic batch, in a folder; with data for a batch of two, if wanted. */
async function modelIn(t: Test, withData: boolean): Promise<string> {
  const folder = t.testdir({})
  const file = join(folder, 'model.onnx')
  const model = buildModel({
    nodes: [
      node('MatMul', ['x', 'w'], ['h']),
      node('Relu', ['h'], ['r']),
      node('Tanh', ['r'], ['s']),
      node('Add', ['s', 'x'], ['y']),
    ],
    inputs: [port('x', 'float32', ['N', 3])],
    outputs: [port('y', 'float32', ['N', 3])],
    weights: { w: noise([3, 3], 'w') },
  })
  await writeFile(file, model)
  if (withData) {
    const x = noise([2, 3], 'x')
    const session = await (await loadEngine()).create(model, { level: 'disabled' })
    const { y } = await session.run({ x })
    await session.release()
    await mkdir(join(folder, 'test_data_set_0'))
    await writeFile(join(folder, 'test_data_set_0', 'input_0.pb'), encodeTensorFile('x', x))
    await writeFile(join(folder, 'test_data_set_0', 'output_0.pb'), encodeTensorFile('y', y ?? floats([], [])))
  }
  return file
}

t.test('check says what a model is, and what stands against it', async (t) => {
  const file = await modelIn(t, false)
  const open = await tessera('check', file)
  t.equal(open.status, 6)
  t.match(open.stdout, /x +float32\[N,3\]/)
  t.match(open.stderr, /dynamic dimension 'N'; give its size \(N=1\).*\[dynamic-shape\]/)
  const pinned = await tessera('check', file, '--dims', 'N=2', '--json', '--level', 'disabled')
  t.equal(pinned.status, 0)
  const found = lastLine(pinned.stdout)
  t.match(found, {
    dynamicDims: ['N'],
    weightBytes: 36,
    opsets: { 'ai.onnx': 17 },
    prepared: { nodes: 4, legalCuts: 3, widestCut: 2, signature: 'x:float32[2,3]' },
  })
})

t.test('cuts lists every cut with what crosses', async (t) => {
  const file = await modelIn(t, true)
  const { status, stdout } = await tessera('cuts', file, '--level', 'disabled', '--json')
  t.equal(status, 0)
  const { cuts } = lastLine(stdout) as {
    cuts: { at: number; bytes: number; tensors: { name: string; bytes: number }[] }[]
  }
  t.strictSame(
    cuts.map(({ at, bytes }) => [at, bytes]),
    [
      [1, 48],
      [2, 48],
      [3, 48],
    ],
  )
  t.match(cuts[0]?.tensors, [
    { name: 'x', dtype: 'float32', shape: [2, 3], bytes: 24 },
    { name: 'h', bytes: 24 },
  ])
  const human = await tessera('cuts', file, '--level', 'disabled')
  t.match(human.stdout, /3 legal cuts/)
  t.match(human.stdout, /1 +MatMul +2 +48 B +█+ +x float32\[2,3\], h float32\[2,3\]/)
})

t.test('split writes segments that run in a row, and says that they are not encrypted', async (t) => {
  const file = await modelIn(t, true)
  const out = join(t.testdirName, 'segments')
  const { status, stderr, stdout } = await tessera(
    'split',
    file,
    '--into',
    '3',
    '--level',
    'disabled',
    '--out',
    out,
    '--json',
  )
  t.equal(status, 0)
  t.match(stderr, /not encrypted/)
  const manifest = JSON.parse(await readFile(join(out, 'segments.json'), 'utf8')) as {
    segments: { file: string; from: number; to: number }[]
  }
  t.strictSame(lastLine(stdout), manifest)
  t.equal(manifest.segments.length, 3)
  t.equal(manifest.segments.at(-1)?.to, 4)
  const engine = await loadEngine()
  for (const segment of manifest.segments) {
    const session = await engine.create(await readFile(join(out, segment.file)), { level: 'disabled' })
    t.ok(session.outputs.length > 0)
    await session.release()
  }
  const chosen = await tessera('split', file, '--at', '1,3', '--level', 'disabled', '--out', out)
  t.equal(chosen.status, 0)
  t.match(chosen.stdout, /segment-1\.onnx +1 to 3/)
})

t.test('verify tries every cut and ends with one line of JSON', async (t) => {
  const file = await modelIn(t, true)
  const { status, stdout, stderr } = await tessera('verify', file, '--cuts', 'all', '--level', 'disabled', '--json')
  t.equal(stderr, '')
  t.equal(status, 0)
  t.match(lastLine(stdout), {
    nodes: 4,
    cutsTried: 53,
    exact: 53,
    widestCut: 2,
    maxAbsDiff: 0,
    maxAbsDiffToOriginal: 0,
    maxAbsDiffToGolden: 0,
    failures: [],
  })
  const human = await tessera('verify', file, '--cuts', '2', '--seed', 'other')
  t.equal(human.status, 0)
  t.match(human.stdout, /exact +\d+/)
})

t.test('verify fails where a known output is not met', async (t) => {
  const file = await modelIn(t, true)
  await writeFile(
    join(t.testdirName, 'test_data_set_0', 'output_0.pb'),
    encodeTensorFile('y', noise([2, 3], 'another')),
  )
  const { status, stdout, stderr } = await tessera('verify', file, '--json')
  t.equal(status, 6)
  t.match(lastLine(stdout), { failures: [{ kind: 'golden', where: 'test_data_set_0' }] })
  t.match(stderr, /1 comparison.*golden.*test_data_set_0/)
})

t.test('each mistake gets one sentence and a status of its own', async (t) => {
  const file = await modelIn(t, true)
  const folder = t.testdirName
  await writeFile(join(folder, 'page.html'), '<html>')
  await writeFile(join(folder, 'half.onnx'), (await readFile(file)).subarray(0, 80))
  await writeFile(join(folder, 'huge.onnx'), '')
  await truncate(join(folder, 'huge.onnx'), 2 ** 31) // a sparse file: no bytes on the disk
  const out = ['--out', join(folder, 'out')]
  const mistakes: [status: number, words: RegExp, ...args: string[]][] = [
    [3, /no file '.*absent\.onnx': give the path.*\[missing-file\]/, 'check', join(folder, 'absent.onnx')],
    [6, /page\.html': the file is no ONNX model: .* \[not-onnx\]/, 'check', join(folder, 'page.html')],
    [6, /half\.onnx': the ONNX file is truncated/, 'verify', join(folder, 'half.onnx')],
    [6, /more than the 2 GiB/, 'check', join(folder, 'huge.onnx')],
    [6, /is not a file/, 'cuts', folder],
    [6, /holds no test_data_set/, 'verify', file, '--data', join(folder, 'nowhere')],
    [6, /cannot be cut into 9 segments.*\[cannot-cut\]/, 'split', file, '--into', '9', ...out],
    [6, /no cut at 9/, 'split', file, '--at', '9', ...out],
    [2, /either --into N or --at/, 'split', file, ...out],
    [2, /'some' is not a whole number/, 'verify', file, '--cuts', 'some'],
    [2, /not of the form name=size/, 'check', file, '--dims', 'N'],
    [2, /Allowed choices are disabled, basic, extended, all/, 'check', file, '--level', 'most'],
    [2, /unknown command 'chek'/, 'chek', file],
    [2, /missing required argument/, 'check'],
  ]
  for (const [status, words, ...args] of mistakes) {
    const ended = await tessera(...args)
    t.match(ended.stderr, words)
    t.equal(ended.status, status, ended.stderr)
    t.notMatch(ended.stderr, /\n {4}at /, 'no stack trace')
  }
})
