import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import t, { type Test } from 'tap'
import { noProfiles, withDevice, withLink, withSegment, type Profiles } from '#broker/planner/profile.js'
import type { DeviceId } from '#shared/ids.js'

const program = resolve(import.meta.dirname, '../../scripts/tessera.js')
const a: DeviceId = `d${'a1'.repeat(16)}`
const b: DeviceId = `d${'b2'.repeat(16)}`

interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

async function profile(...args: string[]): Promise<Ended> {
  return new Promise((done) => {
    const child = execFile(process.execPath, [program, 'fleet', 'profile', ...args], (_, stdout, stderr) =>
      done({ status: child.exitCode ?? -1, stdout, stderr }),
    )
  })
}

/** The folder of a hub that has measured two devices, one three hours and one two days ago. */
async function measured(t: Test): Promise<string> {
  const nowMs = Date.now()
  const kernels = { conv: 100, matmul: 100, element: 100 }
  const crossing = { messageUs: 20, byteUs: 0.001 }
  const common = {
    boot: '00'.repeat(8),
    stageUs: 90,
    seal: crossing,
    open: crossing,
    memoryBytes: 4e9,
    sessionBytes: 1e6,
  }
  const slow = { conv: 400, matmul: 200, element: 100 }
  let known: Profiles = { ...noProfiles, hub: { kernels, atMs: nowMs } }
  known = withDevice(known, { ...common, device: a, name: 'shelf', kernels, atMs: nowMs - 10_800_000 })
  known = withDevice(known, { ...common, device: b, name: 'till\u001b[31m', kernels: slow, atMs: nowMs - 172_800_000 })
  const link = { kind: 'relay' as const, byteUs: 0.08, messageUs: 300, roundTripUs: 2500, atMs: nowMs - 1_800_000 }
  known = withLink(known, { ...link, from: a, to: b })
  known = withSegment(known, {
    device: b,
    model: 'ef'.repeat(32),
    from: 0,
    to: 10,
    computeUs: 15_000,
    expectedUs: 10_000,
    peakBytes: 3e7,
    by: 'order',
    atMs: nowMs - 18_000_000,
  })
  const folder = join(t.testdir({}), 'hub')
  await mkdir(folder)
  await writeFile(join(folder, 'profiles.json'), JSON.stringify(known))
  return folder
}

t.test('what a hub has measured is shown to people', async (t) => {
  const { status, stdout } = await profile('--state', await measured(t))
  t.equal(status, 0)
  t.match(stdout, /^2 devices\n/)
  t.match(stdout, /shelf +da1a1a1a1 +1\.00 +1\.00 +1\.00 +90 us +20 us \+ 1\.00 ms\/MB.* 4\.0 GB +3 h\n/)
  t.match(stdout, /till\ufffd\[31m +db2b2b2b2 +0\.25 +0\.50 +1\.00 .* 2 days, stale\n/, 'and obeys nobody')
  t.match(stdout, /1 links\n.*\nshelf +till.* relay +100 Mbit\/s +2\.50 ms +300 us +30 min/)
  t.match(stdout, /1 segments\n.*\ntill.* efefefef +0-9 +15\.0 ms +1\.50 x +30\.0 MB +by order +5 h/)
})

t.test('and to programs', async (t) => {
  const { status, stdout } = await profile('--state', await measured(t), '--json')
  t.equal(status, 0)
  const said = JSON.parse(stdout) as { devices: unknown[]; links: unknown[] }
  t.match(said, {
    version: 1,
    devices: [
      { device: a, speed: { conv: 1 }, isStale: false },
      { device: b, speed: { conv: 0.25, matmul: 0.5, element: 1 }, isStale: true },
    ],
    links: [{ from: a, to: b, kind: 'relay', byteUs: 0.08, isStale: false }],
    segments: [{ from: 0, to: 10, by: 'order' }],
  })
})

t.test('a folder without profiles, and a file that is none, are refused with what to do', async (t) => {
  const folder = t.testdir({ bad: { 'profiles.json': '{"version":9}' } })
  const none = await profile('--state', join(folder, 'none'))
  t.equal(none.status, 3)
  t.match(none.stderr, /holds no profiles: name the folder of a hub with --state/)
  const bad = await profile('--state', join(folder, 'bad'))
  t.equal(bad.status, 3)
  t.match(bad.stderr, /profiles\.json' holds no profiles of this version .*remove it/)
  t.equal((await profile('--stat', 'x')).status, 2)
})
