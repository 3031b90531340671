/** Logs: one JSON line an event, on stderr, its nouns beside it. What looks like a secret is never written. */

import { pino } from 'pino'

export type Log = (event: string, nouns: Record<string, unknown>) => void

const secretNames = ['key', 'dek', 'prk', 'root', 'seed', 'token', 'psk', 'secret', 'password', 'privateKey', 'boxKey']

/** Events of `program`; `TESSERA_LOG` sets the level (default `info`, `silent` for none). */
export function openLog(program: string): Log {
  const logger = pino(
    {
      name: program,
      level: process.env['TESSERA_LOG'] ?? 'info',
      redact: secretNames.flatMap((name) => [name, `*.${name}`]),
    },
    pino.destination({ dest: 2, sync: true }),
  )
  return (event, nouns) => {
    if (event === 'refused') logger.warn(nouns, event)
    else logger.info(nouns, event)
  }
}
