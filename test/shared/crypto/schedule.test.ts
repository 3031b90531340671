import t from 'tap'
import { concat, toHex } from '#shared/bytes.js'
import { decodeCanonical, encodeCanonical } from '#shared/cbor.js'
import { nodeAeads } from '#shared/crypto/aead.js'
import * as schedule from '#shared/crypto/schedule.js'
import { hmac, sha256 } from '#shared/crypto/hash.js'
import type { DeviceId, FleetId } from '#shared/ids.js'
import { hex, ownVectors } from '#test/support/vectors.js'

interface Traffic {
  key: string
  iv: string
}
interface Pair {
  pairPrk: string
  act: Traffic
  ctl: Traffic
  unl: Traffic
  ratchet1: string
}
interface Answers {
  in: {
    masterSeed: string
    generation: number
    partition: string
    devA: string
    devB: string
    epoch: number
    zone: string
    segment: string
    version: number
  }
  devSeed: string
  pairSeed: string
  escrowKek: string
  in_pairRoot: string
  in_mlkemSs: string
  classic: Pair
  hybrid: Pair
  hub: { enrolPsk: string; hubRoot: string; hubPrk: string }
  prox: { evI: string; evR: string; keyUpdateContext: string }
  bind_in: {
    bindId: string
    S: string
    devRoot: string
    dek: string
    manifestHash: string
    t: number
    neighbours: string[]
  }
  bindHeader: string
  shamirShares: string[]
  neighbours: { nk: string; contribution: string; boxKey: string; box: string }[]
  zz: string
  kekPrk: string
  kek: string
  kekCommit: string
  wrap: string
  file: { salt: string; header: string; key: string; commit: string }
}

const v = ownVectors('key-schedule.json') as Answers
const { epoch, zone, segment, version, generation } = v.in
const fleet: FleetId = `f${v.in.partition}`
const a: DeviceId = `d${v.in.devA}`
const b: DeviceId = `d${v.in.devB}`
const masterSeed = hex(v.in.masterSeed)

t.test('seeds: of a device, of a pair whichever end asks, of the escrow', (t) => {
  t.equal(toHex(schedule.devSeed(masterSeed, { fleet, device: a, epoch, zone })), v.devSeed)
  t.equal(toHex(schedule.pairSeed(masterSeed, { fleet, devices: [a, b], epoch })), v.pairSeed)
  t.equal(toHex(schedule.pairSeed(masterSeed, { fleet, devices: [b, a], epoch })), v.pairSeed)
  t.equal(toHex(schedule.escrowKek(masterSeed, { fleet, device: a, segment, version })), v.escrowKek)
  t.end()
})

t.test('seeds are one HMAC each, over the message that a seed back end is given', (t) => {
  t.equal(toHex(hmac(masterSeed, schedule.devSeedMessage({ fleet, device: a, epoch, zone }))), v.devSeed)
  t.equal(toHex(hmac(masterSeed, schedule.pairSeedMessage({ fleet, devices: [a, b], epoch }))), v.pairSeed)
  const escrow = schedule.escrowKekMessage({ fleet, device: a, segment, version })
  t.equal(toHex(hmac(masterSeed, escrow)), v.escrowKek)
  const zz = schedule.zzMessage({ fleet, device: a, epoch })
  t.equal(toHex(hmac(hex(v.bind_in.devRoot), zz)), v.zz)
  t.end()
})

for (const [name, mlkem] of [
  ['classic', undefined],
  ['hybrid', hex(v.in_mlkemSs)],
] as const) {
  t.test(`pair session, ${name}: root, traffic keys of each purpose, ratchet`, (t) => {
    const prk = schedule.pairPrk(hex(v.pairSeed), hex(v.in_pairRoot), mlkem)
    t.equal(toHex(prk), v[name].pairPrk)
    for (const [purpose, traffic] of [
      [1, v[name].act],
      [2, v[name].ctl],
      [3, v[name].unl],
    ] as const) {
      const facts = { purpose, fleet, epoch, ratchet: 0, from: a, to: b }
      t.equal(toHex(schedule.trafficKey(prk, facts)), traffic.key)
      t.equal(toHex(schedule.trafficIv(prk, facts)), traffic.iv)
      t.not(toHex(schedule.trafficKey(prk, { ...facts, from: b, to: a })), traffic.key, 'each direction has its own')
      t.not(toHex(schedule.trafficKey(prk, { ...facts, ratchet: 1 })), traffic.key)
    }
    t.equal(toHex(schedule.ratchet(prk, { fleet, epoch, next: 1 })), v[name].ratchet1)
    t.end()
  })
}

