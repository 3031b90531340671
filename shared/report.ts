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
    complain(error, program)
    return error.exitStatus
  }
  process.stderr.write(`${program}: unexpected failure, please report it: ${reasonOf(error)}\n`)
  if (process.env['TESSERA_DEBUG'] !== undefined && error instanceof Error) process.stderr.write(`${error.stack}\n`)
  return 1
}

/** Says a refusal on stderr, for people. */
export function complain({ message, code }: Refusal, program: string): void {
  // Names out of strangers' files may hold control sequences, which a terminal would obey. Of settings each line is ours.
  const lines = (code === 'bad-config' ? message.split('\n') : [message]).map((line) => line.replace(/\p{Cc}+/gu, '�'))
  process.stderr.write(`${program}: ${lines.join('\n')} [${code}]\n`)
}
