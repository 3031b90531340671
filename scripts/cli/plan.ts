/** `tessera plan`: plans for a fleet before there is one, and says why a plan is as it is. */

import { InvalidArgumentError, Option, type Command } from 'commander'
import type { Pin } from '#broker/planner/fleet.js'
import { activationBits, type ActivationBits } from '#broker/planner/pose.js'
import type { Objective } from '#broker/planner/problem.js'
import { levels } from '#shared/onnx/session.js'
import { hintOf } from '#shared/program.js'
import { granularities } from '../plan/planned.js'
import { sizes, wholeNumber } from './model.js'
import { diffPlanFiles } from './plan-diff.js'
import { explainPlan } from './plan-explain.js'
import { whatIf } from './plan-what-if.js'

/** Adds the noun to the program, from which it takes how help and mistakes are shown. */
export function planCommand(program: Command): void {
  const plan = program.command('plan').description('plans a model for a fleet, and explains plans')
  verb(plan, 'what-if', 'predicts how a model would run on a fleet, and what would make it run better')
    .requiredOption('--model <file>', 'an ONNX file, whose nodes are timed on this machine')
    .requiredOption('--fleet <file>', 'the fleet: config/fleet.yaml explains every setting')
    .addOption(
      new Option('--objective <what>', 'throughput, latency, batch:N (time of N requests at once) or memory')
        .argParser(objectiveOf)
        .default({ kind: 'throughput' } satisfies Objective, 'throughput'),
    )
    .addOption(
      new Option(
        '--granularity <how>',
        'layer: every layer whole; block: one in parts, even if it costs; auto: where it pays',
      )
        .choices(granularities)
        .default('auto'),
    )
    .addOption(
      new Option('--shape <shape>', 'a chain of stages, or any graph of them')
        .choices(['chain', 'dag'])
        .default('chain'),
    )
    .addOption(new Option('--replicas <n>', 'devices that may take turns with one stage').argParser(counted).default(8))
    .addOption(
      new Option('--pin <node=device>', 'a node, or nodes like conv*, that must be on a device; may be repeated')
        .argParser(pins)
        .default([] as Pin[], 'none'),
    )
    .addOption(
      new Option('--bits <n>', 'width of activations on their way: 8 and 16 are priced, and not yet executed')
        .choices(activationBits.map(String))
        .default(32)
        .argParser(bitsOf),
    )
    .option('--data <dir>', "folder of test_data_set_K folders, which decide the shapes (default: the model's own)")
    .addOption(
      new Option('--dims <name=size,…>', 'sizes of dynamic dimensions, where there are no data').argParser(sizes),
    )
    .addOption(
      new Option('--level <level>', 'how far ONNX Runtime optimises the whole before it is cut')
        .choices(levels)
        .default('all'),
    )
    .addOption(
      new Option('--seconds <n>', 'time for planning; the certificate says what was not done')
        .argParser(counted)
        .default(10),
    )
    .option('--svg <file>', 'draws the graph with its segments, devices and what crosses')
    .option('--out <file>', 'writes the plan document')
    .option('--identity <file>', 'signs it with this Ed25519 key (PEM), like the identity.pem of a hub')
    .option('--json', 'prints one JSON object, as the last line', false)
    .action(whatIf)
  verb(plan, 'explain', 'says what a plan document contains, predicts and proves')
    .argument('<file>', 'a plan document, as what-if writes it')
    .option('--json', 'prints one JSON object, as the last line', false)
    .action(explainPlan)
  verb(plan, 'diff', 'says what changes from one plan to another')
    .argument('<before>', 'a plan document')
    .argument('<after>', 'a plan document')
    .option('--json', 'prints one JSON object, as the last line', false)
    .action(diffPlanFiles)
}

function verb(plan: Command, name: string, description: string): Command {
  return plan
    .command(name)
    .showHelpAfterError(hintOf(`tessera plan ${name}`))
    .description(description)
}

function objectiveOf(text: string): Objective {
  if (text === 'throughput' || text === 'latency' || text === 'memory') return { kind: text }
  const requests = Number(/^batch:(\d{1,9})$/.exec(text)?.[1] ?? 0)
  if (requests < 1) throw new InvalidArgumentError('It must be throughput, latency, memory or batch:N with N from 1.')
  return { kind: 'batch', requests }
}

function pins(text: string, before: readonly Pin[]): Pin[] {
  const at = text.lastIndexOf('=')
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError(`'${text}' is not of the form node=device.`)
  return [...before, { nodes: text.slice(0, at), device: text.slice(at + 1) }]
}

function bitsOf(text: string): ActivationBits {
  const bits = activationBits.find((one) => String(one) === text)
  if (bits === undefined) throw new InvalidArgumentError(`Allowed choices are ${activationBits.join(', ')}.`)
  return bits
}

function counted(text: string): number {
  const count = wholeNumber(text)
  if (count < 1 || count > 512) throw new InvalidArgumentError('It must be a whole number from 1 to 512.')
  return count
}
