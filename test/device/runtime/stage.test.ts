import t from 'tap'
import { transferable, type StageEngine } from '#device/runtime/engine.js'
import type { StagePlace } from '#device/runtime/legs.js'
import { maxRetainedBytes, Stage, strangerMs } from '#device/runtime/stage.js'
import { unclaimedMs } from '#device/runtime/unclaimed.js'
import { Refusal } from '#shared/errors.js'
import type { DeviceId } from '#shared/ids.js'
import type { Feeds } from '#shared/onnx/session.js'
import type { Port, Tensor } from '#shared/onnx/tensor.js'
import type { Activation, WireTensor } from '#shared/protocol/tensors.js'
import type { RequestKey } from '#shared/session/requests.js'
import { WatchedClock } from '#test/support/pipeline-world.js'

const client: DeviceId = 'd000000000000000000000000000000aa'
const upstream: DeviceId = 'd000000000000000000000000000000bb'
const stranger: DeviceId = 'd000000000000000000000000000000cc'
const downstream: DeviceId = 'd000000000000000000000000000000dd'
const run = new Uint8Array(8)
const port = (name: string, more: Partial<Port> = {}): Port => ({ name, dtype: 'float32', shape: [2], ...more })
const tensor = (name: string, values = [1, 2], dtype = 'float32'): WireTensor => ({
  name,
  dtype,
  shape: [values.length],
  data: new Uint8Array(Float32Array.from(values).buffer),
})
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** A stage in the middle that doubles `x` into `y`, and what it said; `place` and `engine` may be changed. */
function stageOf(
  place: Partial<StagePlace> = {},
  compute: (feeds: Feeds) => Promise<Record<string, Tensor>> = doubled,
) {
  const clock = new WatchedClock()
  const sent: Activation[] = []
  const told: [DeviceId, number][] = []
  const settled: [DeviceId, number][] = []
  let isClosed = false
  const engine: StageEngine = {
    mode: 'inline',
    run: async (feeds) => ({ outputs: await compute(feeds), computeUs: 5 }),
    close: () => {
      isClosed = true
      return Promise.resolve()
    },
  }
  const events = {
    refuse: undefined as ((activation: Activation) => Refusal | undefined) | undefined,
    send: (activation: Activation, to: DeviceId): void => {
      told.push([to, activation.request])
      const refusal = events.refuse?.(activation)
      if (refusal !== undefined) throw refusal
      sent.push(activation)
    },
    settle: (to: DeviceId, { request }: RequestKey): void => void settled.push([to, request]),
  }
  const whole: StagePlace = {
    plan: 7,
    stage: 1,
    takes: [{ stage: 0, devices: [upstream], tensors: [port('x')] }],
    sends: [{ stage: 2, devices: [downstream], tensors: [port('y')] }],
    runInputs: [port('x')],
    runOutputs: [port('y')],
    ...place,
  }
  const stage = new Stage({ place: whole, engine, events, clock })
  const taken: number[] = []
  return {
    clock,
    sent,
    told,
    settled,
    events,
    stage,
    /** The next stage, or somebody else, has settled these. */
    settle: (keys: readonly RequestKey[], by = downstream): void => stage.settled(keys, by),
    taken,
    get isClosed() {
      return isClosed
    },
    arrive: (request: number, more: Partial<Activation> = {}, from: DeviceId = upstream): void => {
      const hops = Array.from({ length: whole.stage }, (_, stage) => ({ stage, queuedUs: 0, computeUs: 1, sealUs: 0 }))
      const tensors = [tensor('x', [request, 1])]
      const { plan, stage: index } = whole
      const activation = { plan, client, run, request, low: 0, stage: index, hops, tensors, ...more }
      stage.arrived({ activation, from, openUs: 3, took: () => taken.push(request) })
    },
    key: (request: number): RequestKey => ({ client, run, request }),
  }
}

async function doubled(feeds: Feeds): Promise<Record<string, Tensor>> {
  const { data } = feeds['x']!
  const values = new Float32Array(Uint8Array.from(data as Uint8Array).buffer).map((value) => 2 * value)
  return { y: { dtype: 'float32', shape: [values.length], data: new Uint8Array(values.buffer) } }
}
const valuesOf = ({ data }: WireTensor): number[] => [...new Float32Array(Uint8Array.from(data as Uint8Array).buffer)]

