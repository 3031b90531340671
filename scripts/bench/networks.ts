/**
 * The networks that the benches run: the architectures of ResNet-50 and MobileNetV2 with batch normalisation folded in
 * and random weights, which cost what trained ones cost. Made here, the same bytes for the same code; nothing downloaded.
 */

import { create, type MessageInitShape } from '@bufbuild/protobuf'
import {
  ModelSchema,
  type AttributeSchema,
  type NodeSchema,
  type TensorValueSchema,
  type ValueSchema,
} from '#shared/onnx/onnx_pb.js'
import { encodeModel } from '#shared/onnx/parse.js'

/** Large, medium, small: about 88, 9.4 and 2.8 ms on one thread of the machine that DESIGN's figures come from. */
export const networkNames = ['L', 'M', 'S'] as const
export type NetworkName = (typeof networkNames)[number]

/** The ONNX file of a network: one image in, as bytes `[1, 3, side, side]` like a camera's; 1000 scores out. */
export function buildNetwork(name: NetworkName): Uint8Array<ArrayBuffer> {
  if (name === 'L') return resNet50(224)
  return mobileNetV2(name === 'M' ? 224 : 112)
}

const classes = 1000
/** Made-up images are of zeros and ones. */
const imageGain = Math.SQRT2

/** He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", table 1, 50 layers; stride in the 3x3 (v1.5). */
function resNet50(side: number): Uint8Array<ArrayBuffer> {
  const net = new Writer(side)
  let x = net.relu(net.conv(net.image(), 3, 64, { kernel: 7, stride: 2, gain: imageGain }))
  x = net.node('MaxPool', [x], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] })
  let channels = 64
  for (const [blocks, width, stride] of [
    [3, 64, 1],
    [4, 128, 2],
    [6, 256, 2],
    [3, 512, 2],
  ] as const) {
    for (let block = 0; block < blocks; block++) {
      const first = block === 0
      const narrow = net.relu(net.conv(x, channels, width, {}))
      const spatial = net.relu(net.conv(narrow, width, width, { kernel: 3, stride: first ? stride : 1 }))
      // Branches are added at half strength, so that sixteen additions do not blow the values up.
      const wide = net.conv(spatial, width, 4 * width, { gain: 0.5 })
      const shortcut = first ? net.conv(x, channels, 4 * width, { stride, gain: 0.5 }) : x
      x = net.relu(net.node('Add', [wide, shortcut]))
      channels = 4 * width
    }
  }
  return net.finish(x, channels)
}

/** Sandler et al.: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2, width 1. */
function mobileNetV2(side: number): Uint8Array<ArrayBuffer> {
  const net = new Writer(side)
  let x = net.relu6(net.conv(net.image(), 3, 32, { kernel: 3, stride: 2, gain: imageGain }))
  let channels = 32
  for (const [expand, width, blocks, stride] of [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
  ] as const) {
    for (let block = 0; block < blocks; block++) {
      const first = block === 0
      const inner = channels * expand
      const expanded = expand === 1 ? x : net.relu6(net.conv(x, channels, inner, {}))
      const depthwise = net.conv(expanded, inner, inner, { kernel: 3, stride: first ? stride : 1, group: inner })
      const narrow = net.conv(net.relu6(depthwise), inner, width, { gain: 0.7 })
      x = first ? narrow : net.node('Add', [narrow, x])
      channels = width
    }
  }
  return net.finish(net.relu6(net.conv(x, channels, 1280, {})), 1280)
}

interface ConvShape {
  readonly kernel?: number
  readonly stride?: number
  readonly group?: number
  /** Factor on the weights beyond what keeps the variance after a rectifier (He et al. 2015, "Delving Deep"). */
  readonly gain?: number
}

/** Writes a network node by node, in order. */
class Writer {
  readonly #side: number
  readonly #nodes: MessageInitShape<typeof NodeSchema>[] = []
  readonly #weights: MessageInitShape<typeof TensorValueSchema>[] = []
  readonly #uniform = uniformFrom(1)

