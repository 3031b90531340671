/** `tessera model`: looks into ONNX files, shows where they can be cut, cuts them and proves the cuts exact. */

import { InvalidArgumentError, Option, type Command } from 'commander'
import { hintOf } from '#shared/program.js'
import { levels } from '#shared/onnx/session.js'
import { checkModel } from './model-check.js'
import { showCuts } from './model-cuts.js'
import { showRegions } from './model-regions.js'
import { splitModel } from './model-split.js'
import { verifyModel } from './model-verify.js'

/** Adds the noun to the program, from which it takes how help and mistakes are shown. */
export function modelCommand(program: Command): void {
  const model = program.command('model').description('looks into ONNX models, cuts them and proves the cuts')
  about(model, 'check', 'says what a model is and whether it can be run and cut').action(checkModel)
  about(model, 'cuts', 'lists every place where a model can be cut, with the tensors that cross it').action(showCuts)
  about(model, 'regions', 'lists what can be parted by channels, for devices that do one layer together').action(
    showRegions,
  )
  about(model, 'split', 'writes the segments of a model as ONNX files, which are not encrypted')
    .addOption(
      new Option('--into <n>', 'as many segments, balanced by measured time').argParser(wholeNumber).conflicts('at'),
    )
    .addOption(new Option('--at <a,b,…>', 'cuts before these nodes').argParser(wholeNumbers))
    .requiredOption('--out <dir>', 'folder for the segments')
    .action(splitModel)
  about(model, 'verify', 'cuts a model everywhere and compares every pair of parts with the whole, bit for bit')
    .addOption(
      new Option('--cuts <all|n>', 'every cut, or so many, evenly spread').argParser(allOrNumber).default('all'),
    )
    .option('--seed <s>', 'seed of the 50 random cuts that are tried beside', '1')
    .action(verifyModel)
}

function about(model: Command, verb: string, description: string): Command {
  return model
    .command(verb)
    .showHelpAfterError(hintOf(`tessera model ${verb}`))
    .description(description)
    .argument('<file>', 'an ONNX file')
    .option(
      '--data <dir>',
      "folder of test_data_set_K folders, which decide the shapes (default: the file's own, if it has some)",
    )
    .addOption(
      new Option('--dims <name=size,…>', 'sizes of dynamic dimensions, where there are no data').argParser(sizes),
    )
    .addOption(
      new Option('--level <level>', 'how far ONNX Runtime optimises the whole before it is cut')
        .choices(levels)
        .default('all'),
    )
    .option('--json', 'prints one JSON object, as the last line', false)
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError(`'${text}' is not a whole number.`)
  return Number(text)
}

function wholeNumbers(text: string): number[] {
  return text.split(',').map(wholeNumber)
}

function allOrNumber(text: string): 'all' | number {
  return text === 'all' ? text : wholeNumber(text)
}

export function sizes(text: string): Record<string, number> {
  return Object.fromEntries(
    text.split(',').map((pair) => {
      const at = pair.lastIndexOf('=')
      if (at < 1) throw new InvalidArgumentError(`'${pair}' is not of the form name=size.`)
      return [pair.slice(0, at), wholeNumber(pair.slice(at + 1))]
    }),
  )
}
