/** `npm run generate`: what is in the repository but follows from the code: the schemas for editors, and `docs/wire.md`. */

import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hubConfig } from '#broker/config.js'
import { planDocument } from '#broker/planner/plan-document.js'
import { fleetFile } from '#broker/planner/fleet-file.js'
import { deviceConfig } from '#device/config.js'
import { jsonSchemaOf } from '#shared/config.js'
import { wirePage } from './wire-page.js'

/** Every generated file, by its path in the repository. */
export function generated(): Readonly<Record<string, string>> {
  return {
    'config/schema/hub.schema.json': json(jsonSchemaOf(hubConfig, 'Settings of tessera-hub')),
    'config/schema/device.schema.json': json(jsonSchemaOf(deviceConfig, 'Settings of tessera-device')),
    'config/schema/fleet.schema.json': json(jsonSchemaOf(fleetFile, 'A fleet to plan for')),
    'config/schema/plan.schema.json': json(jsonSchemaOf(planDocument, 'A plan: which device runs what of a model')),
    'docs/wire.md': wirePage(),
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}

if (process.argv[1] === import.meta.filename) {
  for (const [name, text] of Object.entries(generated())) {
    const path = join(import.meta.dirname, '../..', name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text)
    process.stdout.write(`${name}\n`)
  }
}
