/**
 * Becomes another program of ours, in this very process: so its exit status, its output and its signals are its own,
 * and nothing is left behind when npm or a terminal ends it.
 */

import fs from 'fs'
import path from 'path'
import { pathToFileURL } from 'url'
import { SetupFailure } from './steps.mjs'

/** A terminal signals its whole process group, and npm then passes the same signal on: a second one this soon is an echo. */
const echoMs = 500

export async function become(root, program, args) {
  const file = path.join(root, program)
  if (!fs.existsSync(file)) throw new SetupFailure(`there is no program ${program}`)
  process.argv.splice(1, process.argv.length, file, ...args)
  dropEchoes(process, ['SIGINT', 'SIGTERM'], Date.now)
  const unfinished = () => {
    process.stderr.write(`tessera: ${program} stopped with work left that nothing can wake; please report it\n`)
    process.exitCode = 13 // what Node gives a program whose top-level await never settles
  }
  process.once('beforeExit', unfinished)
  await import(pathToFileURL(file).href)
  process.removeListener('beforeExit', unfinished)
}

/** Lets each of `signals` through once within `echoMs`. Listeners cannot hold back an event, so `emit` itself must. */
export function dropEchoes(emitter, signals, now) {
  const emit = emitter.emit
  const seenMs = new Map()
  emitter.emit = function (name, ...args) {
    if (signals.includes(name)) {
      const last = seenMs.get(name)
      if (last !== undefined && now() - last < echoMs) return true
      seenMs.set(name, now())
    }
    return emit.call(this, name, ...args)
  }
}
