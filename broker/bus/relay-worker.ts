/** The relay's thread: a safe broker that does what the hub's thread says. */

import { parentPort, workerData } from 'node:worker_threads'
import { Refusal } from '#shared/errors.js'
import { createBroker } from './broker.js'
import type { RelayOrder, RelayReport, RelayStart } from './relay.js'

const port = parentPort!
const tell = (report: RelayReport): void => port.postMessage(report)
const { fleet, hub, limits, listen } = workerData as RelayStart

const broker = await createBroker({ fleet, plane: 'relay', hub, limits })
broker.onRefused((refusal) => tell({ is: 'refused', refusal }))

port.on('message', (order: RelayOrder) => {
  switch (order.do) {
    case 'allow':
      try {
        broker.allow(order.device, order.grant)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        tell({ is: 'refused', refusal: { reason: error.code, client: order.device, topic: undefined } })
      }
      break
    case 'forget':
      broker.forget(order.device)
      break
    case 'close':
      void broker.close().then(() => port.close())
  }
})

try {
  tell({ is: 'listening', ...(await broker.listen(listen)) })
} catch (error) {
  if (!(error instanceof Refusal)) throw error
  await broker.close()
  tell({ is: 'failed', code: error.code, message: error.message })
  port.close()
}
