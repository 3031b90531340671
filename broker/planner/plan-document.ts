/**
 * The plan as a document: what people read, `tessera plan explain` explains and the hub signs. JSON in UTF-8; the signature
 * is over the deterministic CBOR of the plan, so that neither spaces nor the order of keys matter.
 */

import { z } from 'zod'
import { fromHex, toHex } from '#shared/bytes.js'
import { encodeCanonical } from '#shared/cbor.js'
import { parseConfig } from '#shared/config.js'
import { verifyWith, type Identity } from '#shared/crypto/identity.js'
import { Refusal } from '#shared/errors.js'
import { planMistakes } from './plan-rules.js'

/** What a signature is over begins with this, so that a plan's is no signature of anything else. */
const label = 'tessera/plan/1'

const text = z.string().max(1024)
const micros = z.number().min(0).max(1e15)
const bytes = z
  .number()
  .min(0)
  .max(2 ** 50)
const index = z.int().min(0).max(511)
const hex = (length: number): z.ZodString =>
  z.string().regex(new RegExp(`^[0-9a-f]{${2 * length}}$`), `${2 * length} lower-case hex digits`)

const objective = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('throughput') }),
  z.strictObject({ kind: z.literal('latency') }),
  z.strictObject({ kind: z.literal('batch'), requests: z.int().min(1).max(1e9) }),
  z.strictObject({ kind: z.literal('memory') }),
])

const member = z.strictObject({
  device: text.describe('The name or id of the device.'),
  channels: z
    .tuple([z.int().min(0), z.int().min(1)])
    .optional()
    .describe('Of a part: the channels of the region that it does, from the first to before the last.'),
  computeUs: micros.describe('Predicted time of its nodes, of one request.'),
  openUs: micros.describe('Predicted time to open what comes.'),
  sealUs: micros.describe('Predicted time to seal what goes.'),
  weightBytes: bytes.describe('Weights that it is sent.'),
  memoryBytes: bytes.describe('Memory that the segment needs.'),
  memoryLimitBytes: bytes.describe('Memory that the device has for it.'),
})

const stage = z.strictObject({
  nodes: z.array(text).min(1).max(65_536).describe('Nodes of the model, in canonical order.'),
  kind: z
    .enum(['one', 'replicas', 'parts'])
    .describe('One device; several that take requests in turn; or that each do channels.'),
  exact: z.boolean().optional().describe('Of parts: whether they give the bits of the whole.'),
  members: z.array(member).min(1).max(512),
  spare: z
    .strictObject({
      device: text,
      periodUs: micros.describe('Predicted time between two results when it has taken over.'),
      memoryBytes: bytes.describe('Memory that it needs to be ready for that.'),
    })
    .optional()
    .describe('The device that takes over when one of the stage is lost.'),
})

const end = z.union([
  z.literal('client'),
  z.strictObject({ stage: index, part: index.describe('Of a stage in parts, which part; else 0.') }),
])

const link = z.strictObject({
  from: end,
  to: end,
  tensors: z
    .array(z.strictObject({ name: text, bytes: bytes.describe('What crosses here: of a slice, its part.') }))
    .max(65_536),
  bytes: bytes.describe('All that crosses, of one request.'),
  busyUs: micros.describe('Time that the link is busy with it.'),
  latencyUs: micros.describe('Time until it has come, besides.'),
  turns: z.int().min(1).max(262_144).describe('Pairs of devices among which requests go in turn.'),
})

const body = z.strictObject({
  format: z.literal('tessera-plan/1'),
  madeAtMs: z.int().min(0).describe('When it was made: Unix time in milliseconds.'),
  model: z.strictObject({
    name: text,
    hash: hex(32).describe('SHA-256 of the prepared graph.'),
    level: z.enum(['disabled', 'basic', 'extended', 'all']).describe('How far the graph was optimised as a whole.'),
    signature: z.string().max(65_536).describe('Name, dtype and shape of each input.'),
    nodes: z.int().min(1).max(65_536),
  }),
  objective,
  options: z.strictObject({
    granularity: z.enum(['layer', 'block', 'auto']),
    shape: z.enum(['chain', 'dag']),
    maxReplicas: z.int().min(1).max(512),
    bits: z.literal([8, 16, 32]).describe('Width of activations on the way; below 32 is priced, not yet executed.'),
  }),
  stages: z.array(stage).min(1).max(512),
  links: z.array(link).max(262_144),
  predicted: z.strictObject({
    periodUs: micros.describe('Time between two results at saturation.'),
    latencyUs: micros.describe('Time of one request alone.'),
    memoryShare: z.number().min(0).max(1).describe("The largest share of a device's memory that is used."),
  }),
  certificate: z.strictObject({
    objective,
    value: z.number().min(0).describe("Of this plan, in the objective's unit."),
    lowerBound: z.number().min(0).describe('No plan of the space is better than this.'),
    gap: z.number().min(0).describe('value / lowerBound - 1; 0 is proven optimal.'),
    proof: z.string().max(4096),
    remark: z.string().max(4096).optional(),
  }),
})

const signature = z.strictObject({
  key: hex(32).describe('Ed25519 public key of who made the plan.'),
  value: hex(64).describe(`Over the deterministic CBOR of ["${label}", plan without signature].`),
})

export const planDocument = body.extend({ signature: signature.optional() }).superRefine((plan, context) => {
  for (const { path, wanted } of planMistakes(plan)) context.addIssue({ code: 'custom', path, message: wanted })
})

export type PlanBody = z.output<typeof body>
export type PlanDocument = z.output<typeof planDocument>

/** The plan with the signature of `identity`. */
export function signPlan(plan: PlanBody, identity: Identity): PlanDocument {
  const value = identity.sign(signedBytes(plan))
  return { ...plan, signature: { key: toHex(identity.publicKey), value: toHex(value) } }
}

/** The document as people and programs read it. */
export function writePlan(plan: PlanDocument): string {
  return `${JSON.stringify(plan, undefined, 2)}\n`
}

/**
 * A plan from its text, called `fileName`. Throws `Refusal`: `bad-config` with the place and reason of everything that keeps
 * the text from being a plan, `bad-signature` where it has a signature that is not of this plan. Without a signature it is
 * read: who needs one looks for it.
 */
export function readPlan(text: string, fileName: string): PlanDocument {
  const plan = parseConfig(text, fileName, planDocument)
  const { signature: signed, ...unsigned } = plan
  if (signed !== undefined && !verifyWith(fromHex(signed.key))(signedBytes(unsigned), fromHex(signed.value))) {
    throw new Refusal(
      'bad-signature',
      `${fileName} was changed after it was signed, or the signature is of another plan: get it anew from who made it`,
    )
  }
  return plan
}

function signedBytes(plan: PlanBody): Uint8Array {
  return encodeCanonical([label, plan])
}
