import { resolve } from 'node:path'
import t from 'tap'
import { parseFleet } from '#broker/planner/fleet-file.js'
import { readPlan, writePlan } from '#broker/planner/plan-document.js'
import { measured, plannedOn } from '#scripts/plan/planned.js'
import { describePlan } from '#scripts/plan/report.js'
import { drawGraph } from '#scripts/plan/svg.js'
import { referencePath } from '#test/support/reference.js'

const digits = resolve(import.meta.dirname, '../../../..', 'config/models/digits-resnet/model.onnx')

/** Unequal devices, of which the first so many are the fleet. */
const devices = [
  'name: gateway, speed: 1, memory: 1 GiB',
  'name: camera, speed: 0.3, memory: 128 MiB',
  'name: server, speed: 2, memory: 4 GiB',
  'name: panel, speed: 0.5, memory: 256 MiB',
  'name: phone, speed: 0.8, memory: 512 MiB',
  'name: robot, speed: 0.4, memory: 256 MiB',
  'name: kiosk, speed: 0.6, memory: 512 MiB',
  'name: sensor, speed: 0.1, memory: 64 MiB',
]
const asked = {
  name: 'of the reference',
  objective: { kind: 'throughput' },
  granularity: 'layer',
  shape: 'chain',
  replicas: 1,
  pin: [],
  bits: 32,
  seconds: 1,
} as const
const models = ['mnist-8', 'digits-resnet', 'digits-resnet-qdq', 'silero-vad-16k', 'speech-commands-squeezenet']

for (const model of models) {
  const file = model === 'digits-resnet' ? digits : referencePath('models', model, 'model.onnx')
  const options = file === undefined ? { skip: 'no reference models on this machine' } : {}
  t.test(`${model} is planned for 2, 4 and 8 unequal devices`, options, async (t) => {
    const work = await measured({ model: file!, level: 'all' }, () => {})
    for (const count of [2, 4, 8]) {
      const text = `devices:\n${devices
        .slice(0, count)
        .map((one) => `  - { ${one} }\n`)
        .join('')}`
      const fleet = parseFleet(text, 'fleet.yaml')
      const { plan: found, idle, advice } = plannedOn(work, fleet, asked, () => {})
      const { stages, certificate } = found
      t.strictSame(readPlan(writePlan(found), model), found, 'a plan that is one')
      t.ok(certificate.lowerBound <= certificate.value)
      const used = stages.flatMap(({ members }) => members.map(({ device }) => device))
      t.strictSame([...used, ...idle].sort(), fleet.devices.map(({ name }) => name).sort())
      const svg = drawGraph(found, work)
      for (const device of used) t.ok(svg.includes(device), device)
      t.ok(describePlan(found).includes(used[0]!))
      t.ok(advice.every(({ gain }) => gain >= -1))
    }
  })
}
