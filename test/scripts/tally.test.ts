import { text } from 'node:stream/consumers'
import { Readable } from 'node:stream'
import t from 'tap'
import Tally from '#scripts/tally.js'

/** What comes out for a run that prints `lines`, in pieces of `pieceLength` characters. */
function tallied(lines: string[], pieceLength = 7): Promise<string> {
  const pieces = `${lines.join('\n')}\n`.match(new RegExp(`[^]{1,${pieceLength}}`, 'g')) ?? []
  return text(Readable.from(pieces.map((piece) => Buffer.from(piece))).pipe(new Tally()))
}

const passing = [
  '# Subtest: a.test.js',
  '    # Subtest: it works',
  '        ok 1 - so',
  '        1..1',
  '    ok 1 - it works',
]
const failing = [
  '# Subtest: b.test.js',
  '    # Subtest: it counts',
  '        ok 1 - one',
  '        not ok 2 - two',
  '          ---',
  '          diff: |',
  '            -2',
  '          ...',
  '        1..2',
  '    not ok 1 - it counts # time=3ms',
  '      ---',
  '      at: here',
  '      ...',
  'not ok 2 - b.test.js # time=4ms',
]

t.test('a run is a line for every file and one plain line of its totals', async (t) => {
  const run = [
    'TAP version 14',
    ...passing,
    'ok 1 - a.test.js # time=2ms',
    '1..1',
    '# { total: 1, pass: 1 }',
    '# time=3ms',
  ]
  t.equal(await tallied(run), 'ok 1 - a.test.js # time=2ms\n1 passed, 0 failed, 0 skipped\n')
})

t.test('a failure is said with the way to it and its diagnostics, where it happens and again at the end', async (t) => {
  const run = [...passing, 'ok 1 - a.test.js', ...failing, '1..2', '# { total: 3, pass: 2, fail: 1 }']
  const failure = '  ✗ b.test.js › it counts › two\n      ---\n      diff: |\n        -2\n      ...\n'
  t.equal(
    await tallied(run),
    `ok 1 - a.test.js\n${failure}not ok 2 - b.test.js # time=4ms\n\nFailed:\n${failure}2 passed, 1 failed, 0 skipped\n`,
  )
})

t.test('a file that fails without a word of its own is named at the end', async (t) => {
  const run = ['# Subtest: c.test.js', '    1..0', 'not ok 1 - c.test.js # time=4ms', '  ---', '  exitCode: 7', '  ...']
  const out = await tallied([...run, '# { total: 1, fail: 1 }'])
  t.match(out, /\nFailed:\n {2}✗ c\.test\.js # time=4ms\n {6}---\n {6}exitCode: 7\n/)
})

t.test('what was skipped is named with its reason', async (t) => {
  const run = [
    '# Subtest: d.test.js',
    '    ok 1 - of the reference # SKIP no data',
    'ok 1 - d.test.js',
    '# { total: 1, skip: 1 }',
  ]
  t.equal(
    await tallied(run),
    '  - d.test.js › of the reference # SKIP no data\nok 1 - d.test.js\n0 passed, 0 failed, 1 skipped\n',
  )
})

t.test('totals that a test has printed are not taken for those of the run', async (t) => {
  const out = await tallied([
    '# { total: 99, pass: 99 }',
    '    # { total: 98, pass: 98 }',
    '# { total: 2, pass: 1, fail: 1 }',
  ])
  t.match(out, /^1 passed, 1 failed, 0 skipped$/m)
})

t.test('a run that breaks off counts as failed, and an error outside of TAP is let through', async (t) => {
  t.equal(
    await tallied(['ok 1 - a', 'Error: no such folder']),
    'ok 1 - a\nError: no such folder\n0 passed, 1 failed, 0 skipped\n',
  )
})