t.test(
  'a request is computed, passed on with its hop, and settled upstream only when it is settled downstream',
  async (t) => {
    const { stage, sent, settled, settle, taken, arrive, key } = stageOf()
    arrive(4)
    await turns()
    t.strictSame(
      sent.map(({ request, stage, tensors }) => [request, stage, valuesOf(tensors[0]!)]),
      [[4, 2, [8, 2]]],
    )
    t.match(sent[0]!.hops, [{ stage: 0 }, { stage: 1, computeUs: 5, sealUs: 3 }])
    t.ok(taken.includes(4))
    t.strictSame(settled, [])
    t.equal(stage.retained, 1)
    settle([key(4)])
    t.strictSame(settled, [[upstream, 4]])
    t.strictSame([stage.retained, stage.open, stage.queued], [0, 0, 0])
    settle([key(4), key(99)])
    t.equal(stage.retained, 0, 'what is settled again, or was never here, counts for nothing')
  },
)

t.test(
  'a copy is not computed again: before the result it is dropped, after it the sender hears that it is settled',
  async (t) => {
    const { stage, sent, settled, settle, taken, arrive, key } = stageOf()
    arrive(0)
    arrive(0)
    t.strictSame(taken, [0, 0], 'the copy left the queue at once, too')
    await turns()
    arrive(0)
    settle([key(0)])
    arrive(0)
    await turns()
    t.equal(sent.length, 1)
    t.strictSame(settled, [
      [upstream, 0],
      [upstream, 0],
    ])
    t.equal(stage.counters.duplicates, 3)
  },
)

t.test(
  'tensors that the segment only passes on are the same behind it, though the engine took the memory of its own',
  async (t) => {
    const both = [port('x'), port('skip'), port('both')]
    const greedy = async (feeds: Feeds): Promise<Record<string, Tensor>> => {
      const outputs = await doubled(feeds)
      structuredClone(0, { transfer: transferable(feeds) })
      return outputs
    }
    const { sent, arrive } = stageOf(
      {
        takes: [{ stage: 0, devices: [upstream], tensors: both }],
        runInputs: [port('x'), port('both')],
        sends: [{ stage: 2, devices: [downstream], tensors: [port('skip'), port('y'), port('both')] }],
      },
      greedy,
    )
    // All in one buffer, as they come off the wire.
    const buffer = new Float32Array([1, 2, 3, 4, 5, 6]).buffer
    const tensors = ['x', 'skip', 'both'].map((name, i) => ({
      name,
      dtype: 'float32',
      shape: [2],
      data: new Uint8Array(buffer, i * 8, 8),
    }))
    arrive(0, { tensors })
    await turns()
    t.strictSame(
      sent[0]!.tensors.map((one) => [one.name, valuesOf(one)]),
      [
        ['skip', [3, 4]],
        ['y', [2, 4]],
        ['both', [5, 6]],
      ],
    )
  },
)

t.test('a wrong tensor is the failure of its request, told downstream, and harms no other', async (t) => {
  const wrong: [string, readonly WireTensor[]][] = [
    ['missing', []],
    ['of another name', [tensor('z')]],
    ['of another type', [tensor('x', [1, 2], 'int32')]],
    ['of another shape', [tensor('x', [1, 2, 3])]],
    ['of fewer bytes', [{ ...tensor('x'), data: new Uint8Array(4) }]],
    ['strings', [{ ...tensor('x'), data: ['a', 'b'] }]],
  ]
  const { stage, sent, arrive, taken } = stageOf()
  for (const [i, [, tensors]] of wrong.entries()) arrive(i, { tensors })
  arrive(wrong.length)
  await turns()
  for (const [i, [what]] of wrong.entries()) {
    const told = sent.find(({ request }) => request === i)!
    t.match(told.failure, { code: 'bad-tensor', message: /^stage 1: .*'x'/ }, what)
    t.strictSame(told.tensors, [])
  }
  const good = sent.find(({ request }) => request === wrong.length)!
  t.strictSame([good.failure, valuesOf(good.tensors[0]!)], [undefined, [12, 2]])
  t.equal(stage.counters.failures, wrong.length)
  t.strictSame(new Set(taken), new Set([0, 1, 2, 3, 4, 5, 6]))
})

