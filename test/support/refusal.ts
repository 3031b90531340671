import type { Test } from 'tap'
import { Refusal, type RefusalCode } from '#shared/errors.js'

/** Expects a refusal of this code, in a sentence that matches. */
export async function refuses(t: Test, code: RefusalCode, words: RegExp, action: () => unknown): Promise<void> {
  try {
    await action()
    t.fail(`not refused; expected ${code}`)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    t.equal(error.code, code, error.message)
    t.match(error.message, words)
  }
}
