/**
 * The command line that runs Node outside tap's watch. tap follows every child process through `NODE_OPTIONS` (it puts
 * it back into any `env` given to spawn); what it loads there trips over programs without an extension, such as tsc.
 */
export function unwatchedNode(...args: string[]): [command: string, args: string[]] {
  return ['env', ['-u', 'NODE_OPTIONS', process.execPath, ...args]]
}