t.test('a port whose shape depends on values takes any shape of its type', async (t) => {
  const { sent, arrive } = stageOf({
    takes: [{ stage: 0, devices: [upstream], tensors: [port('x', { varies: true })] }],
    runInputs: [port('x', { varies: true })],
  })
  arrive(0, { tensors: [tensor('x', [1, 2, 3, 4])] })
  arrive(1, { tensors: [tensor('x', [1], 'int32')] })
  await turns()
  t.strictSame(valuesOf(sent.find(({ request }) => request === 0)!.tensors[0]!), [2, 4, 6, 8])
  t.equal(sent.find(({ request }) => request === 1)!.failure?.code, 'bad-tensor')
})

t.test('what the engine cannot do is the failure of its request; what only a bug does is not swallowed', async (t) => {
  const { sent, arrive } = stageOf({}, async (feeds) => {
    if (valuesOf({ name: 'x', ...feeds['x']! })[0] === 1) throw new Refusal('bad-model', 'division by zero')
    return {}
  })
  arrive(1)
  arrive(2)
  await turns()
  t.match(sent[0]!.failure, { code: 'bad-model', message: 'stage 1: division by zero' })
  t.match(sent[1]!.failure, { code: 'bad-segment', message: /gave no tensor 'y'/ })
})

t.test('a failure from before is passed on without any work', async (t) => {
  let runs = 0
  const { sent, arrive } = stageOf({}, (feeds) => {
    runs++
    return doubled(feeds)
  })
  const failure = { code: 'bad-model', message: 'stage 0: no' }
  arrive(0, { tensors: [], failure })
  await turns()
  t.equal(runs, 0)
  t.strictSame(sent[0]!.failure, failure)
  t.equal(sent[0]!.hops.length, 2)
})

t.test('an output that no frame can carry becomes a failure that one can', async (t) => {
  const { stage, sent, settle, events, arrive, key } = stageOf()
  events.refuse = ({ failure }) => (failure === undefined ? new Refusal('over-limit', 'too large') : undefined)
  arrive(0)
  await turns()
  t.match(sent[0]!.failure, { code: 'over-limit', message: 'stage 1: too large' })
  t.strictSame(sent[0]!.tensors, [])
  settle([key(0)])
  t.equal(stage.open, 0)
})

t.test(
  'a frame for another place, or from somebody who may not send it, is refused and leaves nothing behind',
  async (t) => {
    const { stage, settled, arrive } = stageOf()
    t.throws(() => arrive(0, { plan: 6 }), { code: 'not-allowed' })
    t.throws(() => arrive(0, { stage: 2 }), { code: 'not-allowed' })
    t.throws(() => arrive(0, {}, stranger), { code: 'not-allowed' })
    t.throws(() => arrive(0, {}, client), { code: 'not-allowed' })
    const hop = { stage: 0, queuedUs: 0, computeUs: 0, sealUs: 0 }
    for (const hops of [[{ ...hop, stage: 1 }], [hop, hop], [{ ...hop, stage: 5 }]]) {
      t.throws(() => arrive(0, { hops }), { code: 'bad-message' })
    }
    t.throws(() => arrive(2000, { low: 3 }), { code: 'over-limit' })
    t.strictSame([stage.open, stage.queued, settled.length], [0, 0, 0])

    const first = stageOf({ stage: 0, takes: [{ stage: 3, devices: [], tensors: [port('x')] }] })
    t.throws(() => first.arrive(0, {}, stranger), { code: 'not-allowed' }, 'a client speaks for itself only')
    const full = Array.from({ length: 256 }, (_, stage) => ({ stage, queuedUs: 0, computeUs: 0, sealUs: 0 }))
    t.throws(() => first.arrive(0, { hops: full }, client), { code: 'bad-message' })
    first.arrive(0, {}, client)
    await turns()
    t.equal(first.sent.length, 1)
  },
)

