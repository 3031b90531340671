/**
 * A client in a program of one's own: sends one grey picture through whatever model the fleet runs.
 *
 *     node client.js mqtt://127.0.0.1:1883 f0123456789abcdef
 */

import { arrayOf, connect, Refusal, tensorOf } from 'tessera-edge/client'

const [hub, fleet] = process.argv.slice(2)
if (hub === undefined || fleet === undefined) {
  console.error('usage: client <hub> <fleet>, as tessera-hub prints them')
  process.exit(2)
}

try {
  const client = await connect({ hub, fleet, name: 'example' })
  const { model, inputs } = await client.ready(60_000)
  for (const { name, dtype, shape } of inputs) console.log(`${model} takes ${name}: ${dtype}[${shape.join(',')}]`)

  const [port] = inputs
  const grey = new Float32Array(port!.shape.reduce((product, size) => product * size, 1)).fill(0.5)
  const { outputs, latencyMs, hops } = await client.infer({ [port!.name]: tensorOf(grey, port!.shape) })
  for (const [name, tensor] of Object.entries(outputs)) console.log(name, arrayOf(tensor))
  console.log(`${latencyMs.toFixed(1)} ms over ${hops.length} stages`)
  await client.close()
} catch (error) {
  if (!(error instanceof Refusal)) throw error
  console.error(error.message) // one sentence: what, why, what to do
  process.exitCode = error.exitStatus
}
