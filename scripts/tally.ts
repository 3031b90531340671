import { Transform } from 'node:stream'

/** A line of TAP at the outermost level that ends a test file: `ok 3 - dist/test/x.test.js # time=12ms`. */
const fileEnd = /^(?:not )?ok \d+ - /
/** The start of a subtest, whose name is the way to the assertions within it. */
const subtest = /^( *)# Subtest: (.*)$/
const assertion = /^( *)(not )?ok \d+(?: - (.*))?$/
const skipped = / # SKIP\b/

/**
 * What a person wants of a run of tests that prints TAP: a line for every file as it ends, whatever failed or was
 * skipped with the way to it, and one plain line to close: `N passed, N failed, N skipped`. The failures are said once
 * more before that line, since they are what is looked for there.
 */
export default class Tally extends Transform {
  #rest = ''
  #totals: string | undefined
  /** The subtests that are open, outermost first, each with the failures known when it began. */
  readonly #path: { name: string; failuresBefore: number }[] = []
  /** Where the diagnostics of a failure are being read: how deep they are indented. */
  #diagnosed: number | undefined
  readonly #failures: string[] = []

  override _transform(chunk: Buffer, _encoding: string, done: (error: null, out: string) => void): void {
    const lines = (this.#rest + chunk.toString()).split('\n')
    this.#rest = lines.pop() ?? ''
    done(null, lines.map((line) => this.#heard(line)).join(''))
  }

  override _flush(done: (error: null, out: string) => void): void {
    const last = this.#heard(this.#rest)
    const failures = this.#failures.length > 0 ? `\nFailed:\n${this.#failures.join('\n')}\n` : ''
    done(null, `${last}${failures}${closingLine(this.#totals)}`)
  }

  /** What a person is told at this line. */
  #heard(line: string): string {
    const open = subtest.exec(line)
    if (open !== null) {
      this.#path.length = Math.min(this.#path.length, depthOf(open[1] ?? ''))
      this.#path.push({ name: open[2] ?? '', failuresBefore: this.#failures.length })
      return ''
    }
    const said = this.#diagnosis(line)
    if (said !== undefined) return said
    const ended = assertion.exec(line)
    if (ended !== null) return this.#ended(line, depthOf(ended[1] ?? ''), ended[2] !== undefined, ended[3] ?? '')
    if (/^# \{ .* \}$/.test(line)) this.#totals = line
    // Indented lines belong to the TAP of a test that goes on; what stands at the margin is said by the run itself.
    return line === '' || /^( |#|1\.\.|TAP version)/.test(line) ? '' : `${line}\n`
  }

  #ended(line: string, depth: number, failed: boolean, name: string): string {
    const closed = this.#path[depth]
    this.#path.length = Math.min(this.#path.length, depth)
    const way = [...this.#path.map((each) => each.name), name].join(' › ')
    if (!failed && closed === undefined && skipped.test(name)) return `  - ${way}\n`
    const margin = depth === 0 && fileEnd.test(line) ? `${line}\n` : ''
    // A failed subtest has nothing to add to what its own assertions have said; one that broke off without has.
    if (!failed || (closed !== undefined && this.#failures.length > closed.failuresBefore)) return margin
    this.#diagnosed = depth
    return this.#failed(`  ✗ ${way}`) + margin
  }

  /** The diagnostics that stand under a failed assertion, as they are; undefined where this line is none of them. */
  #diagnosis(line: string): string | undefined {
    if (this.#diagnosed === undefined) return undefined
    const margin = '    '.repeat(this.#diagnosed) + '  '
    if (!line.startsWith(margin)) {
      this.#diagnosed = undefined
      return undefined
    }
    return this.#failed(`      ${line.slice(margin.length)}`)
  }

  #failed(line: string): string {
    this.#failures.push(line)
    return `${line}\n`
  }
}

/** TAP indents a subtest by four blanks. */
function depthOf(indentation: string): number {
  return Math.floor(indentation.length / 4)
}

/** The totals as one plain line; a run that broke off before it could count itself has failed once. */
function closingLine(totals: string | undefined): string {
  if (totals === undefined) return '0 passed, 1 failed, 0 skipped\n'
  const count = (name: string): number => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals)?.[1] ?? 0)
  return `${count('pass')} passed, ${count('fail')} failed, ${count('skip')} skipped\n`
}