t.test('a result whose client is no peer waits for it to become one', async (t) => {
  const { clock, stage, sent, settled, events, arrive } = stageOf()
  events.refuse = () => new Refusal('unknown-sender', 'nobody')
  arrive(0)
  await turns()
  clock.step(1000)
  t.strictSame([sent.length, stage.retained, settled.length], [0, 1, 0])
  events.refuse = undefined
  clock.step(250)
  t.equal(sent[0]!.request, 0)
  t.equal(clock.pending, 0)
  t.equal(stage.counters.unclaimed, 0)
})

t.test('a result that nobody comes for is given up in the end, so that those before need not keep it', async (t) => {
  const { clock, stage, sent, settled, events, arrive } = stageOf()
  events.refuse = () => new Refusal('unknown-sender', 'nobody')
  arrive(0)
  await turns()
  clock.step(unclaimedMs + 250)
  t.strictSame(settled, [[upstream, 0]])
  t.strictSame([sent.length, stage.retained, stage.open, stage.counters.unclaimed], [0, 0, 0, 1])
  t.equal(clock.pending, 0)
})

t.test(
  'while the next hop settles nothing, the stage keeps a limited number and a limited size of results',
  async (t) => {
    const many = stageOf()
    for (let request = 0; request < 1024; request++) many.arrive(request)
    for (let request = 0; request < 500; request++) many.arrive(request, { run: new Uint8Array(8).fill(1) })
    await turns()
    for (let i = 0; i < 40; i++) await turns()
    t.equal(many.stage.retained, 1024)
    t.equal(many.stage.queued, 500)
    many.settle([many.key(0), many.key(1)])
    await turns()
    t.strictSame([many.stage.retained, many.stage.queued], [1024, 498], 'for each that is settled one more')

    const large = new Uint8Array(maxRetainedBytes / 2)
    const big = stageOf(
      { sends: [{ stage: 2, devices: [downstream], tensors: [port('y', { varies: true })] }] },
      async () => ({
        y: { dtype: 'uint8', shape: [large.length], data: large },
      }),
    )
    for (let request = 0; request < 9; request++) big.arrive(request)
    for (let i = 0; i < 10; i++) await turns()
    t.ok(big.stage.retained <= 3, `${big.stage.retained} large results`)
    for (let request = 0; request < 9; request++) {
      big.settle([big.key(request)])
      await turns()
    }
    t.strictSame([big.sent.length, big.stage.open], [9, 0])
  },
)

t.test('closed, it gives the queue back, passes nothing on, and ends its engine', async (t) => {
  let finish: (() => void) | undefined
  const closing = stageOf({}, (feeds) => new Promise((resolve) => (finish = () => resolve(doubled(feeds)))))
  for (let request = 0; request < 6; request++) closing.arrive(request)
  await turns()
  t.strictSame(closing.taken, [0, 1], 'two are with the engine')
  await closing.stage.close()
  t.strictSame(new Set(closing.taken), new Set([0, 1, 2, 3, 4, 5]), 'or the window of its sender would stay full')
  t.ok(closing.isClosed)
  finish!()
  await turns()
  t.strictSame([closing.sent.length, closing.stage.queued], [0, 0])

  const waiting = stageOf()
  waiting.events.refuse = () => new Refusal('unknown-sender', 'nobody')
  waiting.arrive(0)
  await turns()
  await waiting.stage.close()
  t.equal(waiting.clock.pending, 0)
})

const [left, right, other]: DeviceId[] = ['11', '22', '33'].map((end): DeviceId => `d${end.padStart(32, '0')}`)

/** Takes `x` from one side and, in two slices, `k` from two others of which one has a twin; sends to the next and to the client. */
const joining: Partial<StagePlace> = {
  stage: 4,
  takes: [
    { stage: 0, devices: [upstream], tensors: [port('x')] },
    { stage: 1, devices: [left!], tensors: [port('k', { shape: [1] }), port('skip')].map(sliced(0)) },
    { stage: 2, devices: [right!, other!], tensors: [port('k', { shape: [1] })].map(sliced(1)) },
  ],
  runInputs: [port('x'), port('k')],
  sends: [
    { stage: 5, devices: [downstream], tensors: [port('y')] },
    {
      stage: 6,
      devices: [],
      tensors: [{ ...port('y', { shape: [1] }), slice: { axis: 0, at: 1, of: 2 } }, port('skip')],
    },
  ],
}

