/**
 * What one would build in an afternoon: a broker, QoS 1, msgpack, nothing encrypted, library defaults on purpose (MQTT.js
 * leaves Nagle's algorithm on, which stalls QoS 1). The same segments as the pipeline it is compared with.
 */

import { connectAsync } from 'mqtt'
import { pack, unpack } from 'msgpackr'
import type { Segment } from '#shared/onnx/extract.js'
import type { Tensor } from '#shared/onnx/tensor.js'
import type { Contestant } from './contestant.js'
import { ownCpuMs } from './machine.js'
import type { NaiveBroker } from './naive-broker.js'
import type { NaiveMessage, NaiveStage } from './naive-stage.js'
import { start } from './processes.js'

export async function openNaive(segments: readonly Segment[]): Promise<Contestant> {
  const broker = start<NaiveBroker>('naive-broker')
  const stages = segments.map(() => start<NaiveStage>('naive-stage'))
  const children = [broker, ...stages]
  const stop = async (): Promise<void> => {
    await Promise.all(children.map((child) => child.stop()))
  }
  try {
    const url = `mqtt://127.0.0.1:${await broker.ask('listen', '127.0.0.1')}`
    const topic = (index: number): string => `naive/${index}`
    await Promise.all(
      stages.map((stage, i) => stage.ask('open', { url, segment: segments[i]!, from: topic(i), to: topic(i + 1) })),
    )
    const client = await connectAsync(url)
    const waiting = new Map<number, (outputs: Readonly<Record<string, Tensor>>) => void>()
    let next = 0
    client.on('message', (_topic, payload) => {
      const { id, tensors } = unpack(payload) as NaiveMessage
      waiting.get(id)!(tensors)
      waiting.delete(id)
    })
    await client.subscribeAsync(topic(stages.length), { qos: 1 })
    return {
      infer: (inputs) =>
        new Promise((resolve) => {
          const id = next++
          waiting.set(id, resolve)
          client.publish(topic(0), pack({ id, tensors: inputs } satisfies NaiveMessage), { qos: 1 })
        }),
      async cpuMs() {
        const all = await Promise.all(children.map((child) => child.cpuMs()))
        return all.reduce((sum, ms) => sum + ms, ownCpuMs())
      },
      async close() {
        await client.endAsync(true)
        await stop()
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}
