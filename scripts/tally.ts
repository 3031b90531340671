import { Transform } from 'node:stream'

/** Enough of the end of a run to hold tap's totals, which stand in its last lines. */
const tailLength = 4096

/** Lets TAP through unchanged and closes the run with one plain line: `N passed, N failed, N skipped`. */
export default class Tally extends Transform {
  #tail = ''

  override _transform(chunk: Buffer, _encoding: string, done: (error: null, out: Buffer) => void): void {
    this.#tail = (this.#tail + chunk.toString()).slice(-tailLength)
    done(null, chunk)
  }

  override _flush(done: (error: null, out: string) => void): void {
    done(null, closingLine(this.#tail))
  }
}

/** The last totals in `output`; a run that broke off before it could count itself has failed once. */
function closingLine(output: string): string {
  const totals = [...output.matchAll(/^# \{ (.*) \}$/gm)].at(-1)?.[1]
  if (totals === undefined) return '\n0 passed, 1 failed, 0 skipped\n'
  const count = (name: string): number => Number(new RegExp(`\\b${name}: (\\d+)`).exec(totals)?.[1] ?? 0)
  return `${count('pass')} passed, ${count('fail')} failed, ${count('skip')} skipped\n`
}
