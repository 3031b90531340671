import t from 'tap'
import fc from 'fast-check'
import { bottleneckOf, nameOfEnd } from '#broker/planner/bottleneck.js'
import { diffPlans } from '#broker/planner/plan-diff.js'
import { readPlan, signPlan, writePlan, type PlanDocument } from '#broker/planner/plan-document.js'
import { pose } from '#broker/planner/pose.js'
import { toHex } from '#shared/bytes.js'
import { identityFrom } from '#shared/crypto/identity.js'
import { Refusal } from '#shared/errors.js'
import { chainOptions, chainWork, draft, fleetFrom, planFor } from '#test/support/planned.js'
import { refuses } from '#test/support/refusal.js'

const work = chainWork([1000, 2000, 3000, 4000])
const fleet = fleetFrom('devices: [{ name: hub, memory: 1 MB }, { name: cam, count: 3, speed: 0.5, memory: 1 MB }]')
const identity = identityFrom(new Uint8Array(32).fill(7))
const { plan } = planFor(work, fleet)
/** Stage 0 of one device, stage 1 of two parts, stage 2 of two replicas; a spare for the first. */
const wide = (() => {
  const region = { nodes: [1, 2], channels: 8, granule: 2, divided: [1, 2], dividedInputs: [], exact: true }
  const many = fleetFrom('devices: [{ name: hub, memory: 1 MB }, { name: cam, count: 5, speed: 0.5, memory: 1 MB }]')
  const posed = pose({ ...work, regions: [region] }, many, { ...chainOptions, maxReplicas: 2, maxParts: 2 })
  const stages = [
    { nodes: [0], holding: { kind: 'one' as const, class: 1 } },
    { nodes: [1, 2], holding: { kind: 'parts' as const, region: 0, classes: [0, 1] } },
    { nodes: [3], holding: { kind: 'replicas' as const, class: 1, count: 2 } },
  ]
  return draft({ ...work, regions: [region] }, many, posed, { stages }, undefined, [
    { class: 1, holds: undefined, periodUs: 5000, memoryBytes: 2000 },
    undefined,
    { class: 0, holds: { stage: 1, member: 0 }, periodUs: 9000, memoryBytes: 2000 },
  ])
})()

t.test('a plan says who does what, and survives being written and read', (t) => {
  t.strictSame(readPlan(writePlan(plan), 'plan.json'), plan)
  t.strictSame(
    plan.stages.flatMap(({ nodes }) => nodes),
    ['n0', 'n1', 'n2', 'n3'],
  )
  t.strictSame(readPlan(writePlan(wide), 'plan.json'), wide)
  t.match(wide.stages, [
    {
      kind: 'one',
      members: [{ device: 'cam-1', weightBytes: 1000, memoryLimitBytes: 1e6 }],
      spare: { device: 'cam-5', periodUs: 5000 },
    },
    {
      kind: 'parts',
      exact: true,
      members: [
        { device: 'hub', channels: [0, 6] },
        { device: 'cam-2', channels: [6, 8] },
      ],
    },
    { kind: 'replicas', members: [{ device: 'cam-3' }, { device: 'cam-4' }], spare: { device: 'hub' } },
  ])
  t.equal(wide.stages[1]!.members[0]!.weightBytes, 1500, 'of what is divided a part holds its share')
  t.match(
    wide.links.map(({ from, to }) => `${nameOfEnd(wide, from)} to ${nameOfEnd(wide, to)}`),
    [
      'client to cam-1',
      'cam-1 to hub',
      'cam-1 to cam-2',
      'hub to cam-3 (of 2)',
      'cam-2 to cam-3 (of 2)',
      'cam-3 (of 2) to client',
    ],
  )
  t.end()
})

t.test('a signature is over what the plan says, whatever its spaces and the order of its keys', (t) => {
  const signed = signPlan(plan, identity)
  t.equal(signed.signature!.key, toHex(identity.publicKey))
  t.strictSame(readPlan(JSON.stringify(signed), 'plan.json'), signed)
  const { format, ...rest } = signed
  t.strictSame(readPlan(JSON.stringify({ ...rest, format }), 'plan.json'), signed)
  t.end()
})

t.test('a plan that was changed after it was signed is refused, and so is a signature of another key', async (t) => {
  const signed = signPlan(plan, identity)
  const read = (other: unknown) => () => readPlan(JSON.stringify(other), 'plan.json')
  await refuses(t, 'bad-signature', /plan\.json was changed after it was signed/, read({ ...signed, madeAtMs: 5 }))
  const stranger = toHex(identityFrom(new Uint8Array(32).fill(8)).publicKey)
  await refuses(
    t,
    'bad-signature',
    /plan\.json/,
    read({ ...signed, signature: { ...signed.signature!, key: stranger } }),
  )
  await refuses(
    t,
    'bad-signature',
    /plan\.json/,
    read({ ...signed, signature: { ...signed.signature!, key: '00'.repeat(32) } }),
  )
})

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends object ? Mutable<T[K]> : T[K] }
/** The wide plan with something changed in it, as text. */
function edit(change: (plan: Mutable<PlanDocument>) => void): string {
  const copy = structuredClone(wide) as Mutable<PlanDocument>
  change(copy)
  return writePlan(copy)
}

