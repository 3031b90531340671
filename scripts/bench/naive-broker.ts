/** Entry of the naive build's broker: Aedes as it comes. */

import { Aedes } from 'aedes'
import { createServer, type AddressInfo } from 'node:net'
import { serve, type Handlers } from './processes.js'

const handlers = {
  async listen(host: string): Promise<number> {
    const aedes = await Aedes.createBroker()
    const server = createServer(aedes.handle)
    await new Promise<void>((resolve) => {
      server.listen({ host, port: 0 }, resolve)
    })
    return (server.address() as AddressInfo).port
  },
} satisfies Handlers
export type NaiveBroker = typeof handlers

serve(handlers)
