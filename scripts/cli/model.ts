import { Command } from 'commander'

export function modelCommand(): Command {
  return new Command('model').description('looks into ONNX models')
}
