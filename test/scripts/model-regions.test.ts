import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { buildModel, node, noise, port } from '#test/support/models.js'

const program = resolve(import.meta.dirname, '../../scripts/tessera.js')

async function regions(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [program, 'model', 'regions', ...args])
  return stdout
}

t.test('regions lists what can be parted by channels, and why the rest cannot', async (t) => {
  const folder = t.testdir({})
  const file = join(folder, 'model.onnx')
  const model = buildModel({
    nodes: [
      node('MatMul', ['x', 'wide'], ['a']),
      node('Relu', ['a'], ['b']),
      node('MatMul', ['b', 'narrow'], ['y'], {}, { name: 'last' }),
    ],
    inputs: [port('x', 'float32', [2, 3])],
    outputs: [port('y', 'float32', [2, 1])],
    weights: { wide: noise([3, 40], 'wide'), narrow: noise([40, 1], 'narrow') },
  })
  await writeFile(file, model)
  const stdout = await regions(file, '--level', 'disabled', '--json')
  t.match(JSON.parse(stdout), {
    regions: [
      {
        nodes: [0, 1],
        roots: [0],
        channels: 40,
        granule: 2,
        weightBytes: 480,
        exact: true,
        receives: [{ port: { name: 'x' } }],
        sends: [{ port: { name: 'b', shape: [2, 40] }, axis: 1 }],
      },
    ],
    undivided: [{ node: 2, name: 'last', opType: 'MatMul', reason: 'its 1 channels are too few to share' }],
  })
  const human = await regions(file, '--level', 'disabled')
  t.match(human, /3 nodes at level disabled for x:float32\[2,3\]: 1 regions/)
  t.match(human, /0-1 +MatMul, Relu +40 +2 +480 B +24 B +320 B +yes/)
  t.match(human, /in no region\n2 +MatMul +last +its 1 channels are too few/)
})
