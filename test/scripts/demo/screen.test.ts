import * as fc from 'fast-check'
import t from 'tap'
import { clip, colourPaint, draw, plainPaint, size, type ScreenStage, type ScreenState } from '#scripts/demo/screen.js'

const columns = (line: string): number => Array.from(line).length
// eslint-disable-next-line no-control-regex -- the sequences are what is looked for
const uncoloured = (line: string): string => line.replaceAll(/\u001b\[\d+m/g, '')

function stageOf(stage: number, more: Partial<ScreenStage> = {}): ScreenStage {
  return {
    label: String(stage),
    device: `d${String(stage).padStart(2, '0')}f8a91bc02e4d55aa0012345678901`,
    pid: 4_194_300 - stage,
    state: 'online',
    nodes: '1234-1250',
    sealedBytes: 1_234_567 * (stage + 1),
    computeMs: 0.4 + stage * 12.31,
    queued: stage,
    residentBytes: 134e6,
    link: 'direct',
    linkBytes: 98_765_432_100,
    ...more,
  }
}

function stateOf(stages: number, more: Partial<ScreenState> = {}): ScreenState {
  return {
    title: 'digits-resnet',
    hub: '127.0.0.1:45879',
    epoch: 1,
    upSeconds: 12.3,
    stages: Array.from({ length: stages }, (_, i) => stageOf(i)),
    requests: { results: 500, of: 1000, inFlight: 18 },
    throughput: 123.4,
    rates: Array.from({ length: 32 }, (_, i) => i),
    latencyMs: { p50: 12.3, p99: 123.4 },
    correct: 490,
    exact: 500,
    lost: 0,
    duplicated: 0,
    isLabelled: true,
    hint: 'Ctrl-C ends the demo and leaves nothing behind.',
    ...more,
  }
}

t.test('eight devices fit a terminal of 80 columns and 24 rows, each column under its name', (t) => {
  const lines = draw(stateOf(8), plainPaint, 24)
  t.ok(lines.length < 24)
  for (const line of lines) t.ok(columns(line) <= 80, `${columns(line)} columns: ${line}`)
  const [, header, first] = lines
  const at = (name: string): number => header!.indexOf(name)
  t.equal(first!.indexOf('d00f8a91b'), at('device'))
  t.equal(first!.indexOf('4194300'), at('pid'))
  t.equal(first!.indexOf('1234-1250'), at('nodes'))
  t.equal(first!.indexOf('1.2 MB'), at('sealed'))
  t.equal(first!.indexOf('134 MB') + 6, at('rss') + 3)
  t.equal(first!.indexOf('direct'), at('sends on'))
  t.end()
})

t.test('whatever the figures are, a row of a stage has at most 80 columns', (t) => {
  const stage: fc.Arbitrary<Partial<ScreenStage>> = fc.record({
    label: fc.nat(63).map(String),
    pid: fc.integer({ min: 1, max: 4_194_304 }),
    sealedBytes: fc.nat(2 ** 30),
    computeMs: fc.option(fc.double({ min: 0, max: 999, noNaN: true }), { nil: undefined }),
    state: fc.constantFrom('online', 'draining', 'offline'),
    queued: fc.nat(1024),
    residentBytes: fc.nat(2 ** 40),
    link: fc.constantFrom('direct', 'relay', 'none'),
    linkBytes: fc.nat(2 ** 45),
  })
  fc.assert(
    fc.property(fc.array(stage, { minLength: 1, maxLength: 8 }), (stages) => {
      const lines = draw(stateOf(0, { stages: stages.map((more) => stageOf(0, more)) }), plainPaint)
      return lines.slice(1, 2 + stages.length).every((line) => columns(line) <= 80)
    }),
  )
  t.pass('no counterexample')
  t.end()
})

t.test('colour changes no column, and stands for what it says', (t) => {
  const state = stateOf(3)
  t.strictSame(draw(state, colourPaint).map(uncoloured), draw(state, plainPaint))
  const said = (changes: Partial<ScreenState>): string => draw(stateOf(1, changes), colourPaint).join('\n')
  t.match(said({}), '\u001b[32mall 500 ✓\u001b[39m')
  t.match(said({ exact: 499 }), '\u001b[31m499 of 500 ✗\u001b[39m')
  t.match(said({ lost: 2 }), 'lost \u001b[31m2\u001b[39m')
  t.match(said({ duplicated: 1 }), 'twice \u001b[31m1\u001b[39m')
  t.end()
})

t.test('before the first result nothing is claimed', (t) => {
  const nothing = { requests: { results: 0, of: undefined, inFlight: 0 }, exact: 0, correct: 0, rates: [] }
  const text = draw(stateOf(1, { ...nothing, stages: [stageOf(0, { computeMs: undefined })] }), plainPaint).join('\n')
  t.match(text, 'no result yet')
  t.match(text, 'results    0  lost 0')
  t.notMatch(text, '✓')
  t.notMatch(text, 'NaN')
  t.match(text, /1234-1250 1\.2 MB {2}online/)
  t.end()
})

t.test('a terminal too low for all stages shows the first and counts the rest', (t) => {
  const lines = draw(stateOf(40), plainPaint, 24)
  t.ok(lines.length < 24)
  const shown = lines.filter((line) => line.includes('f8a91b')).length
  t.ok(lines.some((line) => line.includes(`and ${40 - shown} more`)))
  t.notOk(draw(stateOf(3), plainPaint, 24).some((line) => line.includes('more')))
  t.end()
})

t.test('without labels nothing is said of digits', (t) => {
  t.notMatch(draw(stateOf(1, { isLabelled: false }), plainPaint).join(), 'recognised')
  t.end()
})

t.test('the slowest stage has the longest bar, and the largest rate the highest', (t) => {
  const lines = draw(stateOf(3, { rates: [0, 5, 10] }), plainPaint)
  const bar = (line: string): number => line.split('█').length - 1
  t.ok(bar(lines[4]!) > bar(lines[3]!) && bar(lines[3]!) > 0)
  t.match(
    lines.find((line) => line.includes('throughput')),
    / {3}▄█$/,
  )
  t.end()
})

t.test('bytes are said in six columns', (t) => {
  const said = ([0, 999, 1000, 9949, 9950, 99_499, 999_499, 999_500, 1_234_567, 12e6, 1.2e9, 45e9] as const).map(size)
  t.strictSame(said, [
    '0 B', '999 B', '1.0 kB', '9.9 kB', '10 kB', '99 kB', '999 kB', '1.0 MB', '1.2 MB', '12 MB', '1.2 GB', '45 GB',
  ]) // prettier-ignore
  fc.assert(fc.property(fc.nat(999e9), (bytes) => size(bytes).length <= 6))
  t.end()
})

t.test('a line is clipped to its columns, its colours to none', (t) => {
  const line = `${colourPaint.bold('tessera')} ✓ ${colourPaint.good('all')}`
  t.equal(uncoloured(clip(line, 9)), 'tessera ✓')
  t.equal(clip(line, 80), line)
  t.match(clip(line, 3), '\u001b[22m', 'what was switched on is switched off')
  t.end()
})
