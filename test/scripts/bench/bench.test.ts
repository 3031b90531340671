import t, { type Test } from 'tap'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { exitStatus } from '#shared/errors.js'
import type { Figure } from '#scripts/bench/figure.js'

t.setTimeout(240_000)

const main = join(import.meta.dirname, '../../../scripts/bench/main.js')

interface Ended {
  readonly status: number | null
  readonly lines: readonly string[]
  readonly errors: string
}

function bench(...given: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [main, ...given], { stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    let errors = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text))
    child.once('close', (status) => resolve({ status, errors, lines: out.split('\n').filter((line) => line !== '') }))
  })
}

/** The environment, the figures and the closing line of a run with `--json`; fails unless they are there. */
async function figuresOf(t: Test, ...given: string[]): Promise<Figure[]> {
  const { status, lines, errors } = await bench(...given, '--json', '--quick')
  t.equal(status, 0, errors)
  const [first, ...rest] = lines.map((line) => JSON.parse(line) as unknown)
  t.match(first, {
    environment: { node: process.version, onnxRuntime: String, cpu: String, cores: Number, load: Number },
  })
  const figures = rest.slice(0, -1).filter((line) => !('absent' in (line as object))) as Figure[]
  t.match(rest.at(-1), {
    figures: figures.length,
    barsMissed: figures.filter(({ bar }) => bar?.isMet === false).length,
  })
  for (const figure of figures) {
    t.match(figure, { bench: given[0]!, case: String, figure: String, value: Number, unit: String, repeats: Number })
    t.ok(
      figure.min <= figure.value && figure.value <= figure.max,
      `${figure.case}, ${figure.figure}: the median lies between`,
    )
    if (figure.peer === undefined) continue
    t.ok(
      figure.peerValue! > 0 && figure.ratioMin! <= figure.ratio! && figure.ratio! <= figure.ratioMax!,
      'so does the ratio',
    )
  }
  return figures
}

t.test('frame says what a sealed hop costs beside plain framing, raw TCP, itself and a copy', async (t) => {
  const figures = await figuresOf(t, 'frame')
  const peers = new Set(figures.map(({ peer }) => peer))
  for (const peer of ['plain framed', 'raw TCP', 'itself (A/A)', 'memcpy']) t.ok(peers.has(peer), peer)
  const fit = figures.filter(({ case: of }) => of.startsWith('sealed, fit'))
  t.same(
    fit.map(({ figure, bar }) => [figure, bar?.atMost]),
    [
      ['fixed', 50],
      ['per byte', 1.8],
    ],
  )
})

t.test(
  'planner says what plans cost and how far they may be from the best, and which peers were not there',
  async (t) => {
    const figures = await figuresOf(t, 'planner')
    t.match(
      figures
        .filter(({ figure, bar }) => figure === 'gap' && bar !== undefined)
        .map(({ bar, value }) => [bar?.atMost, value]),
      [
        [0, 0],
        [0, 0],
        [0, 0],
      ],
    )
    t.ok(figures.some(({ case: of }) => of.startsWith('growth, ')))
    const { lines } = await bench('planner', '--quick')
    for (const peer of ['PipeEdge', 'dnn-partitioning'])
      t.ok(lines.some((line) => line.startsWith(`absent: ${peer} (--`)))
  },
)

t.test(
  'pipeline compares real devices with replicas, one process, a naive build, no cipher and the relay',
  async (t) => {
    const figures = await figuresOf(t, 'pipeline', '--models', 'S', '--devices', '1,2')
    const of = (title: string): Figure[] => figures.filter(({ case: shown }) => shown === title)
    t.match(
      of('S, 1 device').map(({ peer }) => peer),
      ['one process', 'one process', 'stages alone'],
    )
    const peers = new Set(of('S, 2 devices').map(({ peer }) => peer))
    for (const peer of ['two replicas', 'slowest stage', 'one process', 'naive', 'unsealed', 'relay', 'sealed']) {
      t.ok(peers.has(peer), peer)
    }
    for (const { figure, value } of figures) if (figure === 'bit-equal to the unsplit') t.equal(value, 1)
    t.ok(figures.every(({ cpuMs }) => cpuMs === undefined || cpuMs > 0))
  },
)

t.test('for people the figures are tables', async (t) => {
  const { status, lines } = await bench('frame', '--quick')
  t.equal(status, 0)
  t.match(lines[0], /^Node .*, ONNX Runtime .*, load /)
  t.ok(lines.includes('frame: 1 KiB'))
  t.ok(lines.some((line) => /^sealed hop +\S+ us CPU /.test(line)))
})

t.test('a bench that there is not is refused with the names of those that there are', async (t) => {
  const { status, errors } = await bench('speed')
  t.equal(status, exitStatus.usage)
  t.match(errors, /no bench 'speed'; there are frame, .*pipeline/)
})

t.test('networks and numbers of devices that cannot be are refused', async (t) => {
  for (const given of [
    ['--models', 'XL'],
    ['--devices', '0'],
    ['--devices', '2,many'],
    ['--engine', 'remote'],
  ]) {
    const { status, errors } = await bench('pipeline', ...given)
    t.equal(status, exitStatus.usage, given.join(' '))
    t.match(errors, given[0]!)
  }
})

t.test(
  'prediction says what was foretold of a slowed fleet beside what it did, and how far the two are apart',
  async (t) => {
    const figures = await figuresOf(t, 'prediction', '--models', 'S')
    const pairs = figures.filter(({ figure }) => figure.startsWith('predicted'))
    t.equal(pairs.length, 2)
    for (const { peer, peerValue, value } of pairs) t.ok(peer === 'achieved' && peerValue! > 0 && value > 0)
    const errors = figures.filter(({ figure }) => figure.startsWith('median error'))
    t.equal(errors.length, 2)
    t.strictSame(
      errors.map(({ bar }) => bar?.atMost),
      [undefined, 0.1],
    )
  },
)