  constructor(side: number) {
    this.#side = side
  }

  /** Adds a node with one output; returns the output's name. */
  node(
    opType: string,
    input: readonly string[],
    ints: Readonly<Record<string, readonly number[] | number>> = {},
  ): string {
    const output = `t${this.#nodes.length}`
    const attribute = Object.entries(ints).map(([name, value]) => ({ name, ...intsOf(value) }))
    this.#nodes.push({ opType, input: [...input], output: [output], name: `n${this.#nodes.length}`, attribute })
    return output
  }

  /** The input, as numbers. */
  image(): string {
    return this.node('Cast', ['image'], { to: float32 })
  }

  relu(x: string): string {
    return this.node('Relu', [x])
  }

  relu6(x: string): string {
    if (!this.#weights.some(({ name }) => name === 'six')) {
      this.#weight('zero', [], Float32Array.of(0))
      this.#weight('six', [], Float32Array.of(6))
    }
    return this.node('Clip', [x, 'zero', 'six'])
  }

  conv(x: string, from: number, to: number, { kernel = 1, stride = 1, group = 1, gain = 1 }: ConvShape): string {
    const inputs = (from / group) * kernel * kernel
    const at = this.#nodes.length
    const weight = this.#random(`w${at}`, [to, from / group, kernel, kernel], gain * Math.sqrt(2 / inputs))
    const bias = this.#random(`b${at}`, [to], 0.05)
    return this.node('Conv', [x, weight, bias], {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: Array.from({ length: 4 }, () => kernel >> 1),
      group,
    })
  }

  /** Pools, classifies, and gives the file's bytes. */
  finish(x: string, channels: number): Uint8Array<ArrayBuffer> {
    const flat = this.node('Flatten', [this.node('GlobalAveragePool', [x])], { axis: 1 })
    const weight = this.#random('w', [classes, channels], 1 / Math.sqrt(channels))
    const scores = this.node('Gemm', [flat, weight, this.#random('b', [classes], 0.05)], { transB: 1 })
    return encodeModel(
      create(ModelSchema, {
        irVersion: 8n,
        opsetImport: [{ domain: '', version: 13n }],
        graph: {
          name: 'bench',
          node: this.#nodes,
          initializer: this.#weights,
          input: [port('image', uint8, [1, 3, this.#side, this.#side])],
          output: [port(scores, float32, [1, classes])],
        },
      }),
    )
  }

  #random(name: string, shape: readonly number[], deviation: number): string {
    const values = new Float32Array(shape.reduce((count, size) => count * size, 1))
    const width = deviation * Math.sqrt(12)
    for (let i = 0; i < values.length; i++) values[i] = (this.#uniform() - 0.5) * width
    return this.#weight(name, shape, values)
  }

  #weight(name: string, shape: readonly number[], values: Float32Array<ArrayBuffer>): string {
    this.#weights.push({ name, dims: shape.map(BigInt), dataType: float32, rawData: new Uint8Array(values.buffer) })
    return name
  }
}

/** ONNX's numbers for the types float and uint8, and for attributes that are an int or a list of them. */
const float32 = 1
const uint8 = 2
const intType = 2
const intsType = 7

function intsOf(value: readonly number[] | number): MessageInitShape<typeof AttributeSchema> {
  return typeof value === 'number' ? { type: intType, i: BigInt(value) } : { type: intsType, ints: value.map(BigInt) }
}

function port(name: string, elemType: number, shape: readonly number[]): MessageInitShape<typeof ValueSchema> {
  const dim = shape.map((size) => ({ size: { case: 'value' as const, value: BigInt(size) } }))
  return { name, type: { kind: { case: 'tensor', value: { elemType, shape: { dim } } } } }
}

/** Numbers in `[0, 1)`, 25 million of them in well under a second (mulberry32). Never for secrets. */
function uniformFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let z = Math.imul(state ^ (state >>> 15), state | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32
  }
}
