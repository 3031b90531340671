/** Small models, each with one thing that has broken graph cutters before. */

import type { Feeds } from '#shared/onnx/session.js'
import type { Tensor } from '#shared/onnx/tensor.js'
import {
  bools,
  buildModel,
  floats,
  graph,
  ints,
  node,
  noise,
  port,
  strings,
  type ModelInit,
  type NodeInit,
} from './models.js'

export interface Specimen {
  readonly name: string
  readonly model: Uint8Array
  readonly feeds: Feeds
  /** Positions that cannot be cut at level 'disabled', where there are some. */
  readonly illegal?: number
}

const x = noise([2, 3], 'x')
const image = noise([1, 3, 8, 8], 'image')

function specimen(name: string, feeds: Feeds, init: ModelInit, illegal?: number): Specimen {
  return { name, model: buildModel(init), feeds, ...(illegal !== undefined && { illegal }) }
}

/** A chain of unary ops from `from` to `to`, with `to` its last output. */
function line(ops: readonly string[], from: string, to: string): NodeInit[] {
  return ops.map((op, i) => node(op, [i === 0 ? from : `${to}_${i}`], [i === ops.length - 1 ? to : `${to}_${i + 1}`]))
}

const convBlock: NodeInit[] = [
  node('Conv', ['image', 'w', 'b'], ['c'], { pads: [1n, 1n, 1n, 1n] }),
  node('BatchNormalization', ['c', 'scale', 'shift', 'mean', 'var'], ['n']),
  node('Relu', ['n'], ['r']),
  node('Add', ['r', 'c'], ['s']),
  node('MaxPool', ['s'], ['p'], { kernel_shape: [2n, 2n], strides: [2n, 2n] }),
  node('GlobalAveragePool', ['p'], ['y']),
]
const convWeights = {
  w: noise([4, 3, 3, 3], 'w'),
  b: noise([4], 'b'),
  scale: noise([4], 'scale'),
  shift: noise([4], 'shift'),
  mean: noise([4], 'mean'),
  var: floats([4], [1, 2, 0.5, 1.5]),
}

function branch(
  nodes: readonly NodeInit[],
  output: string,
  weights: Readonly<Record<string, Tensor>> = {},
): ReturnType<typeof graph> {
  return graph({ nodes, inputs: [], outputs: [port(output)], weights })
}

const counted = graph({
  nodes: [
    node('Mul', ['state', 'outer'], ['scaled']),
    node('Add', ['scaled', 'w'], ['next']),
    node('Identity', ['going'], ['still']),
    node('Relu', ['next'], ['seen']),
  ],
  inputs: [port('i', 'int64', []), port('going', 'bool', []), port('state')],
  outputs: [port('still', 'bool', []), port('next'), port('seen')],
})

const scanned = graph({
  nodes: [node('Add', ['sum', 'row'], ['total']), node('Mul', ['total', 'gain'], ['shown'])],
  inputs: [port('sum', 'float32', [3]), port('row', 'float32', [3])],
  outputs: [port('total', 'float32', [3]), port('shown', 'float32', [3])],
})

const tenWide: NodeInit[] = [
  ...Array.from({ length: 12 }, (_, i) => node('Mul', ['x', `k${i}`], [`m${i}`])),
  node(
    'Sum',
    Array.from({ length: 12 }, (_, i) => `m${i}`),
    ['sum'],
  ),
  node('Relu', ['sum'], ['y']),
]
const tenWeights = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`k${i}`, noise([3], `k${i}`)]))

/** Every opset from 7 on has these, with axes as attributes until 13. */
function ofOpset(opset: number): Specimen {
  return specimen(
    `opset ${opset}`,
    { image },
    {
      opset,
      irVersion: opset < 9 ? 3 : 8,
      nodes: [
        ...convBlock,
        node('Flatten', ['y'], ['flat']),
        node('Gemm', ['flat', 'g', 'h'], ['z'], { transB: 1n }),
        node('Softmax', ['z'], ['probability']),
      ],
      inputs: [port('image', 'float32', [1, 3, 8, 8]), ...(opset < 9 ? [port('g', 'float32', [5, 4])] : [])],
      outputs: [port('probability', 'float32', [1, 5])],
      weights: { ...convWeights, g: noise([5, 4], 'g'), h: noise([5], 'h') },
    },
  )
}

