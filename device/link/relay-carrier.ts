/** Frames for one peer through the broker's relay: may be lost, so the channel above sends them again. */

import { concat } from '#shared/bytes.js'
import type { DeviceId } from '#shared/ids.js'
import type { Carrier, Channel } from '#shared/session/channel.js'
import type { RelayLink } from './relay.js'

export class RelayCarrier implements Carrier {
  readonly kind = 'relay'
  readonly reliable = false
  readonly #relay: RelayLink
  readonly #to: DeviceId
  readonly #channel: Channel
  #isSending = false

  constructor(relay: RelayLink, to: DeviceId, channel: Channel) {
    this.#relay = relay
    this.#to = to
    this.#channel = channel
  }

  /** One frame at a time: the next one when the socket has taken this one. */
  get isReady(): boolean {
    return !this.#isSending && this.#relay.online
  }

  sendFrame(sealed: readonly Uint8Array[]): void {
    this.#isSending = true
    const next = (): void => {
      this.#isSending = false
      this.#channel.pump()
    }
    // What the relay does not take is lost, as on its way through the hub.
    this.#relay.send(this.#to, sealed).then(next, next)
  }

  sendControl(sealed: readonly Uint8Array[]): void {
    this.#relay.sendOk(this.#to, concat(sealed)).catch(() => {})
  }
}