const refused: [title: string, text: string, says: RegExp][] = [
  ['no JSON', '{', /plan\.json:\d+:\d+/],
  ['an empty text', '', /format must be 'tessera-plan\/1', got nothing/],
  [
    'a plan of a later format',
    edit((p) => void (p.format = 'tessera-plan/2' as never)),
    /format must be 'tessera-plan\/1', got 'tessera-plan\/2'/,
  ],
  [
    'an unknown key',
    edit((p) => void Object.assign(p.model, { nme: 1 })),
    /'model\.nme' is not a setting: did you mean 'name'/,
  ],
  [
    'a time that is not finite',
    edit((p) => void (p.predicted.periodUs = Infinity)),
    /predicted\.periodUs must be a number, got null/,
  ],
  [
    'a node in two stages',
    edit((p) => void p.stages[2]!.nodes.push('n0')),
    /a node that no other stage has: stage 0 has it, got 'n0'/,
  ],
  [
    'a node that is missing',
    edit((p) => void p.stages[1]!.nodes.pop()),
    /model\.nodes must be the number of nodes in the stages, 3, got 4/,
  ],
  ['a stage without nodes', edit((p) => void (p.stages[0]!.nodes = [])), /nodes must be at least 1 entry long/],
  [
    'a device with two stages',
    edit((p) => void (p.stages[2]!.members[0]!.device = 'hub')),
    /a device without another stage: it has stage 1, got 'hub'/,
  ],
  [
    'two devices for one',
    edit((p) => void p.stages[0]!.members.push(p.stages[1]!.members[0]!)),
    /one device, where kind is one/,
  ],
  ['one replica', edit((p) => void p.stages[2]!.members.pop()), /two devices or more, where kind is replicas/],
  [
    'channels with a hole',
    edit((p) => void (p.stages[1]!.members[1]!.channels = [7, 8])),
    /a range that begins with 6, where the one before ends/,
  ],
  [
    'parts without channels',
    edit((p) => void delete (p.stages[1]!.members[1] as { channels?: unknown }).channels),
    /a range that begins with 6/,
  ],
  [
    'channels of no part',
    edit((p) => void (p.stages[0]!.members[0]!.channels = [0, 8])),
    /left out: the stage is not in parts/,
  ],
  [
    'parts that do not say if they are exact',
    edit((p) => void delete (p.stages[1] as { exact?: unknown }).exact),
    /exact must be said of a stage in parts/,
  ],
  [
    'a spare that is of the stage',
    edit((p) => void (p.stages[0]!.spare!.device = 'cam-1')),
    /a device that is not of the stage, got 'cam-1'/,
  ],
  [
    'more memory than there is',
    edit((p) => void (p.stages[0]!.members[0]!.memoryBytes = 2e6)),
    /memoryBytes must be at most the limit of 1000000/,
  ],
  [
    'a link to no stage',
    edit((p) => void (p.links[0]!.to = { stage: 9, part: 0 })),
    /links\[0\]\.to must be a stage of the plan/,
  ],
  [
    'a link to no part',
    edit((p) => void (p.links[1]!.to = { stage: 1, part: 2 })),
    /links\[1\]\.to must be a stage of the plan and a part of it/,
  ],
  [
    'a link that goes back',
    edit((p) => void (p.links[1] = { ...p.links[1]!, from: { stage: 2, part: 0 } })),
    /from the client or an earlier stage/,
  ],
  [
    'a link of the client with itself',
    edit((p) => void (p.links[0]!.to = 'client')),
    /from the client or an earlier stage/,
  ],
  ['bytes that do not add up', edit((p) => void (p.links[0]!.bytes = 1)), /the sum of its tensors, 1000, got 1/],
  [
    'a period that no device or link has',
    edit((p) => void (p.predicted.periodUs = 1)),
    /periodUs must be the time of the busiest device or link/,
  ],
  [
    'a memory that no device has',
    edit((p) => void (p.predicted.memoryShare = 0.9)),
    /memoryShare must be the share of the fullest device/,
  ],
  [
    'a certificate of another objective',
    edit((p) => void (p.certificate.objective = { kind: 'latency' })),
    /certificate\.objective must be the objective of the plan/,
  ],
  [
    'a certificate of another value',
    edit((p) => void (p.certificate.value = 1)),
    /certificate\.value must be what the plan reaches/,
  ],
  [
    'a bound above the value',
    edit((p) => void (p.certificate.lowerBound = 1e9)),
    /lowerBound must be at most the value/,
  ],
  ['a gap that does not follow', edit((p) => void (p.certificate.gap = 0.5)), /gap must be value \/ lowerBound - 1/],
]

