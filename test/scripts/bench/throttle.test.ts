import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { throttle } from '#scripts/bench/throttle.js'

const skip = existsSync('/proc/self/stat') ? false : 'needs /proc'

/** The letter for what a process does: T is stopped. */
const stateOf = (pid: number): string => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]![0]!

t.test('a slowed process is stopped again and again, and goes on when it is let go', { skip }, async (t) => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  const full = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  await Promise.all([once(child, 'spawn'), once(full, 'spawn')])
  const slowed = throttle([
    { pid: child.pid!, share: 0.2 },
    { pid: full.pid!, share: 1 },
  ])
  const seen = new Set<boolean>()
  while (seen.size < 2) {
    seen.add(stateOf(child.pid!) === 'T')
    t.not(stateOf(full.pid!), 'T')
    await new Promise((resolve) => setImmediate(resolve))
  }
  await slowed.stop()
  while (stateOf(child.pid!) === 'T') await new Promise((resolve) => setImmediate(resolve))
  child.kill()
  const [code, signal] = await once(child, 'exit')
  t.strictSame([code, signal], [null, 'SIGTERM'], 'it hears what it is told')
  full.kill()
  await once(full, 'exit')
})

t.test('a process that has ended needs no letting go', async (t) => {
  const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' })
  await once(child, 'exit')
  const slowed = throttle([{ pid: child.pid!, share: 0.5 }])
  await slowed.stop()
  t.pass('nothing was thrown')
})
