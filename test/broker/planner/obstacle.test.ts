import t from 'tap'
import { optimise } from '#broker/planner/optimise.js'
import type { DeviceClass, Link, Problem } from '#broker/planner/problem.js'
import { refuses } from '#test/support/refusal.js'

const link: Link = { messageUs: 10, byteUs: 0.01, latencyUs: 100 }
const throughput = { kind: 'throughput' } as const

function device(name: string, memoryBytes: number, bars: readonly number[] = []): DeviceClass {
  const crossing = { messageUs: 5, byteUs: 0.001 }
  const nodeUs = [100, 200, 300, 400].map((us, node) => (bars.includes(node) ? Infinity : us))
  return { name, count: 1, nodeUs, stageUs: 10, open: crossing, seal: crossing, memoryBytes, sessionBytes: 100 }
}

/** Four nodes in a row, 1000 bytes of weights each. */
function problemOf(classes: readonly DeviceClass[], changes: Partial<Problem> = {}): Problem {
  return {
    nodes: ['stem', 'body', 'neck', 'head'].map((name) => ({ name, weightBytes: 1000, scratchBytes: 50 })),
    values: [-1, 0, 1, 2, 3].map((from) => ({
      name: `v${from + 1}`,
      bytes: 10,
      from: from === -1 ? undefined : from,
      to: from === 3 ? [] : [from + 1],
      isOutput: from === 3,
    })),
    classes,
    links: classes.map(() => classes.map(() => link)),
    fromClient: classes.map(() => link),
    toClient: classes.map(() => link),
    regions: [],
    shape: 'chain',
    maxReplicas: 1,
    maxParts: 1,
    ...changes,
  }
}

t.test('a node that no device may run is named', async (t) => {
  const problem = problemOf([device('pi', 1e6, [2]), device('nuc', 1e6, [2])])
  await refuses(t, 'cannot-plan', /no device may run node neck/, () => optimise(problem, throughput))
})

t.test('a node that is too big for every device is named, with what is missing', async (t) => {
  const problem = problemOf([device('pi', 900), device('nuc', 1100)])
  await refuses(t, 'cannot-plan', /node stem is too big .* nuc, the largest, lacks 50 bytes/, () =>
    optimise(problem, throughput),
  )
})

t.test('a pin to a device that has not the memory cannot hold', async (t) => {
  const problem = problemOf([device('pi', 1100, []), device('nuc', 1e6, [1])])
  await refuses(t, 'cannot-plan', /node body .* may run on: pi lacks 50 bytes/, () => optimise(problem, throughput))
})

t.test('pins that tear a device apart cannot hold', async (t) => {
  const problem = problemOf([device('pi', 1e6, [1, 3]), device('nuc', 1e6, [0, 2])])
  await refuses(t, 'cannot-plan', /stem and neck may run on pi only, body between them may not/, () =>
    optimise(problem, throughput),
  )
})

t.test('a model that is too big for the fleet: by how much, and the smallest addition that would do', async (t) => {
  const classes = [device('pi', 1300), device('nuc', 2300)]
  const problem = problemOf(classes)
  let addition = 0
  await refuses(
    t,
    'cannot-plan',
    /400 bytes too big for the fleet.* one more device like nuc .* with \d+ bytes/,
    () => {
      try {
        optimise(problem, throughput)
      } catch (error) {
        addition = Number(/with (\d+) bytes/.exec(String(error))![1])
        throw error
      }
    },
  )
  const withOne = (memoryBytes: number): Problem => problemOf([...classes, device('added', memoryBytes)])
  t.equal(optimise(withOne(addition), throughput).placement.stages.length, 3)
  await refuses(t, 'cannot-plan', /too big/, () => optimise(withOne(addition * 0.99), throughput))
})

