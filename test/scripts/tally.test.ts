import { text } from 'node:stream/consumers'
import { Readable } from 'node:stream'
import t from 'tap'
import Tally from '#scripts/tally.js'

/** What comes out for a run that prints `output` in pieces of `pieceLength` characters. */
function tallied(output: string, pieceLength = 7): Promise<string> {
  const pieces = output.match(new RegExp(`[^]{1,${pieceLength}}`, 'g')) ?? []
  return text(Readable.from(pieces.map((piece) => Buffer.from(piece))).pipe(new Tally()))
}

t.test('a run ends with one plain line of its totals, and all before it is untouched', async (t) => {
  const run = 'ok 1 - a\n1..1\n# { total: 12, pass: 9, fail: 1, todo: 0, skip: 2 }\n# time=3ms\n'
  t.equal(await tallied(run), `${run}9 passed, 1 failed, 2 skipped\n`)
})

t.test('a run with nothing but passes has zeros for the rest', async (t) => {
  const run = '# { total: 3, pass: 3 }\n# time=3ms\n'
  t.equal(await tallied(run), `${run}3 passed, 0 failed, 0 skipped\n`)
})

t.test('totals that a test has printed are not taken for those of the run', async (t) => {
  const run = '# { total: 99, pass: 99 }\n    # { total: 98, pass: 98 }\n# { total: 2, pass: 1, fail: 1 }\n'
  t.equal(await tallied(run), `${run}1 passed, 1 failed, 0 skipped\n`)
})

t.test('a run that breaks off counts as failed', async (t) => {
  t.equal(await tallied('ok 1 - a\nok 2'), 'ok 1 - a\nok 2\n0 passed, 1 failed, 0 skipped\n')
})

t.test('the totals are found behind a long run', async (t) => {
  const run = `${'ok - once more\n'.repeat(2000)}# { total: 2000, pass: 2000 }\n`
  t.equal(await tallied(run, 1000), `${run}2000 passed, 0 failed, 0 skipped\n`)
})
