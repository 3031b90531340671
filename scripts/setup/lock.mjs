/**
 * One setup at a time in one folder. The lock is a file that names its holder and the processes it has started; it is
 * stale, and taken over, when none of them lives. (A number may have been given to another process since: hence also a
 * limit on its age, which a living holder renews.)
 */

import fs from 'fs'

const renewMs = 5000
const staleMs = 600000
const lookMs = 200
/** Two that take over at once see within this time which of them came last. */
const settleMs = 100

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Runs `work` while holding the lock. `work` gets a set, in which it keeps the ids of the processes it has started. */
export async function withLock(file, progress, work) {
  const children = new Set()
  await take(file, progress)
  const renewal = setInterval(() => write(file, [process.pid, ...children], fs.renameSync), renewMs)
  try {
    return await work(children)
  } finally {
    clearInterval(renewal)
    if (isOurs(file)) fs.rmSync(file, { force: true })
  }
}

async function take(file, progress) {
  let waiting = false
  while (!write(file, [process.pid], fs.linkSync)) {
    const { pids, ageMs } = read(file)
    if (pids.length === 0) continue // released a moment ago
    if (isStale(pids, ageMs, isAlive)) {
      write(file, [process.pid], fs.renameSync)
      await pause(settleMs)
      if (isOurs(file)) break
    }
    if (!waiting) progress.begin('waiting for another setup', `process ${pids[0]} is at work in this folder`)
    waiting = true
    await pause(lookMs)
  }
  if (waiting) progress.done('waited for another setup')
}

/** Whether a lock held by these processes, last renewed `ageMs` ago, may be taken over. */
export function isStale(pids, ageMs, alive) {
  return ageMs > staleMs || !pids.some(alive)
}

/** `publish` puts the filled file in its place at once: a link fails where one is already, a renaming replaces it. */
function write(file, pids, publish) {
  const own = `${file}.${process.pid}`
  fs.writeFileSync(own, pids.join(' '))
  try {
    publish(own, file)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  } finally {
    fs.rmSync(own, { force: true })
  }
}

function read(file) {
  try {
    const pids = fs.readFileSync(file, 'utf8').split(' ').map(Number)
    return { pids, ageMs: Date.now() - fs.statSync(file).mtimeMs }
  } catch (error) {
    if (error.code === 'ENOENT') return { pids: [], ageMs: 0 }
    throw error
  }
}

function isOurs(file) {
  return read(file).pids[0] === process.pid
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM' // somebody else's, and alive
  }
}
