/** `tessera fleet`: shows what a hub knows of its devices. */

import type { Command } from 'commander'
import { hintOf } from '#shared/program.js'
import { showProfile } from './fleet-profile.js'

/** Adds the noun to the program, from which it takes how help and mistakes are shown. */
export function fleetCommand(program: Command): void {
  const fleet = program.command('fleet').description('shows what a hub knows of its devices')
  fleet
    .command('profile')
    .showHelpAfterError(hintOf('tessera fleet profile'))
    .description(
      'shows the speed, memory and links of the devices as the hub had them measured, with the age of each figure',
    )
    .option('--state <folder>', "the hub's folder, on this machine", 'tessera-hub')
    .option('--json', 'prints one JSON object', false)
    .addHelpText(
      'after',
      `
A hub measures its devices when they join, their links when no requests flow, and
all of it again when it is old or proves wrong. It keeps the figures in its folder,
which this command reads: the hub may run meanwhile or not. Speed is against the
hub's own; 0.50 is half as fast.`,
    )
    .action(showProfile)
}
