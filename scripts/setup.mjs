/**
 * What stands between a fresh clone and a running program. Installs what the lock file says and builds, where that is
 * missing or stale, and then becomes the program it was asked for:
 *
 *     node scripts/setup.mjs [run|test PROGRAM ARGS…]
 *     node scripts/setup.mjs build      compiles, stale or not
 *     node scripts/setup.mjs prepare    notes that npm has installed; npm calls it
 *
 * Plain Node without a dependency, in words that Node 14 can parse, so that an old Node hears why it will not do (hence
 * also no `node:` prefixes). It speaks on stderr alone: stdout belongs to the program.
 */

import path from 'path'
import { fileURLToPath } from 'url'
import { become } from './setup/become.mjs'
import { buildReason, installReason, nodeComplaint, tapReason } from './setup/freshness.mjs'
import { withLock } from './setup/lock.mjs'
import { Progress } from './setup/progress.mjs'
import * as state from './setup/state.mjs'
import * as steps from './setup/steps.mjs'
import { Interrupted, SetupFailure } from './setup/steps.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const progress = new Progress(process.stderr, process.env)

/** What is still to do, in order; nothing in the common case. */
function pending(forTests, rebuild) {
  const todo = []
  const build = rebuild ? 'as asked' : buildReason(state.readBuild(root))
  const needsTools = forTests || build !== undefined
  const install = installReason({ ...state.readInstall(root), needsTools })
  if (install !== undefined) todo.push({ step: steps.install, reason: install })
  if (build !== undefined) todo.push({ step: steps.compile, reason: build })
  if (forTests) {
    const tap = install !== undefined ? install : tapReason(state.readTap(root))
    if (tap !== undefined) todo.push({ step: steps.buildTap, reason: tap })
  }
  return todo
}

async function ready(forTests, rebuild) {
  if (pending(forTests, rebuild).length === 0) return
  await withLock(path.join(root, '.setup.lock'), progress, async (children) => {
    // Read again: whoever held the lock before may have done it all.
    for (const { step, reason } of pending(forTests, rebuild)) await step({ root, reason, progress, children })
  })
}

async function main(verb, args) {
  const complaint = nodeComplaint(state.neededNode(root), process.versions.node)
  if (complaint !== undefined) throw new SetupFailure(complaint)
  if (verb === 'prepare') return steps.prepare({ root, progress, children: new Set() })
  await ready(verb === 'test', verb === 'build')
  if (verb === 'run' || verb === 'test') await become(root, args[0], args.slice(1))
}

main(process.argv[2], process.argv.slice(3)).catch((error) => {
  progress.end()
  if (error instanceof Interrupted) {
    process.stderr.write('tessera: interrupted; the same command goes on from here\n')
    process.kill(process.pid, error.signal)
  } else if (error instanceof SetupFailure) {
    process.stderr.write(`tessera: ${error.message}\n`)
    process.exitCode = 1
  } else throw error
})