function sliced(at: number) {
  return (one: Port) => (one.name === 'k' ? { ...one, slice: { axis: 0, at, of: 2 } } : one)
}

async function added({ x, k }: Feeds): Promise<Record<string, Tensor>> {
  const [a, b] = [x!, k!].map(({ data }) => new Float32Array(Uint8Array.from(data as Uint8Array).buffer))
  return { y: { dtype: 'float32', shape: [2], data: new Uint8Array(a!.map((value, i) => value + b![i]!).buffer) } }
}

const hop = (stage: number) => ({ stage, queuedUs: 0, computeUs: stage, sealUs: 0 })
/** What each of the three sends of a request; its twin has the odd ones. */
const legsFor = (request: number): [DeviceId, Partial<Activation>][] => [
  [upstream, { hops: [hop(0)], tensors: [tensor('x', [request, 1])] }],
  [left!, { hops: [hop(0), hop(1)], tensors: [tensor('k', [10]), tensor('skip', [7, 8])] }],
  [request % 2 === 0 ? right! : other!, { hops: [hop(0), hop(2)], tensors: [tensor('k', [20])] }],
]

t.test('a request of several frames runs once, when all have come, and goes to all that take of it', async (t) => {
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [1, 2, 0],
  ]) {
    // prettier-ignore
    const { stage, sent, told, settled, settle, arrive, key } = stageOf(joining, added)
    for (const request of [4, 5]) {
      for (const [i, leg] of order.entries()) {
        t.equal(sent.length, 2 * (request - 4), 'nothing goes before')
        const [from, more] = legsFor(request)[leg]!
        arrive(request, more, from)
        arrive(request, more, from)
        t.equal(stage.queued, i < 2 ? 1 : 0)
        await turns()
      }
    }
    t.equal(stage.counters.duplicates, 6, 'each came twice')
    t.equal(stage.counters.frames, 2)
    t.strictSame(
      sent.map(({ request, stage, tensors }) => [request, stage, tensors.map((one) => [one.name, valuesOf(one)])]),
      [4, 5].flatMap((request) => [
        [request, 5, [['y', [request + 10, 21]]]],
        [
          request,
          6,
          [
            ['y', [21]],
            ['skip', [7, 8]],
          ],
        ],
      ]),
    )
    t.strictSame(
      sent[0]!.hops.map((one) => one.stage),
      [0, 1, 2, 4],
      'each hop once',
    )
    t.strictSame(told, [
      [downstream, 4],
      [client, 4],
      [downstream, 5],
      [client, 5],
    ])
    settle([key(4)])
    settle([key(4)])
    settle([key(4)], stranger)
    t.strictSame(settled, [], 'the client has not settled it')
    settle([key(4), key(5)], client)
    t.strictSame(settled, [
      [upstream, 4],
      [left, 4],
      [right, 4],
    ])
    settle([key(5)])
    t.strictSame(settled.slice(3), [
      [upstream, 5],
      [left, 5],
      [other, 5],
    ])
    t.strictSame([stage.open, stage.retained], [0, 0])
  }
})

t.test('a frame by no way of the request, or a twin when it is not its turn, is refused', async (t) => {
  const { stage, arrive } = stageOf(joining, added)
  const more = legsFor(0)[2]![1]
  for (const from of [stranger, client, downstream, other!]) {
    t.throws(() => arrive(0, more, from), { code: 'not-allowed', message: /should come from d0+bb or d0+11 or d0+22/ })
  }
  t.throws(() => arrive(1, more, right), { code: 'not-allowed' })
  t.equal(stage.open, 0)
})

t.test('a failure that comes by one way is told by every way, when the others have come', async (t) => {
  const { stage, sent, settle, arrive, key } = stageOf(joining, added)
  const failure = { code: 'bad-model', message: 'stage 1: no' }
  const [first, second, third] = legsFor(0)
  arrive(0, { tensors: [], failure, hops: [] }, second![0])
  arrive(0, first![1], first![0])
  await turns()
  t.equal(sent.length, 0)
  arrive(0, third![1], third![0])
  await turns()
  t.strictSame(
    sent.map((one) => [one.stage, one.failure, one.tensors]),
    [
      [5, failure, []],
      [6, failure, []],
    ],
  )
  settle([key(0)])
  settle([key(0)], client)
  t.equal(stage.open, 0)

  const wrong = stageOf(joining, added)
  for (const [from, more] of legsFor(2)) {
    wrong.arrive(2, from === right ? { ...more, tensors: [tensor('k', [1, 2])] } : more, from)
  }
  await turns()
  t.match(wrong.sent[1]!.failure, { code: 'bad-tensor', message: /stage 4: tensor 'k' must be float32\[1\]/ })
})

