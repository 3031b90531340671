/** A peer's program: run to its end, one at a time, with what it says and the processor time that it takes. */

import { spawn } from 'node:child_process'
import { createReadStream } from 'node:fs'

export interface Ran {
  readonly stdout: string
  readonly stderr: string
  /** User and system time. */
  readonly cpuMs: number
  /** `undefined` where it was ended for taking longer than it was given. */
  readonly exitCode: number | undefined
}

/** What a peer may print at most. */
const maxOutputBytes = 64 * 1024 * 1024

/** `input` is a file for its standard input. After `limitMs` it is ended. */
export async function runPeer(
  program: string,
  args: readonly string[],
  options: { input?: string; cwd?: string; limitMs: number },
): Promise<Ran> {
  // The shell's `times` gives what its child took, which Node does not say; its last line is of the children.
  const child = spawn('sh', ['-c', '"$@"; code=$?; times >&3; exit $code', 'sh', program, ...args], {
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    detached: true,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  const outputs = ([1, 2, 3] as const).map((at) => collect(child.stdio[at] as NodeJS.ReadableStream))
  if (options.input === undefined) child.stdin.end()
  else createReadStream(options.input).pipe(child.stdin)
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    // The group: the shell and what it runs.
    process.kill(-child.pid!, 'SIGKILL')
  }, options.limitMs)
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 1))
  })
  clearTimeout(timer)
  const [stdout, stderr, times] = await Promise.all(outputs)
  return {
    stdout: stdout!,
    stderr: stderr!,
    cpuMs: isLate ? options.limitMs : cpuMsOf(times!),
    exitCode: isLate ? undefined : exitCode,
  }
}

async function collect(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream) {
    bytes += (chunk as Buffer).length
    if (bytes <= maxOutputBytes) chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks).toString()
}

/** Of `0m0.00s 0m0.00s`, twice: the shell's own user and system time, then its children's. */
function cpuMsOf(times: string): number {
  const [user, system] = times
    .trim()
    .split('\n')
    .at(-1)!
    .split(/\s+/)
    .map((time) => {
      const [minutes, seconds] = time.replace('s', '').split('m').map(Number)
      return (minutes! * 60 + seconds!) * 1000
    })
  // The clock of processor time ticks every 10 ms: less than a tick is said to be one.
  return Math.max(10, user! + system!)
}
