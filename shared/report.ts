/** How every program of ours ends badly: one sentence on stderr, an exit status that programs can read. */

import { CommanderError } from 'commander'
import { exitStatus, Refusal, reasonOf } from './errors.js'

/**
 * Says why a command failed and returns the exit status that belongs to it. Stack traces stay out of users' sight
 * unless `TESSERA_DEBUG` is set.
 */
export function fail(error: unknown, program = 'tessera'): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitStatus.usage // commander has said it already
  if (error instanceof Refusal) {
    // Names out of strangers' files may hold control sequences, which a terminal would obey.
    process.stderr.write(`${program}: ${error.message.replace(/\p{Cc}+/gu, '�')} [${error.code}]\n`)
    return error.exitStatus
  }
  process.stderr.write(`${program}: unexpected failure, please report it: ${reasonOf(error)}\n`)
  if (process.env['TESSERA_DEBUG'] !== undefined && error instanceof Error) process.stderr.write(`${error.stack}\n`)
  return 1
}
