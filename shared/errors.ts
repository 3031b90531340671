/**
 * The few ways in which Tessera says no. A `Refusal` is for people (one sentence: what, why, what to do) and for
 * programs (its code, and the exit status that belongs to it). Everything else that is thrown is a bug.
 */

/** Exit status of a program for each family of refusals; 0 is success, 1 an unexpected failure. */
export const exitStatus = { usage: 2, config: 3, unreachable: 4, denied: 5, model: 6, partial: 7 } as const

export type Family = keyof typeof exitStatus

/** Every refusal there is, with the family that decides the exit status. */
const families = {
  // command line and configuration
  usage: 'usage',
  'bad-config': 'config',
  'missing-file': 'config',
  'folder-in-use': 'config',
  // network
  'hub-unreachable': 'unreachable',
  'port-in-use': 'unreachable',
  'link-failed': 'unreachable',
  // what strangers send
  forged: 'denied',
  replayed: 'denied',
  'stale-epoch': 'denied',
  'unknown-sender': 'denied',
  'bad-signature': 'denied',
  'bad-message': 'denied',
  'not-allowed': 'denied',
  'over-limit': 'denied',
  'key-exhausted': 'denied',
  // models and tensors
  'not-onnx': 'model',
  'bad-model': 'model',
  'unsupported-op': 'model',
  'unsupported-dtype': 'model',
  'external-data': 'model',
  'cannot-cut': 'model',
  'bad-tensor': 'model',
  'dynamic-shape': 'model',
  'bad-segment': 'model',
  'no-golden-data': 'model',
  'cannot-plan': 'model',
  // a run that ended early
  'timed-out': 'partial',
  'device-lost': 'partial',
  cancelled: 'partial',
} as const satisfies Record<string, Family>

export type RefusalCode = keyof typeof families

/** Whether a code that came from another program is one of ours. */
export function isRefusalCode(text: string): text is RefusalCode {
  return Object.hasOwn(families, text)
}

/** A refusal that was foreseen. `message` is one sentence that names the thing and the remedy; never a secret. */
export class Refusal extends Error {
  readonly code: RefusalCode

  constructor(code: RefusalCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'Refusal'
    this.code = code
  }

  get exitStatus(): number {
    return exitStatus[families[this.code]]
  }
}

/** The sentence to show for anything that was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** A stranger's value in a sentence: short, and never by a `toString` of its own. */
export function shown(value: unknown): string {
  const isPlain = typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint'
  return isPlain ? String(value).slice(0, 64) : typeof value
}
