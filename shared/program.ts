/** What all programs have in common on the command line: help that reads well, the version, suggestions, exit statuses. */

import { Command } from 'commander'
import { version } from './version.js'

/** Said at the end of every help; the README has the same table. */
export const statusHelp = `
Exit status:
  0  done, or stopped as asked    5  refused by the other side
  1  failed, by a fault of ours   6  the model or its data cannot be used
  2  wrong usage                  7  not done in time, or a device was lost
  3  wrong settings or state      130, 143  stopped by Ctrl-C or SIGTERM before
  4  no hub, or a port in use               what was asked for was done`

/** A program that throws instead of ending the process; its subcommands do as well. */
export function programNamed(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .addHelpText('afterAll', statusHelp)
    .showSuggestionAfterError()
    .showHelpAfterError(hintOf(name))
    .configureHelp({ helpWidth: helpColumns })
    .exitOverride()
}

/** What a mistake in the command line ends with. */
export function hintOf(name: string): string {
  return `('${name} --help' lists what there is)`
}

const helpColumns = 80
