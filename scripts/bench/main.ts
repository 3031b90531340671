/** `npm run bench -- NAME`: measures Tessera on this machine, each figure beside a peer of the same run. */

import { Command, Option } from 'commander'
import { fail } from '#shared/report.js'
import { jsonOutput, tableOutput, type Output } from './figure.js'
import { environment } from './machine.js'

const benches = {
  frame: async (output: Output, options: Flags) => (await import('./frame.js')).benchFrame(output, options),
}
type BenchName = keyof typeof benches

interface Flags {
  readonly json: boolean
  readonly quick: boolean
}

const program = new Command('bench')
  .description('measures Tessera on this machine')
  .argument('<name>', `what to measure: ${Object.keys(benches).join(', ')}`)
  .addOption(new Option('--json', 'one JSON object a line').default(false))
  .addOption(
    new Option('--quick', 'a few iterations: shows that the bench works, says nothing about speed').default(false),
  )
  .exitOverride()
  .action(async (name: string, flags: Flags) => {
    if (!Object.hasOwn(benches, name)) {
      program.error(`error: there is no bench '${name}'; there are ${Object.keys(benches).join(', ')}`)
    }
    const output = flags.json ? jsonOutput() : tableOutput()
    output.begin(environment())
    await benches[name as BenchName](output, flags)
    output.end()
  })

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = fail(error, 'bench')
}
