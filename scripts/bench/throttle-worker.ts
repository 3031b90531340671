/** Entry of the thread that stops processes and lets them go on, until its flag is set. */

import { workerData } from 'node:worker_threads'
import { signal, type Throttled } from './throttle.js'

const { slowed, flag, periodMs } = workerData as { slowed: readonly Throttled[]; flag: Int32Array; periodMs: number }

const startMs = performance.now()
/** Their periods begin one after the other, so that not all stop at once. */
const states = slowed.map(({ pid, share }, i) => ({
  pid,
  share,
  isRunning: true,
  turnsAtMs: startMs + (i * periodMs) / slowed.length,
}))
while (Atomics.load(flag, 0) === 0) {
  const nowMs = performance.now()
  for (const state of states) {
    if (nowMs < state.turnsAtMs) continue
    signal(state.pid, state.isRunning ? 'SIGSTOP' : 'SIGCONT')
    state.isRunning = !state.isRunning
    // From when it was due: what is late now is made up for in the next period.
    state.turnsAtMs += periodMs * (state.isRunning ? state.share : 1 - state.share)
    if (nowMs - state.turnsAtMs > periodMs) state.turnsAtMs = nowMs
  }
  const nextMs = Math.min(...states.map(({ turnsAtMs }) => turnsAtMs)) - performance.now()
  if (nextMs > 0) Atomics.wait(flag, 0, 0, nextMs)
}
