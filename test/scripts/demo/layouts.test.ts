import t from 'tap'
import type { ModelFacts } from '#broker/models/catalogue.js'
import { byBlocks, byLayers } from '#scripts/demo/layouts.js'
import type { DeviceId } from '#shared/ids.js'
import type { Region } from '#shared/onnx/regions.js'
import { refuses } from '#test/support/refusal.js'

const devices = (count: number): DeviceId[] =>
  Array.from({ length: count }, (_, i): DeviceId => `d${String(i).padStart(32, '0')}`)

const region = (nodes: number[], more: Partial<Region> = {}): Region => ({
  nodes,
  roots: nodes.slice(0, 1),
  banks: 1,
  channels: 32,
  granule: 2,
  receives: [],
  sends: [],
  ends: [],
  weightBytes: 0,
  exact: true,
  ...more,
})

/** Six nodes in a row, of which the third takes longest; a seventh reads from the first only. */
const facts = (regions: Region[]): ModelFacts => ({
  hash: 'abc',
  nodes: [],
  values: [0, 1, 2, 3, 4].map((node) => ({
    name: `v${node}`,
    dtype: 'float32' as const,
    bytes: 100,
    from: node,
    to: node === 0 ? [1, 6] : [node + 1],
    isOutput: false,
  })),
  nodeUs: [10, 10, 90, 10, 10, 10, 10],
  cuts: [1, 2, 3, 4, 5, 6].map((at) => ({ at, bytes: 100 })),
  inputBytes: 100,
  outputBytes: 100,
  regions,
})

t.test('by layers, each stage is a run of nodes, held by as many devices as are wanted', (t) => {
  const { shape, stages } = byLayers(facts([]), devices(7), 3)
  t.equal(shape, 'chain')
  t.strictSame(
    stages.flatMap(({ nodes }) => nodes),
    [0, 1, 2, 3, 4, 5, 6],
  )
  t.strictSame(
    stages.map((stage) => stage.devices),
    [devices(3), devices(6).slice(3)],
    'the seventh stays idle',
  )
  t.end()
})

t.test('by blocks, the layer that takes longest is parted, what it needs is before it and all else behind', (t) => {
  const parted = region([2, 3])
  const { stages } = byBlocks(facts([region([1]), parted, region([4])]), devices(4))
  t.strictSame(stages, [
    { nodes: [0, 1], devices: devices(1) },
    { nodes: [2, 3], devices: devices(3).slice(1), parts: { region: parted, shares: [16, 16] } },
    { nodes: [4, 5, 6], devices: devices(4).slice(3) },
  ])
  const many = byBlocks(facts([parted]), devices(8)).stages
  t.strictSame(many.find(({ parts }) => parts !== undefined)!.parts!.shares, [10, 10, 12])
  t.strictSame(
    many.flatMap((stage) => stage.devices),
    devices(many.length + 2),
  )
  t.strictSame(
    many.flatMap(({ nodes }) => nodes).sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6],
  )
  const uneven = region([2, 3], { channels: 37, granule: 8 })
  t.strictSame(byBlocks(facts([uneven]), devices(4)).stages[1]!.parts!.shares, [16, 21])
  t.end()
})

t.test('a model that cannot be parted, or not by so few, is refused with the remedy', async (t) => {
  const useless = [region([1], { exact: false }), region([4], { channels: 10, granule: 8 })]
  await refuses(t, 'cannot-cut', /no layer of this model can be parted: use --granularity layer/, () =>
    byBlocks(facts(useless), devices(4)),
  )
  await refuses(t, 'cannot-cut', /takes 4 devices: start more than 3/, () => byBlocks(facts([region([2])]), devices(3)))
  const first = byBlocks(facts([region([2]), region([0])]), devices(3)).stages
  t.strictSame(first[0]!.nodes, [0], 'by fewer devices, a layer with nothing before it')
})