t.test('device and hub: root salted with the enrolment secret', (t) => {
  t.equal(toHex(schedule.hubPrk(hex(v.hub.enrolPsk), hex(v.hub.hubRoot))), v.hub.hubPrk)
  t.end()
})

t.test('proximity: the key update is bound to the evidence of both ends', (t) => {
  const facts = { fleet, epoch, evidenceI: hex(v.prox.evI), evidenceR: hex(v.prox.evR) }
  t.equal(toHex(schedule.proximityContext(facts)), v.prox.keyUpdateContext)
  t.end()
})

t.test('bind: contributions, share boxes, the three factors, wrap', (t) => {
  const { bindId, S, devRoot, dek, manifestHash, t: threshold, neighbours } = v.bind_in
  const header = encodeCanonical([
    1,
    hex(v.in.partition),
    hex(v.in.devA),
    segment,
    version,
    epoch,
    generation,
    zone,
    threshold,
    neighbours.map(hex),
    hex(bindId),
    hex(manifestHash),
  ])
  t.equal(toHex(header), v.bindHeader)
  const zeroNonce = new Uint8Array(12)
  for (const [index, neighbour] of v.neighbours.entries()) {
    const facts = { fleet, requester: a, segment, version, epoch, zone, bindId: hex(bindId) }
    const given = schedule.contribution(hex(neighbour.nk), facts)
    t.equal(toHex(given), neighbour.contribution)
    const boxKey = schedule.shareBoxKey(given, header)
    t.equal(toHex(boxKey), neighbour.boxKey)
    const share = hex(v.shamirShares[index]!)
    t.equal(toHex(concat(nodeAeads(2).seal(boxKey, zeroNonce, header, [share]))), neighbour.box)
  }
  const zz = schedule.zz(hex(devRoot), { fleet, device: a, epoch })
  t.equal(toHex(zz), v.zz)
  const prk = schedule.kekPrk(hex(v.devSeed), zz, hex(S))
  t.equal(toHex(prk), v.kekPrk)
  const kek = schedule.kek(prk, header)
  const commit = schedule.kekCommit(prk, header)
  t.equal(toHex(kek), v.kek)
  t.equal(toHex(commit), v.kekCommit)
  t.equal(toHex(concat(nodeAeads(2).seal(kek, zeroNonce, concat([header, commit]), [hex(dek)]))), v.wrap)
  t.end()
})

t.test('weights file: key and commitment follow from salt, content key and header', (t) => {
  const prk = schedule.filePrk(hex(v.file.salt), hex(v.bind_in.dek))
  t.equal(toHex(schedule.fileKey(prk, hex(v.file.header))), v.file.key)
  t.equal(toHex(schedule.fileCommit(prk, hex(v.file.header))), v.file.commit)
  t.end()
})

t.test('the evidence and headers of the vectors are deterministic CBOR', (t) => {
  for (const bytes of [v.prox.evI, v.prox.evR, v.bindHeader, v.file.header]) {
    t.equal(toHex(encodeCanonical(decodeCanonical(hex(bytes)))), bytes)
  }
  t.end()
})

t.test('no two labels are the same, so that no two derivations can meet', (t) => {
  const all = Object.values(schedule.labels)
  t.equal(new Set(all).size, all.length)
  const keys = all.map((label) => toHex(schedule.kdf(sha256(), label, [])))
  t.equal(new Set(keys).size, all.length)
  t.end()
})
