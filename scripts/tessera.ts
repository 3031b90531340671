#!/usr/bin/env node
/** The operator's program: `tessera <noun> <verb>`. Each noun lives in `cli/`. */

import { tuneV8 } from '#shared/v8.js'
import { programNamed } from '#shared/program.js'
import { fail } from '#shared/report.js'
import { demoCommand } from './cli/demo.js'
import { fleetCommand } from './cli/fleet.js'
import { modelCommand } from './cli/model.js'
import { planCommand } from './cli/plan.js'

tuneV8()

const program = programNamed(
  'tessera',
  'Runs one neural network across many devices, each holding one encrypted piece of it.',
).addHelpText(
  'after',
  `
Further programs: tessera-hub coordinates a fleet, tessera-device joins one.`,
)

modelCommand(program)
planCommand(program)
fleetCommand(program)
demoCommand(program)

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = fail(error)
}
