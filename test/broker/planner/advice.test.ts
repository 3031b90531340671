import t from 'tap'
import { adviceFor, losses, worthwhile, type Advice } from '#broker/planner/advice.js'
import { changesTo, showRate } from '#broker/planner/changes.js'
import { loadOf } from '#broker/planner/cost.js'
import { optimise } from '#broker/planner/optimise.js'
import { pose } from '#broker/planner/pose.js'
import type { Objective } from '#broker/planner/problem.js'
import { chainOptions, chainWork, fleetFrom } from '#test/support/planned.js'

const work = chainWork([1000, 1000, 1000, 1000])
const throughput: Objective = { kind: 'throughput' }

function advised(text: string, objective = throughput, options = chainOptions, isLate = () => false): Advice[] {
  const fleet = fleetFrom(text)
  const posed = pose(work, fleet, options)
  const { placement, certificate } = optimise(posed.problem, objective)
  const changes = changesTo({ work, fleet, options, posed }, placement, loadOf(posed.problem, placement))
  const solve = (problem: typeof posed.problem) => optimise(problem, objective)
  return adviceFor(changes, { objective, value: certificate.value, solve, isLate, onDone: () => {} })
}

const gainOf = (advice: readonly Advice[], says: RegExp): number | undefined =>
  advice.find((one) => says.test(one.says))?.gain

t.test('where a link is the bottleneck, a second one is what is advised, by its name and rate', (t) => {
  const slow = advised(
    'devices: [{ name: a, memory: 1 MB, speed: 2 }]\nlinks: [{ between: [client, a], rate: 2 Mbit/s }]',
  )
  t.match(worthwhile(slow)[0], { kind: 'link', says: 'a second link of 2 Mbit/s between a and the client' })
  const between = advised(
    'devices: [{ name: a, memory: 1 MB }, { name: b, memory: 1 MB, speed: 0.9 }]\nlinks: [{ between: [a, b], rate: 3 Mbit/s }]',
  )
  t.ok(worthwhile(between, 9).some(({ says }) => says === 'a second link of 3 Mbit/s between a and b'))
  t.ok(Math.abs(worthwhile(slow)[0]!.gain - 0.99) < 0.02, 'twice the rate, but for what a message costs')
  t.end()
})

t.test('one more device, and the loss of one, are worth what planning with them says', (t) => {
  const advice = advised('devices: [{ name: a, count: 2, memory: 1 MB }]')
  t.ok(
    Math.abs(gainOf(advice, /one more device like a/)! - 0.0) < 0.01,
    'four nodes on three devices: still two on one',
  )
  t.ok(Math.abs(gainOf(advice, /^without one a/)! + 0.5) < 0.01)
  t.match(losses(advice), [{ says: 'without one a' }])
  t.end()
})

t.test('a device without which nothing runs is said to be so', (t) => {
  const advice = advised('devices: [{ name: a, memory: 1 MB }, { name: b, memory: 100 B }]')
  t.match(losses(advice), [{ says: 'without a', value: undefined, gain: -1 }])
  t.end()
})

t.test('gains are of rates for throughput and of times else', (t) => {
  const fleet = 'devices: [{ name: a, memory: 1 MB }]\nlinks: [{ between: [client, a], rate: 2 Mbit/s }]'
  const latency = advised(fleet, { kind: 'latency' })
  // 4 ms there, 4 ms of work, 4 ms back; with twice the rate 2, 4 and 2.
  t.ok(Math.abs(gainOf(latency, /a second link/)! - 1 / 3) < 0.02)
  t.end()
})

t.test('settings are tried that would allow more: narrow activations, replicas, graphs', (t) => {
  const advice = advised('devices: [{ name: a, count: 2, memory: 1 MB }]')
  const says = advice.filter(({ kind }) => kind === 'setting').map((one) => one.says)
  for (const word of ['16 bits', '8 bits', '--replicas', '--shape dag'])
    t.ok(
      says.some((one) => one.includes(word)),
      word,
    )
  const all = { ...chainOptions, maxReplicas: 2, bits: 8 as const, shape: 'dag' as const }
  t.strictSame(
    advised('devices: [{ name: a, memory: 1 MB }]', throughput, all).filter(({ kind }) => kind === 'setting'),
    [],
    'and not what is allowed already',
  )
  t.end()
})

t.test('of changes about one thing the cheapest that is about as good is said, and nothing below one percent', (t) => {
  const one = (about: string, rank: number, gain: number, kind: Advice['kind'] = 'link'): Advice => ({
    kind,
    about,
    says: `${about} ${rank}`,
    rank,
    value: 1,
    gain,
  })
  const given = [
    one('x', 1, 0.31),
    one('x', 0, 0.305),
    one('y', 2, 0.2),
    one('y', 3, 0.1),
    one('z', 4, 0.004),
    one('w', 5, 0.4, 'without'),
  ]
  t.strictSame(
    worthwhile(given).map(({ says }) => says),
    ['x 0', 'y 2'],
  )
  t.equal(worthwhile(given, 1).length, 1)
  t.end()
})

t.test('when time is up, no further change is tried', (t) => {
  t.strictSame(
    advised('devices: [{ name: a, memory: 1 MB }]', throughput, chainOptions, () => true),
    [],
  )
  t.end()
})

t.test('rates are written as people do', (t) => {
  t.equal(showRate(12.5), '100 Mbit/s')
  t.equal(showRate(0.000125), '1 kbit/s')
  t.equal(showRate(125), '1 Gbit/s')
  t.equal(showRate(1.1), '8.8 Mbit/s')
  t.end()
})
