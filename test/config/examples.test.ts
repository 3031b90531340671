/** The worked examples in `config/`, and what is generated beside them, are what the programs take today. */

import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import t from 'tap'
import type { z } from 'zod'
import { hubConfig } from '#broker/config.js'
import { deviceConfig } from '#device/config.js'
import { loadConfig, parseConfig } from '#shared/config.js'
import { generated } from '#scripts/generate.js'

const root = resolve(import.meta.dirname, '../../..')
const examples: Record<string, z.ZodObject> = { 'hub.yaml': hubConfig, 'device.yaml': deviceConfig }

t.test('every example in config/ has a shape that it is tested with', (t) => {
  const found = readdirSync(join(root, 'config')).filter((name) => name.endsWith('.yaml'))
  // The fleet file is a list of devices, which has no defaults to compare with: test/broker/planner/fleet-file.test.ts.
  t.strictSame(found.sort(), [...Object.keys(examples), 'fleet.yaml'].sort())
  t.end()
})

for (const [name, shape] of Object.entries(examples)) {
  const path = join(root, 'config', name)
  const text = readFileSync(path, 'utf8')

  t.test(`${name} is taken, and what it shows as defaults are the defaults`, async (t) => {
    const read = await loadConfig(path, shape)
    const bare = parseConfig('', 'defaults', shape, { fleet: 'f0123456789abcdef' })
    const { state, deploy, fleet, ...shown } = read
    const { state: _, fleet: __, ...defaults } = bare
    t.strictSame(shown, defaults)
    t.ok(state)
    t.ok(deploy ?? fleet)
  })

  t.test(`${name} names every setting with its sentence, and the schema for editors`, (t) => {
    const [first] = text.split('\n')
    const schema = /^# yaml-language-server: \$schema=(\S+)$/.exec(first!)?.[1]
    t.ok(schema)
    const file = join('config', dirname(name), schema!)
    t.ok(file in generated(), file)
    const words = text.replace(/\n *# /g, ' ')
    for (const [key, description] of settingsOf(shape)) {
      t.match(text, new RegExp(`^ *(# )?${key}:`, 'm'), key)
      if (description === undefined) continue
      const opening = description.split('. ')[0]!.split(': ')[0]!
      t.ok(words.includes(opening), `${key} is explained as in the schema: ${opening}`)
    }
    t.end()
  })
}

t.test('a setting that is no longer known would be refused with its place', async (t) => {
  const path = join(t.testdir({ 'hub.yaml': 'listen:\n  prot: 1883\n' }), 'hub.yaml')
  await t.rejects(loadConfig(path, hubConfig), { message: /hub\.yaml:2:3 {2}'listen\.prot'.*did you mean 'port'/ })
})

t.test('what is generated is what `npm run generate` would make now', (t) => {
  for (const [name, text] of Object.entries(generated())) {
    t.equal(readFileSync(join(root, name), 'utf8'), text, `${name}: run npm run generate`)
  }
  t.end()
})

/** Every setting with a value of its own, and groups, with their sentences. */
function settingsOf(shape: z.core.$ZodType): [key: string, description: string | undefined][] {
  const def = (shape as z.core.$ZodTypes)._zod.def
  if ('innerType' in def) return settingsOf(def.innerType)
  if (def.type !== 'object') return []
  return Object.entries(def.shape).flatMap(([key, inner]) => {
    const below = settingsOf(inner)
    const { description } = inner as z.ZodType
    return below.length > 0 ? [[key, undefined] as [string, undefined], ...below] : [[key, description]]
  })
}