t.test('devices that may not send to each other are an obstacle of their own', async (t) => {
  const classes = [device('pi', 2500), device('nuc', 2500)]
  const links = [
    [link, undefined],
    [undefined, link],
  ]
  await refuses(t, 'cannot-plan', /may not send to each other/, () =>
    optimise(problemOf(classes, { links }), throughput),
  )
})

t.test('a batch of no whole number is refused', async (t) => {
  const problem = problemOf([device('pi', 1e6)])
  for (const requests of [0, -1, 1.5, NaN]) {
    await refuses(t, 'cannot-plan', /batch of/, () => optimise(problem, { kind: 'batch', requests }))
  }
})

const nodes = problemOf([]).nodes
const good = device('pi', 1e6)
const wrong: [name: string, words: RegExp, changes: Partial<Problem>][] = [
  ['no node', /no node/, { nodes: [], values: [] }],
  ['no device', /0 devices/, { classes: [] }],
  ['half a device', /number of devices like pi is 0.5/, { classes: [{ ...good, count: 0.5 }] }],
  [
    'a time that is not a number',
    /time of node body on device pi is NaN/,
    { classes: [{ ...good, nodeUs: [1, NaN, 1, 1] }] },
  ],
  ['a negative time', /is -1; give 0 or more/, { classes: [{ ...good, nodeUs: [1, 1, -1, 1] }] }],
  ['times for other nodes', /times for 1 of 4 nodes/, { classes: [{ ...good, nodeUs: [1] }] }],
  ['a stage that takes no time at all and less', /time of a stage/, { classes: [{ ...good, stageUs: -2 }] }],
  ['sealing for ever', /sealing a byte/, { classes: [{ ...good, seal: { messageUs: 0, byteUs: Infinity } }] }],
  ['no memory', /0 bytes of memory/, { classes: [{ ...good, memoryBytes: 0 }] }],
  ['a link that is not a number', /latency of the link/, { links: [[{ ...link, latencyUs: NaN }]] }],
  ['a link of rate zero', /1 \/ rate/, { fromClient: [{ ...link, byteUs: Infinity }] }],
  ['links for other devices', /links do not match/, { links: [] }],
  [
    'weights below nothing',
    /weights of node stem/,
    { nodes: nodes.with(0, { name: 'stem', weightBytes: -1, scratchBytes: 0 }) },
  ],
  [
    'a value from nowhere',
    /node that makes value v/,
    { values: [{ name: 'v', bytes: 1, from: 9, to: [1], isOutput: false }] },
  ],
  [
    'a value twice to one',
    /do not ascend/,
    { values: [{ name: 'v', bytes: 1, from: 0, to: [1, 1], isOutput: false }] },
  ],
  ['nodes out of order', /back to node stem/, { values: [{ name: 'v', bytes: 1, from: 1, to: [0], isOutput: false }] }],
  [
    'a cycle',
    /stem, body form a cycle/,
    {
      values: [
        { name: 'v', bytes: 1, from: 1, to: [0], isOutput: false },
        { name: 'w', bytes: 1, from: 0, to: [1], isOutput: false },
      ],
    },
  ],
  ['no replica', /limit of replicas is 0/, { maxReplicas: 0 }],
  ['half a part', /limit of parts is 0.5/, { maxParts: 0.5 }],
  [
    'a region with a hole',
    /left at node body and entered again/,
    { regions: [{ nodes: [0, 2], channels: 4, granule: 2, divided: [0], dividedInputs: [] }] },
  ],
  [
    'a region that divides what it has not',
    /divides a node that is not in it/,
    { regions: [{ nodes: [0], channels: 4, granule: 2, divided: [1], dividedInputs: [] }] },
  ],
  ['values sealed once in a chain', /only in shape 'dag'/, { sealedOnce: true }],
]

for (const [name, words, changes] of wrong) {
  t.test(`a problem with ${name} is refused`, async (t) => {
    await refuses(t, 'cannot-plan', words, () => optimise(problemOf([good], changes), throughput))
  })
}
