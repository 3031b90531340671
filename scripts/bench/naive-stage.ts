/** Entry of one stage of the naive build: MQTT in, run, MQTT out, with every library as it comes. */

import { connectAsync } from 'mqtt'
import { pack, unpack } from 'msgpackr'
import type { Segment } from '#shared/onnx/extract.js'
import { load, runSegment } from '#shared/onnx/run.js'
import { loadEngine, type Feeds } from '#shared/onnx/session.js'
import { serve, type Handlers } from './processes.js'

/** What the naive build sends. */
export interface NaiveMessage {
  readonly id: number
  readonly tensors: Feeds
}

const handlers = {
  async open({ url, segment, from, to }: { url: string; segment: Segment; from: string; to: string }): Promise<void> {
    const [loaded] = await load(await loadEngine(), [segment])
    const client = await connectAsync(url)
    let last = Promise.resolve()
    const work = async (payload: Buffer): Promise<void> => {
      const { id, tensors } = unpack(payload) as NaiveMessage
      const outputs = await runSegment(loaded!, tensors)
      client.publish(to, pack({ id, tensors: outputs } satisfies NaiveMessage), { qos: 1 })
    }
    client.on('message', (_topic, payload) => {
      last = last.then(() => work(payload))
    })
    await client.subscribeAsync(from, { qos: 1 })
  },
} satisfies Handlers
export type NaiveStage = typeof handlers

serve(handlers)