export const zoo: readonly Specimen[] = [
  specimen(
    'initializers listed among the inputs',
    { image },
    {
      irVersion: 3,
      opset: 8,
      nodes: convBlock,
      inputs: [
        port('image', 'float32', [1, 3, 8, 8]),
        port('w', 'float32', [4, 3, 3, 3]),
        port('b', 'float32', [4]),
        ...['scale', 'shift', 'mean', 'var'].map((name) => port(name, 'float32', [4])),
      ],
      outputs: [port('y', 'float32', [1, 4, 1, 1])],
      weights: convWeights,
    },
  ),
  specimen(
    'weights as Constant nodes of every kind',
    { x },
    {
      nodes: [
        node('Constant', [], ['tensor'], { value: noise([3, 3], 'tensor') }),
        node('Constant', [], ['float'], { value_float: 0.5 }),
        node('Constant', [], ['floats'], { value_floats: [1.5, 2.5, -3.5] }),
        node('Constant', [], ['int'], { value_int: 1n }),
        node('Constant', [], ['ints'], { value_ints: [3n, 2n] }),
        {
          opType: 'Constant',
          output: ['sparse'],
          attribute: [
            {
              name: 'sparse_value',
              type: 11,
              sparseTensor: {
                values: { dims: [1n], dataType: 1, floatData: [2] },
                indices: { dims: [1n], dataType: 7, int64Data: [2n] },
                dims: [3n],
              },
            },
          ],
        },
        node('MatMul', ['x', 'tensor'], ['a']),
        node('Mul', ['a', 'float'], ['b']),
        node('Add', ['b', 'floats'], ['c']),
        node('Add', ['c', 'sparse'], ['d']),
        node('Gather', ['d', 'int'], ['g'], { axis: 1n }),
        node('Reshape', ['d', 'ints'], ['e']),
        node('Relu', ['e'], ['y']),
      ],
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y', 'float32', [3, 2]), port('g', 'float32', [2])],
    },
  ),
  specimen(
    'string constants',
    { words: strings([3], ['b', 'ä', 'a']) },
    {
      nodes: [
        node('Constant', [], ['one'], { value_string: 'ä' }),
        node('Constant', [], ['two'], { value_strings: ['a', 'b'] }),
        node('Identity', ['words'], ['same']),
        node('Concat', ['same', 'two'], ['all'], { axis: 0n }),
        node('Equal', ['all', 'one'], ['hits']),
        node('Cast', ['hits'], ['y'], { to: 6n }),
      ],
      opset: 19,
      inputs: [port('words', 'string', [3])],
      outputs: [port('y', 'int32', [5]), port('all', 'string', [5])],
    },
  ),
  specimen(
    'nodes fed by constants only',
    { x },
    {
      nodes: [
        node('Cast', ['half'], ['w32'], { to: 1n }),
        node('Transpose', ['w32'], ['wt'], { perm: [1n, 0n] }),
        node('Split', ['wt'], ['left', 'right'], { axis: 1n }),
        node('MatMul', ['x', 'left'], ['a']),
        node('MatMul', ['x', 'right'], ['b']),
        node('Concat', ['a', 'b'], ['c'], { axis: 1n }),
        node('MatMul', ['c', 'w32'], ['y']),
      ],
      opset: 13,
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y', 'float32', [2, 3]), port('wt', 'float32', [3, 4])],
      // 4x3 words: 1, 2, 0.5, ...
      weights: {
        half: {
          dtype: 'float16',
          shape: [4, 3],
          data: new Uint8Array(
            Uint16Array.from([
              0x3c00, 0x4000, 0x3800, 0xbc00, 0x3400, 0x4200, 0x3c01, 0x3e00, 0xb800, 0x3000, 0x4400, 0x3555,
            ]).buffer,
          ),
        },
      },
    },
    0,
  ),
  specimen(
    'If that captures inputs, intermediates and weights',
    { x, flag: bools([], [true]) },
    {
      nodes: [
        node('Relu', ['x'], ['r']),
        node('Exp', ['r'], ['e']),
        node('If', ['flag'], ['picked'], {
          then_branch: branch([node('Mul', ['r', 'w'], ['t0']), node('Add', ['t0', 'inner'], ['t1'])], 't1', {
            inner: floats([3], [1, 2, 3]),
          }),
          else_branch: branch([node('Sub', ['e', 'x'], ['f1'])], 'f1'),
        }),
        node('Add', ['picked', 'e'], ['y']),
      ],
      inputs: [port('x', 'float32', [2, 3]), port('flag', 'bool', [])],
      outputs: [port('y', 'float32', [2, 3])],
      weights: { w: noise([3], 'w') },
    },
  ),
  specimen(
    'If whose branches differ in shape, with the other branch taken',
    { x, flag: bools([], [false]) },
    {
      nodes: [
        node('Abs', ['x'], ['a']),
        node('If', ['flag'], ['picked'], {
          then_branch: branch([node('Identity', ['a'], ['t'])], 't'),
          else_branch: branch([node('ReduceSum', ['a'], ['f'], { keepdims: 0n })], 'f'),
        }),
        node('Mul', ['picked', 'a'], ['y']),
      ],
      inputs: [port('x', 'float32', [2, 3]), port('flag', 'bool', [])],
      outputs: [port('y')],
    },
  ),
  specimen(
    'Loop with captures and scan outputs',
    { x, limit: ints([], [3]) },
    {
      nodes: [
        node('Sigmoid', ['x'], ['outer']),
        node('Neg', ['x'], ['start']),
        node('Loop', ['limit', '', 'start'], ['last', 'steps'], { body: counted }),
        node('ReduceMax', ['steps'], ['most'], { axes: [0n], keepdims: 0n }),
        node('Add', ['most', 'last'], ['y']),
      ],
      inputs: [port('x', 'float32', [2, 3]), port('limit', 'int64', [])],
      outputs: [port('y')],
      weights: { w: noise([3], 'w') },
    },
  ),
  specimen(
    'Scan with a captured tensor',
    { x },
    {
      nodes: [
        node('Tanh', ['x'], ['rows']),
        node('ReduceMean', ['x'], ['gain'], { axes: [0n], keepdims: 0n }),
        node('Scan', ['zero', 'rows'], ['total', 'shown'], { body: scanned, num_scan_inputs: 1n }),
        node('Add', ['shown', 'total'], ['y']),
      ],
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y', 'float32', [2, 3])],
      weights: { zero: floats([3], [0, 0, 0]) },
    },
  ),
  specimen(
    'If inside a Loop inside an If',
    { x, flag: bools([], [true]), limit: ints([], [2]) },
    {
      nodes: [
        node('Abs', ['x'], ['a']),
        node('Exp', ['x'], ['e']),
        node('If', ['flag'], ['picked'], {
          then_branch: branch(
            [
              node('Loop', ['limit', '', 'a'], ['looped'], {
                body: graph({
                  nodes: [
                    node('If', ['flag'], ['n'], {
                      then_branch: branch([node('Add', ['s', 'e'], ['p'])], 'p'),
                      else_branch: branch([node('Sub', ['s', 'w'], ['q'])], 'q'),
                    }),
                    node('Identity', ['c'], ['d']),
                  ],
                  inputs: [port('i', 'int64', []), port('c', 'bool', []), port('s')],
                  outputs: [port('d', 'bool', []), port('n')],
                }),
              }),
            ],
            'looped',
          ),
          else_branch: branch([node('Neg', ['w'], ['g'])], 'g'),
        }),
        node('Relu', ['picked'], ['y']),
      ],
      inputs: [port('x', 'float32', [2, 3]), port('flag', 'bool', []), port('limit', 'int64', [])],
      outputs: [port('y')],
      weights: { w: noise([2, 3], 'w') },
    },
  ),
  specimen(
    'outputs produced early and used inside',
    { x },
    {
      nodes: [
        node('Relu', ['x'], ['early']),
        node('Exp', ['early'], ['e']),
        node('Tanh', ['e'], ['middle']),
        node('Add', ['middle', 'early'], ['y']),
        node('Neg', ['y'], ['z']),
      ],
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('z', 'float32', [2, 3]), port('early', 'float32', [2, 3]), port('middle', 'float32', [2, 3])],
    },
  ),
  specimen(
    'inputs used only late, one never',
    { x, late: noise([3], 'late'), never: floats([], [7]) },
    {
      nodes: [...line(['Relu', 'Exp', 'Tanh', 'Neg'], 'x', 'n'), node('Mul', ['n', 'late'], ['y'])],
      inputs: [port('x', 'float32', [2, 3]), port('late', 'float32', [3]), port('never', 'float32', [])],
      outputs: [port('y', 'float32', [2, 3])],
    },
  ),
  specimen(
    'an output that is an input, one that is a weight',
    { x },
    {
      nodes: line(['Relu', 'Exp', 'Tanh'], 'x', 'y'),
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('x', 'float32', [2, 3]), port('w', 'float32', [3]), port('y', 'float32', [2, 3])],
      weights: { w: noise([3], 'w') },
    },
  ),
  specimen(
    'no nodes: outputs that are inputs',
    { x },
    {
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('x', 'float32', [2, 3])],
    },
  ),
  specimen(
    'no inputs: outputs that are constants',
    {},
    {
      nodes: [node('Neg', ['w'], ['y'])],
      inputs: [],
      outputs: [port('y', 'float32', [3]), port('w', 'float32', [3])],
      weights: { w: noise([3], 'w') },
    },
  ),
  specimen(
    'boundaries of many types',
    { x },
    {
      nodes: [
        ...[2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13].flatMap((type) => [
          node('Cast', ['big'], [`as${type}`], { to: BigInt(type) }),
          node('Identity', [`as${type}`], [`same${type}`]),
          node('Cast', [`same${type}`], [`back${type}`], { to: 1n }),
        ]),
        node(
          'Sum',
          [2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13].map((type) => `back${type}`),
          ['y'],
        ),
      ].toSpliced(0, 0, node('Mul', ['x', 'hundred'], ['wide']), node('Abs', ['wide'], ['big'])),
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y', 'float32', [2, 3])],
      weights: { hundred: floats([], [100]) },
    },
  ),
  specimen(
    'half precision throughout',
    {
      h: {
        dtype: 'float16',
        shape: [1, 1, 2, 2],
        data: new Uint8Array(Uint16Array.from([0x3c00, 0xbc00, 0x3555, 0x7bff]).buffer),
      },
    },
    {
      nodes: [
        node('Conv', ['h', 'w'], ['c']),
        node('Relu', ['c'], ['r']),
        node('Conv', ['r', 'w'], ['d']),
        node('Add', ['d', 'h'], ['y']),
      ],
      inputs: [port('h', 'float16', [1, 1, 2, 2])],
      outputs: [port('y', 'float16', [1, 1, 2, 2])],
      weights: {
        w: { dtype: 'float16', shape: [1, 1, 1, 1], data: new Uint8Array(Uint16Array.from([0x3666]).buffer) },
      },
    },
  ),
  specimen(
    'a cut twelve tensors wide',
    { x },
    {
      nodes: tenWide,
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y', 'float32', [2, 3])],
      weights: tenWeights,
    },
  ),
  specimen(
    'names with colons, slashes, spaces and accents',
    { 'in:0/ä x': x },
    {
      nodes: [
        node('Relu', ['in:0/ä x'], ['a/b:0'], {}, { name: '/layer:1/Relu' }),
        node('Exp', ['a/b:0'], ['../c'], {}, { name: '/layer:1/Relu' }),
        node('Neg', ['../c'], ['out "put"\n:1'], {}, { name: '' }),
      ],
      inputs: [port('in:0/ä x', 'float32', [2, 3])],
      outputs: [port('out "put"\n:1', 'float32', [2, 3])],
    },
  ),
  specimen(
    'scalars',
    { s: floats([], [2]), n: ints([], [3]) },
    {
      nodes: [
        node('Exp', ['s'], ['e']),
        node('Cast', ['n'], ['f'], { to: 1n }),
        node('Mul', ['e', 'f'], ['m']),
        node('Neg', ['m'], ['y']),
      ],
      inputs: [port('s', 'float32', []), port('n', 'int64', [])],
      outputs: [port('y', 'float32', [])],
    },
  ),
  specimen(
    'tensors without elements',
    { none: floats([0, 3], []) },
    {
      nodes: [
        node('Relu', ['none'], ['r']),
        node('Concat', ['r', 'none'], ['c'], { axis: 0n }),
        node('ReduceSum', ['c', 'axes'], ['s'], { keepdims: 0n }),
        node('Exp', ['s'], ['y']),
      ],
      inputs: [port('none', 'float32', ['rows', 3])],
      outputs: [port('y', 'float32', [3]), port('c', 'float32', ['rows2', 3])],
      weights: { axes: ints([1], [0]) },
    },
  ),
  specimen(
    'optional inputs left out',
    { image },
    {
      nodes: [
        node('Clip', ['image', '', 'most'], ['c']),
        node('Resize', ['c', '', 'scales'], ['big'], { mode: 'nearest' }),
        node('Clip', ['big', 'least', ''], ['d']),
        node('Dropout', ['d'], ['y', '']),
      ],
      inputs: [port('image', 'float32', [1, 3, 8, 8])],
      outputs: [port('y', 'float32', [1, 3, 16, 16])],
      weights: { most: floats([], [0.5]), least: floats([], [-0.5]), scales: floats([4], [1, 1, 2, 2]) },
    },
  ),
  specimen(
    'local functions that call each other',
    { x },
    {
      domains: { own: 1 },
      irVersion: 9,
      nodes: [
        node('Relu', ['x'], ['r']),
        node('Twice', ['r'], ['t'], {}, { domain: 'own' }),
        node('Shift', ['t'], ['u'], {}, { domain: 'own' }),
        node('Neg', ['u'], ['y']),
      ],
      functions: [
        {
          name: 'Shift',
          domain: 'own',
          input: ['a'],
          output: ['b'],
          node: [node('Constant', [], ['one'], { value: floats([1], [1]) }), node('Add', ['a', 'one'], ['b'])],
          opsetImport: [{ domain: '', version: 17n }],
        },
        {
          name: 'Twice',
          domain: 'own',
          input: ['a'],
          output: ['c'],
          node: [node('Add', ['a', 'a'], ['b']), node('Shift', ['b'], ['c'], {}, { domain: 'own' })],
          opsetImport: [
            { domain: '', version: 17n },
            { domain: 'own', version: 1n },
          ],
        },
      ],
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y', 'float32', [2, 3])],
    },
  ),
  specimen(
    'a stored sparse tensor',
    { x },
    {
      nodes: [node('Relu', ['x'], ['r']), node('MatMul', ['r', 'thin'], ['m']), node('Add', ['m', 'x'], ['y'])],
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y', 'float32', [2, 3])],
      sparse: [
        {
          values: { name: 'thin', dims: [2n], dataType: 1, floatData: [1.5, -2] },
          indices: { dims: [2n], dataType: 7, int64Data: [1n, 6n] },
          dims: [3n, 3n],
        },
      ],
    },
  ),
  specimen(
    'sequences inside',
    { x },
    {
      nodes: [
        node('Relu', ['x'], ['r']),
        node('SequenceConstruct', ['r', 'x'], ['list']),
        node('SequenceAt', ['list', 'one'], ['a']),
        node('Exp', ['a'], ['e']),
        node('Add', ['e', 'r'], ['y']),
      ],
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y')],
      weights: { one: ints([], [1]) },
    },
    1,
  ),
  specimen(
    'an optional inside',
    { x },
    {
      nodes: [
        node('Relu', ['x'], ['r']),
        node('Optional', ['r'], ['maybe']),
        node('OptionalGetElement', ['maybe'], ['g']),
        node('Exp', ['g'], ['y']),
      ],
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y')],
    },
    1,
  ),
  specimen(
    'int4 and bfloat16 inside',
    { x },
    {
      opset: 21,
      irVersion: 10,
      nodes: [
        node('Relu', ['x'], ['r']),
        node('Cast', ['r'], ['four'], { to: 22n }),
        node('Cast', ['four'], ['f'], { to: 1n }),
        node('Cast', ['f'], ['brain'], { to: 16n }),
        node('Cast', ['brain'], ['g'], { to: 1n }),
        node('Add', ['g', 'x'], ['y']),
      ],
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y', 'float32', [2, 3])],
    },
    2,
  ),
  specimen(
    'int4 weights',
    { x },
    {
      opset: 21,
      irVersion: 10,
      nodes: [
        node('Relu', ['x'], ['r']),
        node('DequantizeLinear', ['w4', 'scale'], ['w']),
        node('MatMul', ['r', 'w'], ['m']),
        node('Tanh', ['m'], ['y']),
      ],
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y', 'float32', [2, 2])],
      weights: { scale: floats([], [0.25]) },
      storedTensors: [{ name: 'w4', dims: [3n, 2n], dataType: 22, rawData: Uint8Array.of(0x12, 0xf7, 0x83) }],
    },
  ),
  specimen(
    'quantised',
    { image },
    {
      opset: 13,
      nodes: [
        node('QuantizeLinear', ['image', 'step', 'zero'], ['q']),
        node('DequantizeLinear', ['q', 'step', 'zero'], ['f']),
        node('DequantizeLinear', ['w8', 'step', 'zero8'], ['w']),
        node('Conv', ['f', 'w'], ['c']),
        node('QuantizeLinear', ['c', 'coarse', 'zero'], ['q2']),
        node('DequantizeLinear', ['q2', 'coarse', 'zero'], ['d']),
        node('Relu', ['d'], ['y']),
      ],
      inputs: [port('image', 'float32', [1, 3, 8, 8])],
      outputs: [port('y', 'float32', [1, 4, 8, 8])],
      weights: {
        step: floats([], [0.01]),
        coarse: floats([], [0.02]),
        zero: { dtype: 'uint8', shape: [], data: Uint8Array.of(128) },
        zero8: { dtype: 'int8', shape: [], data: Uint8Array.of(0) },
        w8: {
          dtype: 'int8',
          shape: [4, 3, 1, 1],
          data: Uint8Array.from([3, 250, 127, 4, 5, 200, 7, 128, 9, 10, 11, 12]),
        },
      },
    },
  ),
  specimen(
    'shapes that depend on values',
    { x: floats([2, 3], [1, 0, 2, 0, 0, 3]) },
    {
      nodes: [
        node('NonZero', ['x'], ['where']),
        node('Transpose', ['where'], ['rows']),
        node('GatherND', ['x', 'rows'], ['kept']),
        node('Exp', ['kept'], ['y']),
      ],
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y', 'float32', ['count'])],
    },
  ),
  specimen(
    'dynamic dimensions and stale shapes',
    { x: noise([4, 3], 'x4') },
    {
      nodes: [
        node('Shape', ['x'], ['size']),
        node('MatMul', ['x', 'w'], ['m']),
        node('Reshape', ['m', 'size'], ['r']),
        node('ReduceMean', ['r'], ['mean'], { axes: [1n] }),
        node('Sub', ['r', 'mean'], ['y']),
      ],
      inputs: [port('x', 'float32', ['N', 3])],
      outputs: [port('y', 'float32', ['M', 3])],
      weights: { w: noise([3, 3], 'w') },
      valueInfo: [port('m', 'float32', ['N', 3]), port('mean', 'float32', ['N', 1])],
    },
  ),
  specimen(
    'nodes out of order, dead, unnamed and of one name',
    { x },
    {
      nodes: [
        node('Add', ['b', 'c'], ['y'], {}, { name: 'same' }),
        node('Neg', ['x'], ['dead'], {}, { name: 'same' }),
        node('Exp', ['a'], ['c'], {}, { name: 'same' }),
        node('Tanh', ['a'], ['b']),
        node('Relu', ['x'], ['a']),
        node('Abs', ['dead'], ['deader']),
      ],
      inputs: [port('x', 'float32', [2, 3])],
      outputs: [port('y', 'float32', [2, 3])],
      weights: { unused: noise([9], 'unused') },
    },
  ),
  specimen(
    'attention',
    { tokens: noise([1, 4, 8], 'tokens') },
    {
      nodes: [
        ...['q', 'k', 'v'].map((name) => node('MatMul', ['tokens', `w${name}`], [name])),
        node('Transpose', ['k'], ['kt'], { perm: [0n, 2n, 1n] }),
        node('MatMul', ['q', 'kt'], ['scores']),
        node('Softmax', ['scores'], ['weights'], { axis: 2n }),
        node('MatMul', ['weights', 'v'], ['mixed']),
        node('Add', ['mixed', 'tokens'], ['sum']),
        node('LayerNormalization', ['sum', 'gain'], ['y'], { axis: -1n }),
      ],
      inputs: [port('tokens', 'float32', [1, 4, 8])],
      outputs: [port('y', 'float32', [1, 4, 8])],
      weights: { wq: noise([8, 8], 'q'), wk: noise([8, 8], 'k'), wv: noise([8, 8], 'v'), gain: noise([8], 'gain') },
    },
  ),
  specimen(
    'recurrent, with state in and out',
    { steps: noise([3, 1, 2], 'steps'), h: noise([1, 1, 4], 'h') },
    {
      nodes: [
        node('GRU', ['steps', 'w', 'r', '', '', 'h'], ['all', 'last'], { hidden_size: 4n }),
        node('Squeeze', ['all', 'one'], ['flat']),
        node('Tanh', ['flat'], ['y']),
      ],
      inputs: [port('steps', 'float32', [3, 1, 2]), port('h', 'float32', [1, 1, 4])],
      outputs: [port('y', 'float32', [3, 1, 4]), port('last', 'float32', [1, 1, 4])],
      weights: { w: noise([1, 12, 2], 'w'), r: noise([1, 12, 4], 'r'), one: ints([1], [1]) },
    },
  ),
  ...Array.from({ length: 15 }, (_, i) => ofOpset(7 + i)),
]
