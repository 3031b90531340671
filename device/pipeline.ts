/** What a client is told of a plan, made into ways over its channels. */

import { Refusal } from '#shared/errors.js'
import { Assembly, sending, type Named } from '#shared/onnx/assembly.js'
import type { ClientWork } from '#shared/protocol/messages.js'
import type { Pipeline, Way } from '#shared/session/client.js'
import type { Peers } from './link/peers.js'
import type { Leg } from './runtime/legs.js'

/** Throws `Refusal('bad-segment')` where what comes makes up no result, `Refusal('unknown-sender')` for a stranger. */
export function pipelineOf(work: ClientWork, peers: Pick<Peers, 'channel'>): Pipeline {
  const wayOf = ({ stage, devices }: Leg): Way => ({ stage, channels: devices.map((device) => peers.channel(device)) })
  const assembly = new Assembly(work.takes.map(({ tensors }) => tensors))
  const missing = work.outputs.find(({ name }) => !assembly.ports.some((port) => port.name === name))
  if (missing !== undefined) {
    throw new Refusal('bad-segment', `no stage gives us '${missing.name}', an output of the model: deploy again`)
  }
  return {
    plan: work.plan,
    sends: work.sends.map(wayOf),
    takes: work.takes.map(wayOf),
    part(tensors) {
      const given = new Map((tensors as readonly Named[]).map((tensor) => [tensor.name, tensor]))
      return work.sends.map((leg) => sending((name) => given.get(name), leg.tensors))
    },
    join(came) {
      const whole = assembly.assemble(came as readonly (readonly Named[])[])
      return work.outputs.map(({ name }) => ({ ...whole.get(name)!, name }))
    },
  }
}
