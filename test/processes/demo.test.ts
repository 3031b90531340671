/** `tessera demo` as people run it: a hub, real devices, real sockets; nothing is left behind, however it ends. */

import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Summary } from '#scripts/demo/summary.js'
import { gone, isAlive, programs, Running } from '#test/support/processes.js'
import { referencePath } from '#test/support/reference.js'

/** A demo with a folder for temporary files of its own, so that what it leaves there is seen. */
function demo(t: Test, ...args: string[]): { running: Running; left: () => string[] } {
  const temporary = join(t.testdir({}), 'tmp')
  mkdirSync(temporary)
  const running = new Running(t, programs.tessera, ['demo', ...args], { env: { TMPDIR: temporary } })
  return { running, left: () => readdirSync(temporary) }
}

function summaryIn(text: string): Summary {
  return JSON.parse(text.trimEnd().split('\n').at(-1)!) as Summary
}

async function completes(
  t: Test,
  devices: number,
  link: string,
  requests: number,
  ...more: string[]
): Promise<Summary> {
  const { running, left } = demo(
    t,
    '--once',
    '--json',
    '--requests',
    `${requests}`,
    '--devices',
    `${devices}`,
    '--link',
    link,
    ...more,
  )
  const { status } = await running.ended
  t.equal(status, 0, running.stderr)
  t.equal(running.stderr, '')
  const summary = summaryIn(running.stdout)
  t.match(summary, { requests, results: requests, bitExact: true, lost: 0, duplicated: 0, interrupted: false })
  t.match(summary, { devices, stages: devices, epoch: 1 })
  t.equal(new Set(summary.pids).size, devices)
  t.notOk(summary.pids.some(isAlive), 'no process is left')
  t.strictSame(left(), [], 'no file is left')
  t.equal(summary.segmentBytes.length, devices)
  t.ok(summary.segmentBytes.every((bytes) => bytes > 0))
  t.equal(summary.hopMs.length, devices)
  t.ok(summary.throughputPerSecond > 0)
  t.ok(summary.latencyMs.p50 > 0 && summary.latencyMs.p50 <= summary.latencyMs.p99)
  const isChain = summary.granularity === 'layer'
  if (isChain) t.strictSame([summary.boundaryBytes.length, summary.links.length], [devices - 1, devices + 1])
  t.strictSame([summary.links[0]!.from, summary.links.at(-1)!.to], ['client', 'client'])
  for (const { from, to, kind, bytes } of summary.links) {
    t.ok(bytes > 0, `${from} -> ${to}`)
    if (link !== 'auto') t.equal(kind, link)
  }
  return summary
}

t.test('200 digits go through four devices over direct links', async (t) => {
  const { accuracy, correct } = await completes(t, 4, 'direct', 200)
  t.ok(accuracy >= 0.97, `accuracy ${accuracy}`)
  t.equal(correct, accuracy * 200)
})

t.test('and through the relay', async (t) => {
  await completes(t, 4, 'relay', 60)
})

t.test('a layer in parts gives the same results, the pieces of the others whole', async (t) => {
  const { stages, segmentBytes, accuracy } = await completes(t, 5, 'auto', 60, '--granularity', 'block')
  t.equal(stages, 5)
  t.ok(
    segmentBytes.some((bytes, i) => bytes === segmentBytes[i - 1]),
    'two parts of one layer are alike',
  )
  t.ok(accuracy >= 0.97, `accuracy ${accuracy}`)
})

t.test('and devices that take requests in turn', async (t) => {
  const { running } = demo(t, '--once', '--json', '--requests', '40', '--devices', '4', '--replicas', '2')
  const { status } = await running.ended
  t.equal(status, 0, running.stderr)
  const summary = summaryIn(running.stdout)
  t.match(summary, { results: 40, bitExact: true, lost: 0, duplicated: 0, devices: 4, stages: 2, replicas: 2 })
  t.equal(summary.links.length, 2 + 4 + 2)
  for (const args of [
    ['--replicas', '5'],
    ['--replicas', '2', '--granularity', 'block'],
  ]) {
    const refused = demo(t, ...args).running
    t.equal((await refused.ended).status, 2)
    t.match(refused.stderr, /--replicas (5 needs as many devices|goes with --granularity layer).*\[usage\]/)
  }
})

for (const devices of [1, 2, 8]) {
  t.test(`and through ${devices} with the links they find`, async (t) => {
    await completes(t, devices, 'auto', 60)
  })
}

const mnist = referencePath('models', 'mnist-8')
t.test('any model with golden data goes through', { skip: mnist === undefined && 'no reference data' }, async (t) => {
  await completes(t, 2, 'auto', 60, '--model', join(mnist!, 'model.onnx'), '--data', mnist!)
})

t.test(
  'a device that is stopped stalls the run; when it goes on, nothing is lost and nothing comes twice',
  async (t) => {
    const { running } = demo(t, '--once', '--json', '--requests', '400', '--devices', '3')
    const [, pid] = await running.says(/device-1 joined as d\w+, pid (\d+)/)
    // At once, before the requests that are to stall can be through.
    await running.says(/^every stage is ready/m)
    process.kill(Number(pid), 'SIGSTOP')
    // A line a second: three that count the same results say that it stalls.
    await running.says(/^(\d+ results of 400).*\n\1.*\n\1/m)
    process.kill(Number(pid), 'SIGCONT')
    t.equal((await running.ended).status, 0, running.stderr)
    t.match(summaryIn(running.stdout), { requests: 400, results: 400, bitExact: true, lost: 0, duplicated: 0 })
  },
)

t.test('Ctrl-C ends a demo that would run for ever with status 0, and leaves nothing', async (t) => {
  const { running, left } = demo(t, '--json', '--devices', '2')
  await running.says(/^[1-9]\d* results, /m)
  t.strictSame(await running.stop('SIGINT'), { status: 0, signal: null }, running.stderr)
  const summary = summaryIn(running.stdout)
  t.match(summary, { interrupted: true, bitExact: true, lost: 0, duplicated: 0 })
  t.notOk(summary.pids.some(isAlive), 'no process is left')
  t.strictSame(left(), [], 'no file is left')
})

t.test('one that was to send a number of requests ends with 130, and with 143 when terminated', async (t) => {
  const { running, left } = demo(t, '--once', '--requests', '20000', '--devices', '2')
  await running.says(/^[1-9]\d* results of 20000/m)
  t.strictSame(await running.stop('SIGINT'), { status: 130, signal: null })
  t.match(running.stdout, /^stopped: /m)
  t.strictSame(left(), [])

  const early = demo(t, '--once', '--devices', '2')
  const [, pid] = await early.running.says(/pid (\d+)/)
  t.strictSame(await early.running.stop('SIGTERM'), { status: 143, signal: null })
  t.match(early.running.stdout, /^stopped before every stage was ready$/m)
  t.notOk(isAlive(Number(pid)))
  t.strictSame(early.left(), [])
})

t.test('when the demo itself is killed, its devices end by themselves', async (t) => {
  const { running } = demo(t, '--devices', '2')
  await running.says(/^[1-9]\d* results, /m)
  const pids = [...running.stdout.matchAll(/pid (\d+)/g)].map(([, pid]) => Number(pid))
  t.equal(pids.length, 2)
  t.strictSame(await running.stop('SIGKILL'), { status: null, signal: 'SIGKILL' })
  for (const pid of pids) await gone(pid)
  t.pass('they are gone')
})
