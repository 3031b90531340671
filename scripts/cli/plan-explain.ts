/** `tessera plan explain`: a plan document in words. */

import { readFile } from 'node:fs/promises'
import { bottleneckOf } from '#broker/planner/bottleneck.js'
import { readPlan, type PlanDocument } from '#broker/planner/plan-document.js'
import { Refusal } from '#shared/errors.js'
import { bottleneckWords, certificateWords, describePlan } from '../plan/report.js'
import { printable } from './model-table.js'

export async function explainPlan(file: string, { json }: { readonly json: boolean }): Promise<void> {
  const plan = await loadPlan(file)
  const bottleneck = bottleneckOf(plan)
  if (json) {
    const says = {
      bottleneck: { ...bottleneck, says: bottleneckWords(bottleneck) },
      certificate: certificateWords(plan),
    }
    process.stdout.write(`${JSON.stringify({ plan, ...says })}\n`)
    return
  }
  const { model, madeAtMs, signature, objective } = plan
  const by = signature === undefined ? 'not signed' : `signed by ${signature.key}`
  process.stdout.write(
    `${printable(`plan for ${model.name} (${model.hash.slice(0, 16)}…), ${model.nodes} nodes, for ${objective.kind}`)}\n` +
      `made ${new Date(madeAtMs).toISOString()}, ${by}\n\n${describePlan(plan)}`,
  )
}

/** Reads a plan document. Throws `Refusal`: `missing-file`, and what `readPlan` refuses. */
export async function loadPlan(file: string): Promise<PlanDocument> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const reason = error.code === 'ENOENT' ? 'does not exist' : `cannot be read (${error.code})`
    throw new Refusal('missing-file', `${file} ${reason}: name a plan document, as 'what-if --out' writes it`)
  })
  return readPlan(text, file)
}
