#!/usr/bin/env node
/** The operator's program: `tessera <noun> <verb>`. Each noun lives in `cli/` and is loaded only when it is used. */

import { Command } from 'commander'
import { fail } from '#shared/report.js'

const program = new Command('tessera')
  .description('Runs one neural network across many devices, each holding one encrypted piece of it.')
  .showSuggestionAfterError()
  .exitOverride()

program.addCommand((await import('./cli/model.js')).modelCommand())
program.addCommand((await import('./cli/demo.js')).demoCommand())

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = fail(error)
}
