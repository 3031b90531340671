import { Transform } from 'node:stream'

/** Lets TAP through unchanged and closes the run with one plain line: `N passed, N failed, N skipped`. */
export default class Tally extends Transform {
  #tail = ''

  override _transform(chunk: Buffer, _encoding: string, done: (error: null, out: Buffer) => void): void {
    this.#tail = (this.#tail + chunk.toString()).slice(-4096)
    done(null, chunk)
  }

  override _flush(done: (error: null, out: string) => void): void {
    const totals = /^# \{ (.*) \}/m.exec(this.#tail)?.[1] ?? ''
    const count = (name: string): number => Number(new RegExp(`${name}: (\\d+)`).exec(totals)?.[1] ?? 0)
    done(null, `${count('pass')} passed, ${count('fail')} failed, ${count('skip')} skipped\n`)
  }
}