for (const [title, text, says] of refused) {
  t.test(`refused: ${title}`, async (t) => {
    await refuses(t, 'bad-config', says, () => readPlan(text, 'plan.json'))
  })
}

t.test('whatever is changed in a signed plan, it is refused, or the plan is the same', (t) => {
  const text = JSON.stringify(signPlan(wide, identity))
  const same = readPlan(text, 'plan.json')
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.constantFrom(...'0159ae"{}[],:-. '.split('')), (at, letter) => {
      const other = text.slice(0, at) + letter + text.slice(at + 1)
      try {
        t.strictSame(readPlan(other, 'plan.json'), same)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
      }
    }),
    { numRuns: 60 },
  )
  t.end()
})

t.test(
  'the bottleneck is the busiest device or link, the longest way or the fullest device, as the objective asks',
  (t) => {
    t.match(bottleneckOf(plan), { kind: 'device' })
    const latency = planFor(work, fleet, { kind: 'latency' }).plan
    const way = bottleneckOf(latency)
    if (way.kind !== 'path') throw new Error('no path')
    t.ok(Math.abs(way.latencyUs - latency.predicted.latencyUs) < 1e-6)
    t.ok(Math.abs(way.steps.reduce((sum, { us }) => sum + us, 0) - way.latencyUs) < 1e-6, 'its steps add up')
    t.match(bottleneckOf(planFor(work, fleet, { kind: 'memory' }).plan), { kind: 'memory' })
    t.match(bottleneckOf(planFor(work, fleet, { kind: 'batch', requests: 1 }).plan), { kind: 'path' })
    t.match(bottleneckOf(planFor(work, fleet, { kind: 'batch', requests: 1000 }).plan), { kind: 'device' })
    const slow = fleetFrom('devices: [{ name: a, memory: 1 MB }]\nlinks: [{ between: [client, a], rate: 1 kB/s }]')
    const link = bottleneckOf(planFor(work, slow).plan)
    t.match(link, { kind: 'link', from: 'client', to: 'a', bytes: 1000 })
    t.equal(link.kind === 'link' && Math.round(link.nextShare * 100), 100, 'the way back is as slow')
    const wideWay = bottleneckOf({ ...wide, objective: { kind: 'latency' } })
    t.ok(wideWay.kind === 'path' && Math.abs(wideWay.latencyUs - wide.predicted.latencyUs) < 1e-6, 'also through parts')
    t.end()
  },
)

t.test('the difference of two plans is what each device gets, loses and is sent', (t) => {
  const even = planFor(
    work,
    fleetFrom('devices: [{ name: a, memory: 1 MB }, { name: b, memory: 1 MB, speed: 0.999 }]'),
  ).plan
  const alone = planFor(work, fleetFrom('devices: [{ name: a, memory: 1 MB }]')).plan
  const found = diffPlans(even, alone)
  t.ok(found.sameModel)
  t.strictSame(found.settings, [])
  t.match(found.devices, [
    { device: 'a', after: 0, deliverBytes: 4000 },
    { device: 'b', after: undefined, gains: [], deliverBytes: 0 },
  ])
  t.strictSame(
    [...found.devices[0]!.gains, ...even.stages.find(({ members }) => members[0]!.device === 'a')!.nodes].sort(),
    ['n0', 'n1', 'n2', 'n3'],
  )
  t.strictSame(diffPlans(even, even).devices, [])
  t.strictSame(diffPlans(even, even).unchanged, ['a', 'b'])
  const other = { ...even, model: { ...even.model, hash: 'cd'.repeat(32) } }
  t.equal(diffPlans(even, other).devices.length, 2, 'of another model everything is new')
  t.match(diffPlans(even, { ...even, options: { ...even.options, bits: 8 } }).settings, ['bits 32 → 8'])
  t.end()
})

t.test('a device whose channels change has its segment sent again', (t) => {
  const other = edit((p) => {
    p.stages[1]!.members[0]!.channels = [0, 4]
    p.stages[1]!.members[1]!.channels = [4, 8]
  })
  const found = diffPlans(wide, readPlan(other, 'plan.json'))
  t.match(
    found.devices.map(({ device, gains }) => [device, gains.length]),
    [
      ['cam-2', 2],
      ['hub', 2],
    ],
  )
  t.end()
})
