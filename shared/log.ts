/**
 * Logs: one event with its nouns a line, on stderr. JSON where programs read it, plain words on a terminal. What looks
 * like a secret is never written.
 */

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
    process.stderr.isTTY
      ? { write: (line: string) => void process.stderr.write(plain(line)) }
      : pino.destination({ dest: 2, sync: true }),
  )
  return (event, nouns) => {
    if (event === 'refused') logger.warn(nouns, event)
    else logger.info(nouns, event)
  }
}

/** `14:03:11 member born  role=device boot=new` */
export function plain(line: string): string {
  const { time, msg, ...nouns } = JSON.parse(line) as Record<string, unknown>
  const clock = new Date(Number(time)).toTimeString().slice(0, 8)
  const pairs = Object.entries(nouns)
    .filter(([key]) => !ofPino.includes(key))
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  return `${clock} ${String(msg)}  ${pairs.join(' ')}`.replace(/\p{Cc}+/gu, '�').trimEnd() + '\n'
}

const ofPino = ['level', 'name', 'pid', 'hostname']