t.test(
  'what came of a request that is done, or that an ended process asked, is settled and not waited for',
  async (t) => {
    const { stage, settled, taken, arrive } = stageOf(joining, added)
    const [first, second] = legsFor(0)
    arrive(0, first![1], first![0])
    arrive(0, second![1], second![0])
    arrive(2, first![1], first![0])
    t.equal(stage.queued, 2)
    arrive(6, { ...first![1], low: 2 }, first![0])
    t.strictSame(settled, [
      [upstream, 0],
      [left, 0],
    ])
    t.equal(stage.open, 2, 'request 2 is not below the mark')
    t.strictSame(taken, [0, 0])
    arrive(0, second![1], second![0])
    t.strictSame(settled.slice(2), [[left, 0]], 'what comes late of it, too')

    stage.serve([{ device: client, run }])
    t.equal(stage.open, 2)
    const next = new Uint8Array(8).fill(9)
    stage.serve([{ device: client, run: next }])
    t.strictSame(settled.slice(3), [
      [upstream, 2],
      [upstream, 6],
    ])
    t.equal(stage.open, 0)
    arrive(7, first![1], first![0])
    t.strictSame(settled.at(-1), [upstream, 7])
    arrive(0, { ...first![1], run: next }, first![0])
    arrive(0, { ...first![1], run: new Uint8Array(8).fill(3) }, first![0])
    t.equal(stage.open, 2, 'the one that runs now, and one of which the hub has not told yet')
    await stage.close()
    t.strictSame(taken, [0, 0, 0, 2, 6, 7, 0, 0], 'all windows are free')
  },
)

t.test(
  'what came in part of a process that the hub never named is a failure in the end, that of others waits',
  async (t) => {
    const { clock, stage, sent, settle, settled, arrive, key } = stageOf(joining, added)
    const [first, second] = legsFor(0)
    arrive(0, first![1], first![0])
    clock.step(strangerMs / 2)
    arrive(2, second![1], second![0])
    clock.step(strangerMs / 2)
    await turns()
    t.strictSame(
      sent.map(({ request, stage, failure }) => [request, stage, failure?.code]),
      [
        [0, 5, 'timed-out'],
        [0, 6, 'timed-out'],
      ],
    )
    settle([key(0)])
    settle([key(0)], client)
    t.strictSame(settled, [
      [upstream, 0],
      [left, 0],
      [right, 0],
    ])
    stage.serve([{ device: client, run }])
    clock.step(10 * strangerMs)
    await turns()
    t.equal(sent.length, 2, 'its client is named by now')
    t.equal(stage.open, 1)
    t.equal(clock.pending, 0)
  },
)

t.test('at its limit a stage still takes the first of all requests', async (t) => {
  const large = new Uint8Array(maxRetainedBytes)
  const sends = [{ stage: 2, devices: [downstream], tensors: [port('y', { varies: true })] }]
  const full = stageOf({ sends }, async () => ({ y: { dtype: 'uint8', shape: [large.length], data: large } }))
  const late = new Uint8Array(8).fill(1)
  full.arrive(0, { run: late })
  await turns()
  full.arrive(1, { run: late })
  full.arrive(7)
  full.arrive(8)
  await turns()
  t.strictSame(
    full.sent.map(({ request }) => request),
    [0, 7],
    'of an earlier run, and before 8',
  )
  t.equal(full.stage.queued, 2)
})

t.test('what nobody takes is settled when it is made', async (t) => {
  const { stage, settled, arrive } = stageOf({ sends: [] })
  arrive(0)
  await turns()
  t.strictSame(settled, [[upstream, 0]])
  t.equal(stage.open, 0)
})
